"""Processes that keep cores busy: they run while asked, and end with the one that asked."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ghostnet_small.benchmark import busy_cores as module
from ghostnet_small.benchmark.busy_cores import busy_cores, check_beside
from ghostnet_small.errors import InputError

linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks Linux")

# Where the tests run in the background of a shell, it begins with SIGINT ignored.
PARENT = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from ghostnet_small.benchmark import busy_cores as module
start = module.subprocess.Popen
def told(*args, **options):
    process = start(*args, **options)
    print(process.pid, flush=True)
    return process
module.subprocess.Popen = told
with module.busy_cores(2):
    print("busy", flush=True)
    time.sleep(600)
"""


def stat(pid: int) -> list[str]:
    """What Linux says of a process, from its state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def until(true: Callable[[], bool], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()


def computed(pid: int) -> int:
    """The processor time of a process, in ticks."""
    return int(stat(pid)[11])


def gone(pid: int) -> bool:
    try:
        return stat(pid)[0] in "ZX"  # ended, if nobody has asked how
    except FileNotFoundError:
        return True


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that are started."""
    kept: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def keep(*args: object, **options: object) -> subprocess.Popen[bytes]:
        kept.append(start(*args, **options))  # type: ignore[call-overload]
        return kept[-1]

    monkeypatch.setattr(module.subprocess, "Popen", keep)
    return kept


@linux
def test_a_core_is_busy_inside_and_free_after(started: list[subprocess.Popen[bytes]]) -> None:
    with busy_cores(1):
        (process,) = started
        # A Ctrl-C in a terminal is for all; the child leaves it to its parent, and goes on.
        process.send_signal(signal.SIGINT)
        begun = computed(process.pid)
        assert until(lambda: computed(process.pid) > begun + 10)
    assert process.poll() is not None


def test_all_end_where_the_measurement_fails(started: list[subprocess.Popen[bytes]]) -> None:
    with pytest.raises(KeyboardInterrupt), busy_cores(2):
        assert len(started) == 2
        raise KeyboardInterrupt
    assert all(process.poll() is not None for process in started)


def test_none_is_none(started: list[subprocess.Popen[bytes]]) -> None:
    with busy_cores(0):
        assert started == []


@linux
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_they_end_with_the_process_that_asked(number: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert parent.stdout is not None
    with parent:
        children = [int(parent.stdout.readline()) for _ in range(2)]
        assert parent.stdout.readline() == "busy\n"
        assert not any(map(gone, children))
        parent.send_signal(number)
        try:
            parent.wait(60)
        finally:
            parent.kill()
    assert until(lambda: all(map(gone, children)))


def test_more_than_the_cores_there_are_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "available_cores", lambda: 3)
    check_beside(3)
    with pytest.raises(InputError, match=r"--beside 4 is more than .*; give at most 3, or"):
        check_beside(4)
