"""A command of the program, and helpers that all commands share."""

from __future__ import annotations

import argparse
import gc
import re
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

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
