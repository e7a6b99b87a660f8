"""Killed at random moments, itself or a training of it, a study ends in the same rows."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from small_study import STUDY, plain_rows

BOTH = {"study", "training"}
CACHE = "  distill: {cache: targets}\n"
LONGEST = 20.0  # seconds to wait for a moment
WORDS = ("study", "study.yaml", "--out", "out", "--max-parallel", "2")


class Study:
    """The command at work in a folder of its own, with cached targets of its own."""

    def __init__(self, place: Path) -> None:
        self.place, self.out = place, place / "out"
        if not place.exists():
            place.mkdir()
            # One seed, for a start of the program costs more than all that it trains.
            text = STUDY.replace("seeds: [0, 1]", "seeds: [0]")
            (place / "study.yaml").write_text(text.replace("runs:", CACHE + "runs:", 1))
        with (place / "log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ghostnet_small", *WORDS],
                cwd=place,
                stdout=log,
                stderr=log,
            )

    def trainings(self) -> list[int]:
        """The processes that it has started and that are not waited for."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                # The name in brackets may hold anything; behind it the state and the parent.
                state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if int(parent) == self.process.pid and state != "Z":
                found.append(int(stat.parent.name))
        return found

    def kill(self, chance: random.Random, training: bool) -> str:
        """End it, or one ``training`` of it where there is one, as a loss of power would; which it
        was."""
        trainings = self.trainings()
        if trainings and training:
            os.kill(chance.choice(trainings), signal.SIGKILL)
            return "training"
        self.process.kill()
        self.process.wait()
        # Its trainings find their standard input closed, save, and let the folder go.
        if self.out.exists():
            handle = os.open(self.out, os.O_RDONLY)
            fcntl.flock(handle, fcntl.LOCK_EX)
            os.close(handle)
        return "study"


def moment(study: Study, chance: random.Random) -> Callable[[], bool]:
    """A random moment to kill at, as a function that says whether it has come."""
    patterns = ("runs/*", "runs/*/state.safetensors", "results.jsonl", "runs/*/summary.json")
    pattern = chance.choice((*patterns, "logs/*.log", ""))
    begun, delay = time.monotonic(), chance.choice((0.0, chance.uniform(0, 2)))
    before = changes(study.out, pattern)
    left = chance.randrange(1, 4)

    def come() -> bool:
        nonlocal before, left
        if time.monotonic() - begun > LONGEST:
            return True
        if pattern:
            now = changes(study.out, pattern)
            left, before = left - (now != before), now
        else:
            left = 0
        if left <= 0:
            time.sleep(delay)
        return left <= 0

    return come


def changes(out: Path, pattern: str) -> set[tuple[str, int]]:
    """The files of a pattern with their times, as far as they can be had."""
    found = set()
    for path in out.glob(pattern) if pattern else ():
        try:
            found.add((path.name, path.stat().st_mtime_ns))
        except OSError:
            continue
    return found


def finished(study: Study) -> int:
    """Its exit status, once it has ended."""
    return study.process.wait(timeout=900)


@pytest.mark.timeout(1800)
def test_random_kills_change_no_row(tmp_path: Path) -> None:
    whole = Study(tmp_path / "whole")
    assert finished(whole) == 0, (whole.place / "log").read_text()
    expected = plain_rows(whole.out / "results.jsonl")
    assert [row["study"]["run"] for row in expected] == [
        *("teacher", "plain-s0", "kd-s0", "self-s0"),
    ]
    chance = random.Random(0)
    killed: list[str] = []
    attempt = 0

    def enough() -> bool:
        return set(killed) == BOTH

    while not enough():
        place = tmp_path / f"killed-{attempt}"
        attempt += 1
        study = Study(place)
        while True:
            come = moment(study, chance)
            while study.process.poll() is None and not enough() and not come():
                time.sleep(0.005)
            if enough():
                finished(study)
            status = study.process.poll()
            if status == 0:
                break
            if status is None:
                rarer = killed.count("training") <= killed.count("study")
                killed.append(study.kill(chance, training=rarer))
            else:
                # One run was killed at every one of its tries.
                assert status == 3, (place / "log").read_text()
            if study.process.poll() is not None:
                study = Study(place)
        assert plain_rows(study.out / "results.jsonl") == expected
        assert (study.out / "failed.jsonl").read_text() == ""
