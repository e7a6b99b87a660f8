"""The table of fits beside the plain recipe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from evidence.selected import Table
from ghostnet_small.report.table_cells import cell
from ghostnet_small.report.words import counted
from ghostnet_small.run.records import Record, read_rows


def fit_table(source: Path) -> Table:
    """A line for each row: the same images, minutes and seed, by ``fit`` and by a recipe."""
    lines = [[shown(row) for shown in COLUMNS.values()] for row in read_rows(source)]
    return list(COLUMNS), sorted(lines, key=lambda line: line[:4])


def _share(row: Record, name: str) -> str:
    made, most = row["fit"]["made"][name], row["asked"][name]
    return f"{cell(made)} ({100 * made / most:.0f} %)"


def _beside(name: str) -> dict[str, Callable[[Record], str]]:
    """The cells of the recipe's training ``name``, and of how much better ``fit`` is."""

    def shown(row: Record) -> str:
        if name not in row:
            return "-"
        found = row[name]
        return f"{found['test_top1']:.2f} ({counted(found['epochs'], 'epoch')})"

    def points(row: Record) -> str:
        return f"{row['fit']['top1'] - row[name]['test_top1']:+.2f}" if name in row else "-"

    title = {"as_it_is": "recipe, float32, %", "plain": "recipe, all epochs that fit, %"}[name]
    return {title: shown, f"points over {title.partition(', %')[0]}": points}


COLUMNS: dict[str, Callable[[Record], str]] = {
    "images": lambda row: str(row["data"]),
    "for training": lambda row: cell(row["train_images"]),
    "minutes asked": lambda row: f"{row['asked']['minutes']:g}",
    "seed": lambda row: str(row["seed"]),
    "minutes taken": lambda row: f"{row['fit']['seconds'] / 60:.1f}",
    "fit, int8, %": lambda row: f"{row['fit']['top1']:.2f}",
    **_beside("as_it_is"),
    **_beside("plain"),
    "test images": lambda row: cell(row["fit"]["images"]),
    "flash, bytes (of the limit)": lambda row: _share(row, "flash"),
    "RAM, bytes (of the limit)": lambda row: _share(row, "ram"),
    "threads": lambda row: str(row["threads"]),
    "device": lambda row: str(row["device"]),
    "commit": lambda row: str(row["commit"]),
}
