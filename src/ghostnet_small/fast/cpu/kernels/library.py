"""The C kernels: compiled at first use for the processor of this machine, then cached.

They need only a C compiler (``cc``, or the one in ``CC``). If there is none, or it fails,
``library`` warns once, and PyTorch's slower operations compute the same numbers.
``GHOSTNET_KERNELS=off`` turns the kernels off.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import torch

from ghostnet_small.errors import InputError
from ghostnet_small.fast.cpu.kernels.entries import entries
from ghostnet_small.files import NO_ROOM, OFF, cached_file, no_temporary_room, temporary_folder
from ghostnet_small.platforms import apple_processor

SWITCH = "GHOSTNET_KERNELS"
_SOURCES = Path(__file__).parent
_REAL = {torch.float32: "float", torch.float64: "double"}
_FLAGS = ["-std=gnu11", "-O3", "-ffp-contract=fast", "-fvisibility=hidden", "-shared", "-fPIC"]
# Tried in order: compilers differ in the flags for this machine's processor and for threads.
_CHOICES = [
    ["-march=native", "-fopenmp"],
    ["-mcpu=native", "-fopenmp"],
    ["-fopenmp"],
    ["-mcpu=native"],
    [],
]
# Apple's clang has no -fopenmp. Other clangs bring their own libomp, which aborts the process
# when PyTorch has already loaded another.
_APPLE_CHOICES = [["-march=native"], ["-mcpu=native"], []]
_SECONDS = 300
_log = logging.getLogger(__name__)


class _NoKernels(Exception):
    """The kernels are not available; the message is the reason."""


@functools.cache
def library(dtype: torch.dtype) -> ctypes.CDLL | None:
    """Return the kernels for ``dtype``, compiled if not cached; ``None`` where there are none."""
    if os.environ.get(SWITCH) == OFF or dtype not in _REAL:
        return None
    try:
        return _load(_REAL[dtype])
    except (_NoKernels, OSError) as error:
        _say_once(str(error))
        return None


@functools.cache
def _say_once(why: str) -> None:
    _log.warning(
        "training continues with PyTorch's own operations, at about half the speed: the C kernels "
        "could not be built (%s); install a C compiler, or name one in CC",
        why,
    )


def _load(real: str) -> ctypes.CDLL:
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if not compiler or shutil.which(compiler[0]) is None:
        raise _NoKernels(f"no compiler {' '.join(compiler)!r}")
    name = f"kernels/{real}-{_key(compiler)}.so"
    try:
        with cached_file(name, lambda: _compile(compiler, real)) as file:
            return ctypes.CDLL(str(file))
    except InputError as error:
        raise _NoKernels(str(error)) from None


def _key(compiler: list[str]) -> str:
    """Return a digest of all that the compiled kernels depend on: machines may share a cache."""
    version = subprocess.run([*compiler, "--version"], capture_output=True, timeout=_SECONDS)
    parts = [file.read_bytes() for file in sorted(_SOURCES.glob("*.[ch]"))]
    parts += [
        _source().encode(),
        version.stdout,
        repr((compiler, _FLAGS, _choices())).encode(),
        processor().encode(),
    ]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:24]


def _choices() -> list[list[str]]:
    return _APPLE_CHOICES if sys.platform == "darwin" else _CHOICES


def processor() -> str:
    """Return this machine's processor model and features, which native code depends on."""
    name = f"{platform.system()} {platform.machine()} {platform.processor()}"
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").split("\n\n")[0].splitlines()
    except OSError:
        return f"{name} {apple_processor()}"
    tell = ("model name", "flags", "Features", "CPU part")
    return "\n".join([name, *(line for line in lines if line.startswith(tell))])


def _source() -> str:
    """Return the C of the library: all kernels, and what runs a list of their calls."""
    kernels = "".join(file.read_text() for file in sorted(_SOURCES.glob("*.c")))
    return f'#include "kernels.c"\n{entries(kernels)}\n'


def _compile(compiler: list[str], real: str) -> bytes:
    """Return the content of the compiled shared library."""
    said = ""
    with temporary_folder() as folder:
        out = folder / "kernels.so"
        source = folder / "kernels_and_entries.c"
        source.write_text(_source())
        size = 4 if real == "float" else 8
        for choice in _choices():
            command = [*compiler, *_FLAGS, *choice, f"-DREAL={real}", f"-DREAL_BYTES={size}"]
            command += ["-I", str(_SOURCES), "-o", str(out), str(source)]
            try:
                done = subprocess.run(command, capture_output=True, timeout=_SECONDS)
            except subprocess.TimeoutExpired:
                raise _NoKernels(f"{compiler[0]} took more than {_SECONDS} s") from None
            if done.returncode == 0:
                return out.read_bytes()
            said = said or done.stderr.decode(errors="replace").strip()
            if NO_ROOM in said:
                raise no_temporary_room()
    first = said.splitlines()[0] if said else "without a word"
    raise _NoKernels(f"{compiler[0]} failed: {first}")
