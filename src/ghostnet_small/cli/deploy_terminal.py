"""Terminal output of ``benchmark deploy``."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from ghostnet_small.cli.command import PROGRAM, remark
from ghostnet_small.cli.terminal import new_table, print_pairs, print_table

if TYPE_CHECKING:
    from rich.table import Table

SHORT = {"float32": "f32"}
# Drawing takes the processor's time from what is measured: between turns only, and seldom.
SECONDS_BETWEEN = 0.5


class DeployProgress:
    """A ``Watcher`` that shows what is measured as it comes; used as a context.

    On a terminal that is a table, which the result replaces. Elsewhere a line for each
    first look and each finished row goes to ``out``, or, where ``out`` may have only one JSON
    value, to standard error, as all remarks do.
    """

    def __init__(self, out: TextIO, json: bool) -> None:
        self.out = sys.stderr if json else out
        from rich.console import Console
        from rich.live import Live

        console = Console(file=self.out)
        self.live = Live(
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            # Remarks stand above the table where they would be written into it.
            redirect_stderr=sys.stderr.isatty(),
        )
        self.on_terminal = console.is_terminal
        self.rows: list[dict[str, Any]] = []
        self.batch, self.turns, self.step, self.drawn = "1", "", "", 0.0

    def __enter__(self) -> DeployProgress:
        if self.on_terminal:
            self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.on_terminal:
            self.live.stop()

    def say(self, text: str) -> None:
        """Print a remark."""
        remark(text)

    def doing(self, text: str, *, passing: bool = False) -> None:
        """Say what is done from now on."""
        self.step = text
        if not self.on_terminal:
            if not passing:
                remark(text)
        elif not passing or time.monotonic() - self.drawn > SECONDS_BETWEEN:
            self._draw()

    def prepared(self, row: dict[str, Any]) -> None:
        """Show a candidate's first look."""
        self.rows.append(row)
        if self.on_terminal:
            self._draw()
        elif row["failed"] is not None:
            self._line(f"{_name(row)}: {row['failed']}")
        elif row["first_look_ms"] is not None:
            self._line(f"{_name(row)}: {_about(row)} ms, at a first look")

    def timed(self, rows: Sequence[dict[str, Any]], batch: int, turn: int, turns: int) -> None:
        """Show the latencies after a round; those of the last one are final."""
        self.rows, self.batch, self.turns = list(rows), str(batch), f"{turn} of {turns}"
        if self.on_terminal:
            self._draw()
        elif turn < turns:
            remark(f"turn {turn} of {turns} is over, batches of {batch}")
        else:
            for row in sorted(rows, key=self._order):
                taken = row["latency"][str(batch)]
                self._line(
                    f"{_name(row)}: {_milliseconds(taken['median_ms'])} ms, 90th percentile "
                    f"{_milliseconds(taken['p90_ms'])}, batches of {batch}"
                )

    def _line(self, text: str) -> None:
        prefix = f"{PROGRAM}: " if self.out is sys.stderr else ""
        print(f"{prefix}{text}", file=self.out, flush=True)

    def _order(self, row: Mapping[str, Any]) -> float:
        taken = row["latency"].get(self.batch)
        look = row["first_look_ms"]
        if taken is None:
            return float("inf") if look is None else float(look)
        return float(taken["median_ms"])

    def _draw(self) -> None:
        from rich.console import Group
        from rich.text import Text

        self.live.update(Group(self._table(), Text(self.step)), refresh=True)
        self.drawn = time.monotonic()

    def _table(self) -> Table:
        turns = f"turn {self.turns}" if self.turns else "first looks"
        table = new_table(title=f"batches of {self.batch}, {turns}", padding=(0, 1, 0, 0))
        table.add_column("network", no_wrap=True)
        table.add_column("runtime", no_wrap=True)
        table.add_column("", no_wrap=True)
        table.add_column("ms", justify="right", no_wrap=True)
        table.add_column("top-1", justify="right", no_wrap=True)
        # What does not fit on the screen is slower than what does.
        most = max(1, self.live.console.height - 8)
        for row in sorted(self.rows, key=self._order)[:most]:
            taken = row["latency"].get(self.batch)
            ms = _about(row) if taken is None else _milliseconds(taken["median_ms"])
            precision = SHORT.get(row["precision"], row["precision"])
            failed = row["failed"] is not None
            table.add_row(
                row["network"],
                row["runtime"],
                precision,
                "failed" if failed else ms,
                _percent(row),
            )
        return table


def show_deploy(value: dict[str, Any]) -> None:
    """Print a table for each batch, the fastest first, and the fastest of all; of a stopped
    comparison, what there is.
    """
    timed = [
        batch
        for batch in value["batches"]
        if any(str(batch) in one["latency"] for one in value["candidates"])
    ]
    for batch in timed:
        print_table(_table(value, str(batch)))
    calls = ", ".join(f"{n} with {batch}" for batch, n in value["calls"].items())
    failed = [one for one in value["candidates"] if one["failed"] is not None]
    looks = [] if timed else [one for one in value["candidates"] if one["first_look_ms"]]
    peers = any(one["peer"] is not None for one in value["candidates"])
    print_pairs(
        [
            *([("partial", f"stopped while {value['partial']}")] if value["partial"] else ()),
            *_top1(value, peers),
            *(("first look", f"{_name(one)}: {_about(one)} ms") for one in looks),
            ("ms", "median and 90th percentile of a Python call, from one NumPy array to another"),
            ("MiB", "the most that a process takes above its imports, to open the file and run it"),
            ("turns", f"of each: {_turns(value)}; calls in a turn: {calls}"),
            *(_verdict(kind, found) for kind, found in value["verdict"].items() if found),
            *(("failed", f"{_name(one)}: {one['failed']}") for one in failed),
            *([("left out", f"{'; '.join(value['left_out'])}")] if value["left_out"] else ()),
            ("device", f"{value['device']}, threads: {value['threads']}"),
            ("code", f"{value['commit']}, {_versions(value)}"),
        ]
    )


def _turns(value: Mapping[str, Any]) -> str:
    """Return the number of turns; of a stopped comparison, those that are over."""
    if not value["partial"]:
        return str(value["turns"])
    done = {
        batch: max(
            (
                len(one["latency"][str(batch)]["turn_medians_ms"])
                for one in value["candidates"]
                if str(batch) in one["latency"]
            ),
            default=0,
        )
        for batch in value["batches"]
    }
    over = ", ".join(f"{turns} with {batch}" for batch, turns in done.items())
    return f"{over} of {value['turns']}"


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
        found.append(("top-1", f"% of {value['pictures']:,} images of the {value['split']} split"))
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


def _about(one: Mapping[str, Any]) -> str:
    look = one["first_look_ms"]
    return "-" if look is None else f"about {_milliseconds(look)}"


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
