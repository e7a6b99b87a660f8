"""What the program that started this process says of the others that it started with it.

It imports nothing slow: the command line asks before it does any work.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from ghostnet_small.errors import InputError

VARIABLES = ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Launch:
    """``rank`` out of ``count`` processes; the same on this machine alone."""

    count: int = 1
    rank: int = 0
    local_rank: int = 0
    local_count: int = 1


def launched() -> Launch:
    """This process's place among those of torchrun or accelerate; one alone where there are none.

    Raises ``InputError`` where the environment speaks of several and does not say the rest.
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


def train_command(count: int) -> str:
    """The words that train in ``count`` processes of one machine."""
    if count == 1:
        return "ghostnet-small train"
    return f"torchrun --nproc_per_node {count} -m ghostnet_small train"


def _number(name: str) -> int:
    try:
        return int(os.environ[name])
    except ValueError:
        raise InputError(
            f"{name} is {os.environ[name]!r}, no whole number; torchrun sets it, else unset it"
        ) from None
