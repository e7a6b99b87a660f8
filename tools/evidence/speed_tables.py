"""The tables of the benchmarks' rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evidence.selected import Table
from ghostnet_small.report.table_cells import cell
from ghostnet_small.run.records import Record, read_rows


def train_speed_table(source: Path) -> Table:
    """A line for each variant that ``benchmark train`` recorded, of each question's newest code."""
    return _of_variants(source, SPEED_COLUMNS)


def distill_speed_table(source: Path) -> Table:
    """A line for each variant that ``benchmark distill`` recorded, as ``train_speed_table`` has."""
    return _of_variants(source, DISTILL_COLUMNS)


def train_batches_table(source: Path) -> Table:
    """A line for each variant that ``benchmark train --batches`` recorded, as ``train_speed_table``
    has, with its speed at each batch size."""
    lines = variants_of(source)
    sizes = dict.fromkeys(batch for record, _ in lines for batch in record["batch_sizes"])
    columns = {
        **BATCHES_COLUMNS,
        **{f"images/s at {batch:,}": _speed_at(str(batch)) for batch in sorted(sizes)},
        **COST_COLUMNS,
    }
    return list(columns), [[shown(*line) for shown in columns.values()] for line in lines]


def variants_of(source: Path) -> list[tuple[Record, Record]]:
    """Return the variants, with their names, of each question's newest code, each behind its
    record."""
    return [
        (record, {"name": name, **variant})
        for record in newest(read_rows(source), _question)
        for name, variant in record["variants"].items()
    ]


def newest(rows: Sequence[Record], question: Callable[[Record], Any]) -> list[Record]:
    """Return the rows of the last commit for each ``question``."""
    last = {question(row): row["commit"] for row in rows}
    return [row for row in rows if row["commit"] == last[question(row)]]


def _of_variants(source: Path, columns: Mapping[str, Callable[[Record, Record], str]]) -> Table:
    rows = [[shown(*line) for shown in columns.values()] for line in variants_of(source)]
    return list(columns), rows


def _question(record: Record) -> tuple[Any, ...]:
    named = ("model", "width", "precision", "kind", "threads")
    sizes = record.get("batch_sizes") or [record["batch_size"]]
    asked = (tuple(sizes), record.get("beside", 0), *record["picture"], *record["variants"])
    return (*(record[name] for name in named), *asked)


def _network(record: Record, variant: Record) -> str:
    return f"{record['model']} {record['width']:g}"


def _batch(record: Record, variant: Record) -> str:
    return f"{record['batch_size']:,} of {_image(record, variant)}"


def _image(record: Record, variant: Record) -> str:
    return "x".join(map(str, record["picture"]))


def _spread(figure: str) -> Callable[[Record, Record], str]:
    def shown(record: Record, variant: Record) -> str:
        middle, low, high = (cell(variant[f"{figure}{end}"]) for end in ("", "_min", "_max"))
        return f"{middle} [{low}-{high}]"

    return shown


def _peak(record: Record, variant: Record) -> str:
    size = variant["peak_memory_bytes"]
    return "-" if size is None else f"{size / 2**20:,.0f}"


def _place(record: Record, variant: Record) -> str:
    threads = f", threads: {record['threads']}" if record["kind"] == "cpu" else ""
    beside = record.get("beside")
    return f"{record['device']}{threads}{f', busy cores beside: {beside}' if beside else ''}"


def _speed_at(batch: str) -> Callable[[Record, Record], str]:
    return lambda record, variant: cell(variant["batches"].get(batch, {}).get("images_per_s"))


SPEED_COLUMNS: dict[str, Callable[[Record, Record], str]] = {
    "network": _network,
    "batch": _batch,
    "precision": lambda record, variant: str(record["precision"]),
    "variant": lambda record, variant: str(variant["name"]),
    "images/s: median [least-most]": _spread("images_per_s"),
    "of plain_channels_last": lambda record, variant: cell(variant["ratio_to_plain"]),
    "of multibranch": lambda record, variant: cell(variant["ratio_to_multibranch"]),
    "peak of a step, MiB": _peak,
    "n": lambda record, variant: cell(variant["n"]),
    "device": _place,
    "commit": lambda record, variant: str(record["commit"]),
}


DISTILL_COLUMNS: dict[str, Callable[[Record, Record], str]] = {
    "student": _network,
    "batch": _batch,
    "precision": lambda record, variant: str(record["precision"]),
    "variant": lambda record, variant: str(variant["name"]),
    "times plain: median [least-most]": _spread("ratio_to_plain"),
    "ms a step": lambda record, variant: cell(variant["ms_per_step"]),
    "n": lambda record, variant: cell(variant["n"]),
    "device": _place,
    "commit": lambda record, variant: str(record["commit"]),
}


# The circumstances and the figures of a sweep over batch sizes.
BATCHES_COLUMNS: dict[str, Callable[[Record, Record], str]] = {
    "network": _network,
    "image": _image,
    "precision": lambda record, variant: str(record["precision"]),
    "threads": lambda record, variant: cell(record["threads"]),
    "beside": lambda record, variant: cell(record["beside"]),
    "variant": lambda record, variant: str(variant["name"]),
    "device": lambda record, variant: str(record["device"]),
    "commit": lambda record, variant: str(record["commit"]),
}
COST_COLUMNS: dict[str, Callable[[Record, Record], str]] = {
    "fixed ms a step: median [least-most]": _spread("fixed_ms"),
    "ms an image": lambda record, variant: cell(variant["image_ms"]),
    "line off, %": lambda record, variant: f"{100 * variant['line_off']:.0f}",
    "n": lambda record, variant: cell(variant["n"]),
}
