"""A terminal shows ``benchmark deploy`` as it goes, and libraries write beside it."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import pytest

from ghostnet_small.cli.deploy_terminal import DeployProgress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def row(runtime: str, look: float, median: float | None = None) -> dict[str, Any]:
    latency = {} if median is None else {"4": {"median_ms": median, "p90_ms": 2 * median}}
    about = {"network": "GN-S 1.0", "precision": "float32", "top1": None, "failed": None}
    return {**about, "runtime": runtime, "first_look_ms": look, "latency": latency}


def test_a_table_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    terminal = Terminal()
    with DeployProgress(terminal, json=False) as progress:
        progress.doing("exporting candidate 2 of 2")
        progress.prepared(row("slow", 2.0))
        progress.prepared(row("quick", 1.0))
        looks = terminal.getvalue()
        rows = [row("slow", 2.0, 0.25), row("quick", 1.0, 0.5)]
        progress.timed(rows, 4, 1, 5)
        last = terminal.getvalue()[len(looks) :]
    assert "exporting candidate 2 of 2" in looks and "batches of 1, first looks" in looks
    assert looks.rindex("about 1.000") < looks.rindex("about 2.000")  # the fastest first
    assert "batches of 4, turn 1 of 5" in last and "about" not in last
    assert last.index("0.250") < last.index("0.500")


def test_standard_output_is_the_results_alone() -> None:
    program = (
        "import os\n"
        "from ghostnet_small.streams import libraries_apart\n"
        "with libraries_apart() as out:\n"
        "    print('of a library')\n"
        "    os.write(1, b'of C\\n')\n"
        "    print('a row', file=out)\n"
        "print('the end')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["a row", "the end"]
    assert sorted(done.stderr.splitlines()) == ["of C", "of a library"]
