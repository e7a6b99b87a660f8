"""The milliseconds that an inference takes of a network that is not trained yet."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ghostnet_small.benchmark.emulator import CORES, emulate, missing
from ghostnet_small.deploy import c_file
from ghostnet_small.deploy.session import Array
from ghostnet_small.errors import InputError
from ghostnet_small.files import temporary_folder
from ghostnet_small.fit.device_limits import targets
from ghostnet_small.fit.fit_plan import Reason
from ghostnet_small.fit.needs import Shape

# A target's ``latency``: time on this machine, instead of the name of an emulated core.
HERE = "here"
FLAGS = ("-Os",)  # flash is counted with it too
SECONDS, FEWEST = 1.0, 5  # inferences that are timed
PACKAGES = "gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm"  # of Debian


@dataclass(frozen=True)
class Latency:
    """The ``milliseconds`` of one inference, and ``how`` they were found."""

    milliseconds: float
    how: str


@dataclass(frozen=True)
class LatencyLimit:
    """The most ``milliseconds`` of one inference on the device ``target``; None: here."""

    milliseconds: float
    target: str | None

    def past(self, shape: Shape) -> str | None:
        """Return why a network is past the limit; None where it is not."""
        found = latency_of(shape, self.target)
        if found.milliseconds <= self.milliseconds:
            return None
        return (
            f"takes {found.milliseconds:,.2f} ms ({found.how}), and --latency-ms allows "
            f"{self.milliseconds:g}"
        )

    def reason(self, shape: Shape) -> Reason:
        """Return the plan's line for the network that is chosen."""
        found = latency_of(shape, self.target)
        return Reason("latency", f"{found.milliseconds:,.2f} ms", found.how)


def latency_limit(latency_ms: float | None, target: str | None) -> LatencyLimit | None:
    """Return the limit that is given; ``target`` is a known device or None.

    Raises ``InputError`` for what is no time, for a device whose latency can neither be counted nor
    timed here, and where a program that counts is not installed.
    """
    if latency_ms is None:
        return None
    if not 0 < latency_ms < math.inf:
        raise InputError(f"--latency-ms {latency_ms:g} is not allowed; give a number above 0")
    where = _device(target)["latency"]
    if where is None:
        able = ", ".join(name for name, chip in targets().items() if chip["latency"])
        raise InputError(
            f"--latency-ms cannot be found for {target}: no emulator here counts the instructions "
            f"of its {_device(target)['core']}; leave one of them out, or give a --target of {able}"
        )
    if where != HERE:
        lacking = missing(*CORES[where].compilers, CORES[where].emulator)
        if lacking:
            raise InputError(
                f"--latency-ms for {target} needs {', '.join(lacking)} to count instructions; "
                f"install {PACKAGES} (their names in Debian), or leave --latency-ms out"
            )
    return LatencyLimit(float(latency_ms), target)


def _device(target: str | None) -> Mapping[str, Any]:
    return {"latency": HERE} if target is None else targets()[target]


@lru_cache(maxsize=256)
def latency_of(shape: Shape, target: str | None) -> Latency:
    """Return the latency of the int8 C file of GhostNetV3-Small in this ``shape``, with placeholder
    weights: its code has no branches that depend on them, but for limits of single values.

    For a ``target`` with an emulated core it is a count of instructions, at one a cycle; else, or
    where ``target`` is None, time on this machine.
    """
    device = _device(target)
    image = np.zeros((1, shape.channels, *shape.size), np.float32)
    with temporary_folder() as folder:
        file = folder / "model.c"
        c_file.export_blank(shape.config, shape.description, file)
        if device["latency"] == HERE:
            return _timed(file, image)
        core = device["latency"]
        (count,) = emulate(file, image, CORES[core], FLAGS, folder / core).instructions
    return Latency(
        count / (1000 * device["mhz"]),
        f"{count / 1e6:,.2f} million instructions on an emulated {core.title()}, at one "
        f"instruction a cycle of {device['mhz']} MHz; a count, and no time",
    )


def _timed(file: Path, image: Array) -> Latency:
    """Return the time on this machine, of one thread."""
    session = c_file.open_file(file, threads=1)
    session(image)  # memory is touched then
    seconds: list[float] = []
    started = time.perf_counter()
    while len(seconds) < FEWEST or time.perf_counter() - started < SECONDS:
        before = time.perf_counter()
        session(image)
        seconds.append(time.perf_counter() - before)
    return Latency(
        1000 * statistics.median(seconds),
        f"median of {len(seconds):,} inferences on this machine, one thread",
    )
