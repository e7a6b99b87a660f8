"""A training killed at random moments loses nothing; ``tools/reliability/kill.py``: 200 times."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "tools" / "reliability" / "kill.py"


def test_twelve_random_kills_change_nothing(tmp_path: Path) -> None:
    """In a process of its own: it forks trainings, which only one that has computed nothing may."""
    record = tmp_path / "kills.jsonl"
    words = ["--kills", "12", "--command-every", "12", "--record", str(record)]
    done = subprocess.run([sys.executable, PROGRAM, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    row = json.loads(record.read_text())
    assert row["kills"] == 12 and row["of a command"] == 1 and row["files that differ"] == 0
    # The moments are chosen so that most fall where a kill could do harm.
    assert row["inside a save"] > 0
