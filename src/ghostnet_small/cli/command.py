"""A command of the program, and helpers that all commands share."""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any, TextIO

PROGRAM = "ghostnet-small"
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Failed(Exception):
    """The command ends with ``status``, for a reason that is no ``InputError``.

    ``alone``: of several processes, only this one may know the reason. ``value``: what it has to
    show all the same.
    """

    def __init__(
        self, message: str, status: int, alone: bool = False, value: Any | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.alone, self.value = status, alone, value


@dataclass(frozen=True)
class Command:
    """A command: its options, the settings it takes, what it does and how that is shown.

    ``settings`` gives the settings of a recipe that it takes, None: it takes none. It is called
    only where they are needed, for it imports what they are made of, and with that torch. So does
    ``run``, unless ``needs_torch`` is False.
    """

    summary: str
    options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], Any]
    show: Callable[[Any], None]
    settings: Callable[[], Collection[str]] | None = None
    needs_torch: bool = True


# A name leads to a command, or to the commands that may come as the second word.
Commands = Mapping[str, "Command | Commands"]


def positive(word: str) -> int:
    """A whole number of at least 1."""
    if not re.fullmatch("[0-9]+", word) or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word!r} is not a whole number of at least 1")
    return int(word)


def number(word: str) -> float:
    """Any number."""
    try:
        return float(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{word!r} is not a number") from None


def remark(text: str) -> None:
    """Say ``text`` beside the results, on standard error."""
    print(f"{PROGRAM}: {text}", file=sys.stderr)


def import_torch() -> None:
    """Import torch as fast as it can be: without a search for garbage, then or later, among the
    200,000 objects that it makes.

    They all stay. Searching them, also once more at the end of the program, takes a fifth of the
    processor time of a short command.
    """
    if "torch" in sys.modules:  # by a program that calls this one, whose objects are its own
        return
    gc.disable()
    try:
        import torch  # noqa: F401
    finally:
        gc.freeze()
        gc.enable()


def open_streams() -> None:
    """Make standard output and error take any text: a class or a file may be named in any script.

    What their encoding lacks is escaped. A stream that was closed by whoever started the program
    becomes the null device, and so do the descriptors behind it: a file opened later would get
    the number of one, and with it what libraries print.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        # Who has asked for something else, by PYTHONIOENCODING=ascii:replace, gets it.
        elif getattr(stream, "errors", None) in ("strict", "surrogateescape"):
            with suppress(AttributeError):  # a stream of a notebook or of a test
                stream.reconfigure(errors="backslashreplace")


@contextmanager
def interrupts() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM, of which the first to come is in the list, end what runs, and all that
    is temporary goes: also where a shell has the program ignore the one or the other.

    Outside of the main thread, where Python has no signals, nothing is caught.
    """
    got: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield got
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        got.append(number)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in SIGNALS}
    try:
        yield got
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def libraries_apart() -> Iterator[TextIO]:
    """Send what libraries print, in Python or C, to standard error: only results go to the output.

    The stream leads to standard output meanwhile.
    """
    out = sys.stdout
    out.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    # Only what is no file, as in a notebook or a test, still leads where it did.
    results = out
    if _writes_to(out, 1):
        results = open(os.dup(kept), "w", 1, out.encoding, out.errors)  # noqa: SIM115
    try:
        with redirect_stdout(sys.stderr):
            yield results
    finally:
        if results is not out:
            with suppress(OSError):  # its reader may be gone, which was raised before
                results.close()
        # C keeps what it printed until there is more of it.
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).fflush(None)
        os.dup2(kept, 1)
        os.close(kept)


def _writes_to(stream: TextIO, handle: int) -> bool:
    with suppress(OSError, AttributeError):
        return stream.fileno() == handle
    return False
