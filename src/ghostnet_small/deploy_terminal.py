"""What ``benchmark deploy`` prints on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ghostnet_small.terminal import new_table, print_pairs, print_table

if TYPE_CHECKING:
    from rich.table import Table

SHORT = {"float32": "f32"}


def show_deploy(value: dict[str, Any]) -> None:
    """A table for each batch, the fastest first, and who is the fastest."""
    for batch in value["batches"]:
        print_table(_table(value, str(batch)))
    calls = ", ".join(f"{n} with {batch}" for batch, n in value["calls"].items())
    failed = [one for one in value["candidates"] if one["failed"] is not None]
    peers = any(one["peer"] is not None for one in value["candidates"])
    print_pairs(
        [
            *_top1(value, peers),
            ("ms", "median and 90th percentile of a Python call, from one NumPy array to another"),
            ("MiB", "the most that a process takes above its imports, to open the file and run it"),
            ("turns", f"of each: {value['turns']}; calls in a turn: {calls}"),
            *(_verdict(kind, found) for kind, found in value["verdict"].items() if found),
            *(("failed", f"{_name(one)}: {one['failed']}") for one in failed),
            ("device", f"{value['device']}, threads: {value['threads']}"),
            ("code", f"{value['commit']}, {_versions(value)}"),
        ]
    )


def _table(value: dict[str, Any], batch: str) -> Table:
    channels, height, width = value["picture"]
    table = new_table(
        title=f"batches of {batch}, {channels} x {height} x {width}",
        padding=(0, 1, 0, 0),  # The whole table in 80 columns.
    )
    for title in ("network\n  runtime", "\n"):
        table.add_column(title, no_wrap=True)
    for title in ("top-1", "kB", "ms", "p90", "images/s", "MiB"):
        table.add_column(f"\n{title}", justify="right", no_wrap=True)
    timed = [one for one in value["candidates"] if batch in one["latency"]]
    for network in dict.fromkeys(one["network"] for one in timed):
        table.add_row(network)
        own = [one for one in timed if one["network"] == network]
        for one in sorted(own, key=lambda one: one["latency"][batch]["median_ms"]):
            taken = one["latency"][batch]
            table.add_row(
                f"  {one['runtime']}",
                SHORT.get(one["precision"], one["precision"]),
                _percent(one),
                _thousands(one["size_bytes"]),
                _milliseconds(taken["median_ms"]),
                _milliseconds(taken["p90_ms"]),
                f"{taken['images_per_s']:,.0f}",
                _mebibytes(one["peak_memory_bytes"].get(batch)),
            )
        table.add_section()
    return table


def _top1(value: dict[str, Any], peers: bool) -> list[tuple[str, str]]:
    found = []
    if value["split"] is not None:
        found.append(
            ("top-1", f"% of {value['pictures']:,} pictures of the {value['split']} split")
        )
    if peers:
        found.append(("*", "as it was published; a peer is timed with random weights"))
    return found


def _verdict(kind: str, found: Mapping[str, Any]) -> tuple[str, str]:
    ours, peer = found["ours"], found["peer"]
    return (
        kind,
        f"{ours['network']} in {ours['runtime']} {ours['median_ms']:.3f} ms, the fastest peer "
        f"{peer['network']} in {peer['runtime']} {peer['median_ms']:.3f} ms: ratio "
        f"{found['ratio']:.2f} (by turns {found['turn_ratio_min']:.2f}-"
        f"{found['turn_ratio_max']:.2f})",
    )


def _name(one: Mapping[str, Any]) -> str:
    return f"{one['network']}, {one['runtime']}, {one['precision']}"


def _versions(value: dict[str, Any]) -> str:
    found = {"torch": value["torch"], **value["versions"]}
    return ", ".join(f"{name} {version}" for name, version in found.items())


def _percent(one: Mapping[str, Any]) -> str:
    if one["top1"] is None:
        return "-"
    return f"{one['top1']:.2f}{'*' if one['top1_source'] == 'published' else ' '}"


def _thousands(size: int | None) -> str:
    return "-" if size is None else f"{size / 1000:,.0f}"


def _milliseconds(value: float) -> str:
    return f"{value:.3f}" if value < 10 else f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def _mebibytes(size: int | None) -> str:
    return "-" if size is None else f"{size / 2**20:,.1f}"
