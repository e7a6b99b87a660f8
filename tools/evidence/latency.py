"""The latency of a deployed network for one image, as ``benchmark deploy`` recorded it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from evidence.rows import Rows
from ghostnet_small.report.table_cells import cell
from ghostnet_small.report.words import NONE, counted
from ghostnet_small.run.records import Record, read_rows

FILE = "deploy.jsonl"
# The same network for the same images has as many of both, and no other has.
Size = tuple[int, int]


def latencies(results: Path) -> tuple[Callable[[Rows], str], list[Path]]:
    """Return a function that writes a group's latency, and the file that it is read from, if any.

    It is the median for one image in the runtime that is fastest in float32, which is named
    with threads and device; ``NONE`` for a network that was not measured.

    Raises ``InputError`` where the file is damaged.
    """
    file = results / FILE
    if not file.is_file():
        return lambda runs: NONE, []
    fastest: dict[Size, tuple[float, str]] = {}
    for record in read_rows(file):
        for one in record["candidates"]:
            taken = (one["latency"] or {}).get("1")
            if taken is None or one["peer"] is not None or one["precision"] != "float32":
                continue
            size, median = (one["params"], one["macs"]), taken["median_ms"]
            if size not in fastest or median < fastest[size][0]:
                fastest[size] = median, _text(record, one, median)

    def shown(runs: Rows) -> str:
        model = runs[0]["model"]
        found = fastest.get((model["params"]["deployed"], model["macs"]["deployed"]))
        return NONE if found is None else found[1]

    return shown, [file]


def _text(record: Record, one: Record, median: float) -> str:
    used = f"{counted(record['threads'], 'thread')} of {record['device']}"
    return f"{cell(median)} ({one['runtime']}, {used})"
