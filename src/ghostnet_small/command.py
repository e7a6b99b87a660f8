"""What a command is, and the numbers among its words."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

PROGRAM = "ghostnet-small"


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
    """A command: its options, the settings it takes, what it does and how that is shown."""

    summary: str
    options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], Any]
    show: Callable[[Any], None]
    settings: Callable[[], Collection[str]] = tuple


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
