"""An exported C file as a library of this machine."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ghostnet_small.deploy.c.rewritten import rewritten
from ghostnet_small.deploy.description import Description
from ghostnet_small.errors import InputError
from ghostnet_small.fast.cpu.kernels.library import processor
from ghostnet_small.files import NO_ROOM, cached_file, no_temporary_room, temporary_folder
from ghostnet_small.version import __version__

FLAGS = ("-std=c99", "-O3", "-fPIC", "-shared")
# Tried in turn: compilers differ in how they name this machine's processor.
CHOICES = (("-march=native",), ("-mcpu=native",), ())
# In 8 bits every machine must round alike.
CONTRACT = {"float32": "-ffp-contract=fast", "int8": "-ffp-contract=off"}
SECONDS = 600


# Digests of the texts that this process wrote: they need not be written again, and their network
# may have no name.
_written: set[str] = set()


def note_written(source: str, header: str) -> None:
    """Remember the texts that this process exports."""
    _written.add(_digest([source, header]))


def compiler_version() -> str:
    """Return the command of the C compiler that is used here, with the first line of its version.

    Raises ``InputError`` if there is none.
    """
    words = _compiler("a C file")
    return f"{shlex.join(words)}: {_version(words).partition(chr(10))[0]}"


def loaded(path: Path, source: str, header: str, description: Description) -> ctypes.CDLL:
    """Return the library of a C file with its header, compiled once and kept in the cache.

    Raises ``InputError`` if ``export`` did not write these texts, there is no compiler, or the
    compiler refuses them.
    """
    compiler = _compiler(str(path))
    version = _version(compiler)
    flags = (*FLAGS, CONTRACT[description.precision])
    # A folder of caches may serve many machines. What is in it was compared by this version.
    words = [*compiler, version, processor(), repr((flags, CHOICES)), __version__, source, header]

    def make() -> bytes:
        own = _digest([source, header]) in _written
        text = source if own else rewritten(path, source, header, description)
        return _compile(path, text, compiler, flags)

    with cached_file(f"c/{_digest(words)[:32]}.so", make) as file:
        return ctypes.CDLL(str(file))


def _digest(words: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()


def _version(compiler: list[str]) -> str:
    return subprocess.run([*compiler, "--version"], capture_output=True, text=True).stdout


def _compiler(path: str) -> list[str]:
    named = shlex.split(os.environ.get("CC", ""))
    found = [named] if named else [["cc"], ["gcc"], ["clang"]]
    for words in found:
        if shutil.which(words[0]):
            return words
    what = f"no compiler {named[0]!r}, which CC names" if named else "no C compiler"
    raise InputError(
        f"{path} must be compiled to run here, and there is {what}; install gcc or clang, or name "
        "one in CC"
    )


def _compile(path: Path, text: str, compiler: list[str], flags: tuple[str, ...]) -> bytes:
    """Return the content of the shared library."""
    said = ""
    with temporary_folder() as folder:
        out = folder / "model.so"
        for choice in CHOICES:
            command = [*compiler, *flags, *choice, "-x", "c", "-", "-o", str(out), "-lm"]
            done = subprocess.run(
                command, input=text, capture_output=True, text=True, timeout=SECONDS
            )
            if done.returncode == 0:
                return out.read_bytes()
            said = said or done.stderr
            if NO_ROOM in done.stderr:
                raise no_temporary_room()
    first = next(iter(said.splitlines()), "without a word")
    raise InputError(
        f"{path} does not compile with {compiler[0]} ({first:.200}); export the run again"
    )
