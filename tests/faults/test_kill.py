"""Killed at random moments, a training loses nothing; ``reliability/kill.py`` does it 200 times."""

from __future__ import annotations

from pathlib import Path

from kill import run_kills


def test_twelve_random_kills_change_nothing(tmp_path: Path) -> None:
    row, wrong = run_kills(12, tmp_path, command_every=12)
    assert wrong == []
    assert row["kills"] == 12 and row["of a command"] == 1
    # The moments are chosen so that most fall where a kill could do harm.
    assert row["inside a save"] > 0
