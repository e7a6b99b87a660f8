"""A C file on a Cortex-M4: its flash as a compiler makes it, its instructions as QEMU counts them.

Instructions are counts of an emulation, and no times: a real core takes one or more cycles each.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np

from ghostnet_small.deploy.session import Array
from ghostnet_small.errors import InputError
from ghostnet_small.files import temporary_folder

COMPILER, SIZE, EMULATOR = "arm-none-eabi-gcc", "arm-none-eabi-size", "qemu-system-arm"
CORE = ("-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard")
FLAGS = ("-std=c99", "-Os", *CORE)
# An instruction takes a nanosecond of QEMU's clock, and the board's timer ticks 25 million times a
# second.
TICK = 40
SECONDS = 600


def missing(*programs: str) -> list[str]:
    """Return those of ``programs`` that are not installed."""
    return [program for program in programs if shutil.which(program) is None]


def flash_bytes(source: Path) -> int:
    """Return the bytes of code and constant tables of a C file, compiled for size."""
    with temporary_folder() as folder:
        made = folder / "model.o"
        _run([COMPILER, *FLAGS, "-c", str(source), "-o", str(made)])
        text, data = _run([SIZE, str(made)]).splitlines()[1].split()[:2]
    return int(text) + int(data)


def instructions(source: Path, picture: Array) -> tuple[int, Array]:
    """Return the instructions of an inference, to 40 of them, and its answers.

    ``picture``: one image as the file takes it, ``(C, H, W)``.
    """
    kind = "unsigned char" if picture.dtype == np.uint8 else "float"
    values = ",".join(
        str(v) if kind != "float" else f"{v.hex()}f" for v in picture.ravel().tolist()
    )
    room = resources.files("ghostnet_small.benchmark") / "m4"
    with temporary_folder() as folder:
        for name in ("link.ld", "count.c"):
            (folder / name).write_text((room / name).read_text())
        shutil.copyfile(source.with_suffix(".h"), folder / "model.h")
        (folder / "picture.h").write_text(f"static const {kind} picture[] = {{{values}}};\n")
        program = folder / "program"
        build = [COMPILER, *FLAGS, "-nostartfiles", "-T", str(folder / "link.ld"), f"-I{folder}"]
        _run([*build, str(folder / "count.c"), str(source), "-o", str(program), "-lm"])
        machine = ["-M", "mps2-an386", "-nographic", "-monitor", "none", "-serial", "none"]
        counted = ["-icount", "shift=0", "-semihosting-config", "enable=on,target=native"]
        said = _run([EMULATOR, *machine, *counted, "-kernel", str(program)])
    words = [line.split() for line in said.splitlines()]
    ticks = [int(value, 16) for name, value in words if name == "ticks"]
    bits = [int(value, 16) for name, value in words if name == "answer"]
    return TICK * ticks[0], np.array(bits, np.uint32).view(np.float32)


def version(program: str) -> str:
    """Return the first line that ``program`` says of its version."""
    return _run([program, "--version"]).splitlines()[0]


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise InputError(f"{command[0]} did not end within {SECONDS} s; stop other work") from None
    if done.returncode:
        said = next(iter(done.stderr.splitlines()), "without a word")
        raise InputError(f"{command[0]} failed ({said:.200}); install a newer one")
    return done.stdout + done.stderr
