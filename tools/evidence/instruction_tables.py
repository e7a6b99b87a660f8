"""The table of instructions of an inference on emulated cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from evidence.selected import Table
from evidence.speed_tables import newest
from ghostnet_small.report.table_cells import cell
from ghostnet_small.run.records import Record, read_rows

# Closed division, Cortex-M4 at 120 MHz: 165 ms for 12.5 million MACs of ResNet-8.
CYCLES_PER_MAC = 0.165 * 120e6 / 12.5e6
MLPERF = {
    "core": "MLPerf Tiny IC01, the best on a Cortex-M4 (v1.3)",
    "instructions a MAC": f"{CYCLES_PER_MAC:.2f} cycles",
}


def instructions_table(source: Path) -> Table:
    """A line for each file, core and flags: of the first code recorded, and of the newest."""
    rows = read_rows(source)
    found = {id(row): row for row in [*_first(rows), *newest(rows, _question)]}
    lines = [[shown(row) for shown in COLUMNS.values()] for row in found.values()]
    order = list(dict.fromkeys(line[0] for line in lines))
    lines.sort(key=lambda line: (order.index(line[0]), line[1], line[2]))
    lines.append([MLPERF.get(title, "-") for title in COLUMNS])
    return list(COLUMNS), lines


def _question(row: Record) -> tuple[str, ...]:
    return (row["network"], row["precision"], row["core"], row["flags"])


def _first(rows: Sequence[Record]) -> list[Record]:
    first: dict[tuple[str, ...], Record] = {}
    for row in rows:
        first.setdefault(_question(row), row)
    return list(first.values())


COLUMNS: dict[str, Callable[[Record], str]] = {
    "core": lambda row: str(row["core"]),
    "precision": lambda row: str(row["precision"]),
    "optimisation": lambda row: str(row["flags"]).split()[-1],
    "instructions a MAC": lambda row: f"{row['instructions_per_mac']:.2f}",
    "instructions, million": lambda row: f"{row['instructions'] / 1e6:.1f}",
    "code, bytes": lambda row: cell(row["code_bytes"]),
    "tables, bytes": lambda row: cell(row["tables_bytes"]),
    "working memory, bytes": lambda row: cell(row["workspace_bytes"]),
    "commit": lambda row: str(row["commit"]),
}


def mlperf_table(source: Path) -> Table:
    """A line for each network and precision, of the newest code, and MLPerf Tiny's own."""
    rows = newest(read_rows(source), lambda row: (row["network"], row["precision"]))
    lines = [[shown(row) for shown in MLPERF_COLUMNS.values()] for row in rows]
    reference = rows[-1]["reference"]
    own = {
        "network": reference["network"],
        "precision": "int8",
        "top-1 of all test images, %": f"{reference['top1']:.2f}",
        "parameters": cell(reference["params"]),
        "MACs": cell(reference["macs"]),
        "flash, bytes": cell(reference["flash_bytes"]),
        "working memory, bytes": cell(reference["memory_bytes"]),
        "instructions a MAC": MLPERF["instructions a MAC"],
    }
    return list(MLPERF_COLUMNS), [*lines, [own.get(title, "-") for title in MLPERF_COLUMNS]]


def _subset(row: Record) -> str:
    few = row["subset"]
    return "-" if few is None else f"{few['top1']:.2f} ({few['images']})"


MLPERF_COLUMNS: dict[str, Callable[[Record], str]] = {
    "network": lambda row: str(row["network"]),
    "precision": lambda row: str(row["precision"]),
    "top-1 of all test images, %": lambda row: f"{row['all']['top1']:.2f}",
    "of MLPerf's, %": _subset,
    "parameters": lambda row: cell(row["params"]),
    "MACs": lambda row: cell(row["macs"]),
    "flash, bytes": lambda row: cell(row["flash_bytes"]),
    "working memory, bytes": lambda row: cell(row["memory_bytes"]),
    "instructions a MAC": lambda row: (
        "-" if row["instructions_per_mac"] is None else f"{row['instructions_per_mac']:.2f}"
    ),
    "commit": lambda row: str(row["commit"]),
}
