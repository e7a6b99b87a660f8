"""Run an exported C file on an emulated core, and count the instructions of an inference.

QEMU's ``-icount shift=0`` makes every instruction one nanosecond of the core's timer. The count is
exact to a tick of that timer, 16 to 40 instructions. It is a count under emulation, and no time: a
real core takes one or more cycles for an instruction.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ghostnet_small.deploy.session import Array
from ghostnet_small.errors import InputError

HERE = Path(__file__).parent / "emulated"
STRICT = ("-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror")
SECONDS = 600
# Of the loop that every program runs first.
LOOP_INSTRUCTIONS = 2_000_000


@dataclass(frozen=True)
class Core:
    """A core and the machine that has it: ``tools`` begins the compiler's name, ``start`` is the
    program's file, ``code`` and ``ram`` are addresses, ``tick`` the nanoseconds of its timer."""

    tools: str
    flags: tuple[str, ...]
    machine: tuple[str, ...]
    start: str
    code: int
    ram: int
    tick: float

    @property
    def compilers(self) -> tuple[str, str]:
        """The programs that compile for the core and tell sizes."""
        return f"{self.tools}gcc", f"{self.tools}size"

    @property
    def emulator(self) -> str:
        """The program that emulates the core."""
        return self.machine[0]


def missing(*programs: str) -> list[str]:
    """Return those of ``programs`` that are not installed."""
    return [program for program in programs if shutil.which(program) is None]


def _cortex_m(flags: str, machine: str, ram: int, tick: float, code: int = 0) -> Core:
    options = ("-mthumb", *flags.split(), "-mfloat-abi=hard")
    return Core(
        "arm-none-eabi-", options, ("qemu-system-arm", "-M", machine), "cortex_m.c", code, ram, tick
    )


def _aarch64(flags: str) -> Core:
    machine = ("qemu-system-aarch64", "-M", "virt", "-cpu", "max")
    return Core(
        "aarch64-linux-gnu-",
        (flags,),
        machine,
        "aarch64.c",
        0x40100000,
        0x40200000,
        16,
    )


CORES = {
    "cortex-m4": _cortex_m("-mcpu=cortex-m4 -mfpu=fpv4-sp-d16", "mps2-an386", 0x20000000, 40),
    "cortex-m7": _cortex_m("-mcpu=cortex-m7 -mfpu=fpv5-sp-d16", "mps2-an500", 0x20000000, 40),
    "cortex-m33": _cortex_m("-mcpu=cortex-m33", "mps2-an505", 0x38000000, 50, 0x10000000),
    "cortex-m55": _cortex_m("-mcpu=cortex-m55", "mps3-an547", 0x21000000, 31.25),
    "aarch64": _aarch64("-march=armv8-a"),
    "aarch64-dotprod": _aarch64("-march=armv8.2-a+dotprod"),
}


@dataclass(frozen=True)
class Outcome:
    """Results of a program: ``answers`` ``(N, K)``, the instructions of each inference, those
    counted for ``LOOP_INSTRUCTIONS``, and bytes of stack."""

    answers: Array
    instructions: list[int]
    loop: int
    stack: int


def compile_object(source: Path, core: Core, flags: Sequence[str]) -> Path:
    """Return the object file of a C file, for ``core``."""
    made = source.with_suffix(".o")
    command = [f"{core.tools}gcc", *STRICT, *core.flags, *flags]
    _call([*command, "-c", str(source), "-o", str(made)])
    return made


def sections(made: Path, core: Core) -> dict[str, int]:
    """Return the bytes of ``code``, constant ``tables`` and ``data`` of an object file."""
    lines = _call([f"{core.tools}size", "-A", str(made)]).splitlines()
    kinds = {"text": "code", "rodata": "tables", "data": "data", "bss": "data"}
    sizes = dict.fromkeys(kinds.values(), 0)
    for line in lines:
        found = re.match(r"\.(text|rodata|data|bss)\S*\s+(\d+)\s", line)
        if found:
            sizes[kinds[found[1]]] += int(found[2])
    return sizes


def emulate(source: Path, shown: Array, core: Core, flags: Sequence[str], place: Path) -> Outcome:
    """Return the results of the C file ``source``, compiled in the empty folder ``place``, for the
    images ``shown`` ``(N, C, H, W)``, of the type that the file takes.

    Raises ``InputError`` where a program fails or does not end.
    """
    place.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, place / "model.c")
    shutil.copy(source.with_suffix(".h"), place / "model.h")
    kind = "unsigned char" if shown.dtype == np.uint8 else "float"
    rows = ",\n".join(
        "{" + ",".join(_number(v) for v in picture.ravel().tolist()) + "}" for picture in shown
    )
    (place / "pictures.h").write_text(
        f"#define PICTURES {len(shown)}\n"
        f"static const {kind} pictures[PICTURES][{shown[0].size}] = {{{rows}}};\n"
    )
    program = place / "program"
    link = [f"-Wl,--defsym=CODE={core.code},--defsym=RAM={core.ram},--build-id=none"]
    link += ["-T", str(HERE / "link.ld"), "-nostartfiles", "-static"]
    if core.start == "aarch64.c":
        link += ["-nostdlib", "-fno-tree-loop-distribute-patterns"]
    made = compile_object(place / "model.c", core, flags)
    build = [f"{core.tools}gcc", *core.flags, "-O1", "-w", f"-I{place}", *link]
    # AArch64's own library needs a system; the file needs one only for the pixels' softmax.
    library = [] if core.start == "aarch64.c" else ["-lm"]
    _call([*build, str(HERE / core.start), str(made), "-o", str(program), *library])
    run = [*core.machine, "-icount", "shift=0", "-nographic", "-monitor", "none"]
    run += ["-serial", "none", "-nic", "none", "-semihosting-config", "enable=on,target=native"]
    said = [line.split() for line in _call([*run, "-kernel", str(program)]).splitlines()]

    def numbers(name: str) -> list[int]:
        return [int(words[1], 16) for words in said if words[:1] == [name]]

    def counted(name: str) -> list[int]:
        return [round(value * core.tick) for value in numbers(name)]

    found = np.array(numbers("answer"), np.uint32).view(np.float32)
    (loop,), (stack,) = counted("loop"), numbers("stack")
    return Outcome(found.reshape(len(shown), -1), counted("ticks"), loop, stack)


def version(program: str) -> str:
    """Return the first line that ``program`` says of its version."""
    return _call([program, "--version"]).splitlines()[0]


def _number(value: int | float) -> str:
    return str(value) if isinstance(value, int) else f"{value.hex()}f"


def _call(command: Sequence[str]) -> str:
    """Return what a program printed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise InputError(f"{command[0]} did not end within {SECONDS} s; stop other work") from None
    if done.returncode:
        said = next(iter(done.stderr.splitlines()), "without a word")
        raise InputError(f"{command[0]} failed ({said:.200}); install a newer one")
    return done.stdout + done.stderr
