"""The command line: one command's words are parsed, it runs, and its value is printed.

Results go to standard output, everything else to standard error. Exit status: 0; 2 for a
mistake of the user's; 3 for a check that failed, a loss that is not finite, one of several runs
that failed or one of several pictures that cannot be read; 130 and 143 after Ctrl-C and SIGTERM.
"""

from __future__ import annotations

import argparse
import difflib
import json
import logging
import math
import os
import re
import signal
import sys
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NoReturn

from ghostnet_small.command import PROGRAM, Command, Commands, Failed
from ghostnet_small.commands import COMMANDS
from ghostnet_small.errors import InputError, os_error_text
from ghostnet_small.launcher import launched
from ghostnet_small.version import __version__


class Parser(argparse.ArgumentParser):
    """A command's own options and, as ``overrides``, the settings of a recipe that it takes."""

    def __init__(self, name: str, summary: str, settings: Collection[str] = ()) -> None:
        super().__init__(prog=f"{PROGRAM} {name}", description=summary, allow_abbrev=False)
        self.settings = settings
        self.add_argument("--json", action="store_true", help="print one JSON value")

    def error(self, message: str) -> NoReturn:
        """Raise the ``InputError`` that argparse would exit with."""
        raise InputError(f"{message}; see {self.prog} --help")

    def format_help(self) -> str:
        """The options, then the settings with their meaning and default."""
        if not self.settings:
            return super().format_help()
        from ghostnet_small.study.recipe import recipe_parser

        return f"{super().format_help()}\n{recipe_parser(self.settings).format_help()}"

    def read(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse ``words``; raises ``InputError`` at what is unknown, with what is nearest."""
        overrides: list[str] = []
        rest = list(words)
        if self.settings:
            from ghostnet_small.study.recipe import take_settings

            overrides, rest = take_settings(words, self.settings)
        for word in rest[: rest.index("--")] if "--" in rest else rest:
            option = word.split("=", 1)[0]
            if re.match("--?[A-Za-z]", word) and option not in self._option_string_actions:
                known = [*self._option_string_actions, *(f"--{key}" for key in self.settings)]
                near = difflib.get_close_matches(option, known, n=1, cutoff=0.0)[0]
                self.error(f"option {option} is not known; the nearest is {near}")
        args = self.parse_intermixed_args(rest)
        args.overrides = overrides
        return args


class Remarks(logging.Handler):
    """What the package's rooms have to say beside their results, on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one remark, of several processes on a machine in the first."""
        if _first_here():
            print(f"{PROGRAM}: {record.getMessage()}", file=sys.stderr)


logging.getLogger("ghostnet_small").addHandler(Remarks())


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        _dispatch(words)
        sys.stdout.flush()
    except InputError as error:
        return _complain(error, 2)
    except Failed as error:
        return _complain(error, error.status, always=error.alone)
    except BrokenPipeError:
        # The reader has seen enough. Python would complain again when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        return _complain(os_error_text(error), 2)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except SystemExit as error:  # argparse, after --help
        return error.code if isinstance(error.code, int) else 1
    return 0


def _dispatch(words: Sequence[str], commands: Commands = COMMANDS, before: str = "") -> None:
    """Run the command that ``words`` begin with, one of ``commands``; ``before``: words taken."""
    if not words:
        raise InputError(f"no {before}command is given; choose one of {', '.join(commands)}")
    if words[0] in ("-h", "--help"):
        _help(commands, before)
        return
    if words[0] == "--version":
        print(f"{PROGRAM} {__version__}")
        return
    name, rest = words[0], words[1:]
    if name not in commands:
        near = difflib.get_close_matches(name, commands, n=1, cutoff=0.0)[0]
        raise InputError(
            f"{before}command {name!r} is not known; the nearest is {near}, of "
            f"{', '.join(commands)}"
        )
    found = commands[name]
    if isinstance(found, Command):
        _run(before + name, found, rest)
    else:
        _dispatch(rest, found, f"{before}{name} ")


def _run(name: str, command: Command, words: Sequence[str]) -> None:
    launch = launched()
    if name not in ("train", "distill") and launch.count > 1:
        raise InputError(
            f"{name} runs in one process, and the launcher started {launch.count}; leave it out"
        )
    parser = Parser(name, command.summary, command.settings())
    command.options(parser)
    args = parser.read(words)
    try:
        value = command.run(args)
    except Failed as error:
        if error.value is not None:
            _print(command, args, error.value)
        raise
    if not launch.rank:
        _print(command, args, value)


def _print(command: Command, args: argparse.Namespace, value: Any) -> None:
    if args.json:
        print(json.dumps(_finite(value), allow_nan=False))
    else:
        command.show(value)


def _finite(value: Any) -> Any:
    """``value`` as JSON can say it, which knows no infinity: ``null`` stands for that."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _help(commands: Commands, before: str) -> None:
    found = dict(_summaries(commands, before))
    width = max(map(len, found))
    print(f"usage: {PROGRAM} {before}COMMAND ...\n\ncommands:")
    for name, summary in found.items():
        print(f"  {name:{width}}  {summary}")
    print(f"\n{PROGRAM} {before}COMMAND --help lists a command's options and settings.")


def _summaries(commands: Commands, before: str = "") -> Iterator[tuple[str, str]]:
    for name, found in commands.items():
        if isinstance(found, Command):
            yield before + name, found.summary
        else:
            yield from _summaries(found, f"{before}{name} ")


def _complain(error: Exception | str, status: int, always: bool = False) -> int:
    """Print ``error``; one that several processes have, in the first of a machine or ``always``."""
    if not always and not _first_here():
        return status
    # A stop that was asked for is no error.
    kind = "" if status > 128 else "error: "
    print(f"{PROGRAM}: {kind}{' '.join(str(error).split())}", file=sys.stderr)
    return status


def _first_here() -> bool:
    try:
        return launched().local_rank == 0
    except InputError:
        return True
