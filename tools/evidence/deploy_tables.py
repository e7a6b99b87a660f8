"""The table of the rows of ``benchmark deploy``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from evidence.selected import Table
from evidence.speed_tables import newest
from ghostnet_small.report.table_cells import cell
from ghostnet_small.run.records import Record, read_rows


def deploy_table(source: Path) -> Table:
    """A line for each runtime of our network, and for the fastest of each peer by precision and
    batch, of each question's newest code; the fastest of a network first."""
    rows = []
    for record in newest(read_rows(source), _question):
        timed = [one for one in record["candidates"] if one["latency"]]
        order = list(dict.fromkeys(one["network"] for one in timed))
        first = str(record["batches"][0])
        timed.sort(key=lambda one: (order.index(one["network"]), _middle(one, first)))
        best = [one for batch in record["batches"] for one in _fastest(timed, str(batch))]
        timed = [one for one in timed if one["peer"] is None or one in best]
        rows += [[shown(record, one) for shown in COLUMNS.values()] for one in timed]
    kept = [at for at in range(len(COLUMNS)) if {row[at] for row in rows} != {"-"}]
    return [list(COLUMNS)[at] for at in kept], [[row[at] for at in kept] for row in rows]


def _fastest(timed: list[Any], batch: str) -> list[Any]:
    """The fastest of each network and precision."""
    found: dict[tuple[str, str], Any] = {}
    for one in sorted(timed, key=lambda one: _middle(one, batch)):
        found.setdefault((one["network"], one["precision"]), one)
    return list(found.values())


def _question(record: Record) -> tuple[Any, ...]:
    named = ("model", "width", "threads", "device", "split", "input")
    candidates = [(one["network"], one["runtime"]) for one in record["candidates"]]
    return (*(record[name] for name in named), *record["batches"], *record["picture"], *candidates)


def _middle(one: Record, batch: str) -> float:
    return float(one["latency"][batch]["median_ms"]) if batch in one["latency"] else float("inf")


def _top1(record: Record, one: Record) -> str:
    if one["top1"] is None:
        return "-"
    return f"{one['top1']:.2f}{' (published)' if one['top1_source'] == 'published' else ''}"


def _compiler(record: Record, one: Record) -> str:
    return str(record["versions"].get("c", "-")) if one["runtime"] == "c" else "-"


def _batches(shown: Callable[[Record, str], str]) -> Callable[[Record, Record], str]:
    """A cell with a value for each batch."""

    def all_shown(record: Record, one: Record) -> str:
        return " / ".join(shown(one, str(batch)) for batch in record["batches"])

    return all_shown


def _median(one: Record, batch: str) -> str:
    if batch not in one["latency"]:
        return "-"
    taken = one["latency"][batch]
    turns = taken["turn_medians_ms"]
    return f"{cell(taken['median_ms'])} [{cell(min(turns))}-{cell(max(turns))}]"


def _of_latency(figure: str) -> Callable[[Record, str], str]:
    def shown(one: Record, batch: str) -> str:
        return cell(one["latency"][batch][figure]) if batch in one["latency"] else "-"

    return shown


def _memory(one: Record, batch: str) -> str:
    size = one["peak_memory_bytes"].get(batch)
    return "-" if size is None else f"{size / 2**20:,.1f}"


COLUMNS: dict[str, Callable[[Record, Record], str]] = {
    "network": lambda record, one: str(one["network"]),
    "runtime": lambda record, one: str(one["runtime"]),
    "precision": lambda record, one: str(one["precision"]),
    "parameters": lambda record, one: cell(one["params"]),
    "MACs": lambda record, one: cell(one["macs"]),
    "top-1, %": _top1,
    "kB": lambda record, one: (
        "-" if one["size_bytes"] is None else f"{one['size_bytes'] // 1000:,}"
    ),
    "batch": _batches(lambda one, batch: batch),
    "ms: median [of turns: least-most]": _batches(_median),
    "peak memory, MiB": _batches(_memory),
    "calls": _batches(_of_latency("n")),
    "threads": lambda record, one: cell(record["threads"]),
    "C compiler": _compiler,
    "device": lambda record, one: str(record["device"]),
    "commit": lambda record, one: str(record["commit"]),
}
