"""The place of this process among the processes that were started with it.

It imports nothing slow: the command line uses it before any work.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import dataclass

from ghostnet_small.errors import InputError

# A Python to start. -P: it imports nothing from the current folder, which may be untrusted.
PYTHON = (sys.executable or "python", "-P")

# Set for one of several trainings: it ends when its standard input does.
FOLLOWS = "GHOSTNET_FOLLOWS"

VARIABLES = ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Launch:
    """``rank`` out of ``count`` processes, and the same on this machine only."""

    count: int = 1
    rank: int = 0
    local_rank: int = 0
    local_count: int = 1


def launched() -> Launch:
    """Return this process's place among those of torchrun or accelerate; without them, one of one.

    Raises ``InputError`` where the environment names several processes and lacks other variables.
    """
    count = _number("WORLD_SIZE") if "WORLD_SIZE" in os.environ else 1
    if count <= 1:
        return Launch()
    missing = [name for name in VARIABLES if name not in os.environ]
    if missing:
        raise InputError(
            f"WORLD_SIZE is {count}, but {', '.join(missing)} is not set; start several processes "
            "by torchrun or accelerate launch, or unset WORLD_SIZE to train in one"
        )
    return Launch(count, *map(_number, ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE")))


def available_cores() -> int:
    """The CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def follow_starter() -> bool:
    """Send this process SIGTERM when its starter is gone, if the starter asked for it.

    The starter holds the other end of standard input, which the system closes however it dies.
    Returns whether it asked.
    """
    if os.environ.pop(FOLLOWS, None) is None:
        return False

    def wait() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
    return True


def train_command(count: int) -> str:
    """Return the command that trains in ``count`` processes of one machine."""
    if count == 1:
        return "ghostnet-small train"
    return f"torchrun --nproc_per_node {count} -m ghostnet_small train"


def _number(name: str) -> int:
    try:
        return int(os.environ[name])
    except ValueError:
        raise InputError(
            f"{name} is {os.environ[name]!r}, not a whole number; torchrun sets it, else unset it"
        ) from None
