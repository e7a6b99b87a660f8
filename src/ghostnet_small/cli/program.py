"""The command line: one command's words are parsed, it runs, and its value is printed.

Results go to standard output, everything else to standard error. Exit status: 0; 2 for a
mistake of the user's; 3 for a check that failed, a loss that is not finite, one of several runs
that failed or one of several images that cannot be read; 130 and 143 after Ctrl-C and SIGTERM.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import re
import signal
import sys
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from typing import Any, NoReturn

from ghostnet_small.cli.command import PROGRAM, Command, Commands, Failed, import_torch
from ghostnet_small.cli.commands import COMMANDS
from ghostnet_small.errors import InputError, nearest, os_error_text
from ghostnet_small.launcher import launched
from ghostnet_small.platforms import check_system
from ghostnet_small.streams import open_streams
from ghostnet_small.version import __version__


class Parser(argparse.ArgumentParser):
    """A command's own options and, as ``overrides``, the settings of a recipe that it takes."""

    def __init__(self, name: str, command: Command, program: str = PROGRAM) -> None:
        super().__init__(
            prog=f"{program} {name}",
            description=command.summary,
            allow_abbrev=False,
            add_help=False,
        )
        self.command = command
        command.options(self)
        self.add_argument("--json", action="store_true", help="print one JSON value")
        self.add_argument("-h", "--help", action="store_true", help="print this")
        if command.settings is not None:
            self.add_argument(
                "--help-settings", action="store_true", help="list the settings of a recipe"
            )
            self.epilog = (
                "Settings of a recipe (--room.setting VALUE) are listed by --help-settings."
            )

    @cached_property
    def settings(self) -> Collection[str]:
        """The settings that the command takes, imported at the first use."""
        return () if self.command.settings is None else self.command.settings()

    def error(self, message: str) -> NoReturn:
        """Raise the ``InputError`` that argparse would exit with."""
        raise InputError(f"{message}; see {self.prog} --help")

    def help_asked(self, words: Sequence[str]) -> str | None:
        """The help that ``words`` ask for; None where they ask for none."""
        asked = set(_before_dashes(words))
        if asked & {"-h", "--help"}:
            return self.format_help()
        if "--help-settings" in asked and self.command.settings is not None:
            import_torch()
            from ghostnet_small.recipe.recipe_help import settings_help

            return settings_help(self.settings)
        return None

    def read(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse ``words``; raises ``InputError`` at what is unknown, with what is nearest."""
        overrides: list[str] = []
        rest = list(words)
        # A command without settings among its words does not wait for their import.
        if self.command.settings is not None and any(map(self._is_foreign, words)):
            import_torch()
            from ghostnet_small.recipe.recipe import take_settings

            overrides, rest = take_settings(words, self.settings)
        for word in filter(self._is_foreign, _before_dashes(rest)):
            option = word.split("=", 1)[0]
            known = [*self._option_string_actions, *(f"--{key}" for key in self.settings)]
            self.error(f"option {option} is not known; {nearest(option, known)}")
        args = self.parse_intermixed_args(rest)
        args.overrides = overrides
        return args

    def _is_foreign(self, word: str) -> bool:
        """Return whether ``word`` looks like an option and is none of the command's own."""
        option = word.split("=", 1)[0]
        return bool(re.match("--?[A-Za-z]", word)) and option not in self._option_string_actions


def _before_dashes(words: Sequence[str]) -> Sequence[str]:
    """``words`` up to ``--``, behind which nothing is an option."""
    return words[: words.index("--")] if "--" in words else words


class Remarks(logging.Handler):
    """A log handler that prints the package's remarks on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one remark, of several processes on a machine in the first."""
        if _first_here():
            print(f"{PROGRAM}: {record.getMessage()}", file=sys.stderr)


logging.getLogger("ghostnet_small").addHandler(Remarks())


def main(
    argv: Sequence[str] | None = None, commands: Commands = COMMANDS, program: str = PROGRAM
) -> int:
    """Run one of ``commands`` of ``program``; returns its exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    open_streams()
    try:
        check_system()
        _dispatch(words, commands, program)
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
    return 0


def _dispatch(
    words: Sequence[str], commands: Commands, program: str = PROGRAM, before: str = ""
) -> None:
    """Run the command that ``words`` begin with, one of ``commands``; ``before``: words taken."""
    if not words:
        raise InputError(f"no {before}command is given; choose one of {', '.join(commands)}")
    if words[0] in ("-h", "--help"):
        _help(commands, program, before)
        return
    if words[0] == "--version":
        print(f"{PROGRAM} {__version__}")
        return
    name, rest = words[0], words[1:]
    if name not in commands:
        raise InputError(
            f"{before}command {name!r} is not known; {nearest(name, commands)}, of "
            f"{', '.join(commands)}"
        )
    found = commands[name]
    if isinstance(found, Command):
        _run(before + name, found, rest, program)
    else:
        _dispatch(rest, found, program, f"{before}{name} ")


def _run(name: str, command: Command, words: Sequence[str], program: str) -> None:
    launch = launched()
    if name not in ("train", "distill") and launch.count > 1:
        raise InputError(
            f"{name} runs in one process, and the launcher started {launch.count}; leave it out"
        )
    parser = Parser(name, command, program)
    if text := parser.help_asked(words):
        print(text, end="")
        return
    args = parser.read(words)
    if command.needs_torch:
        import_torch()
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


def _help(commands: Commands, program: str, before: str) -> None:
    found = dict(_summaries(commands, before))
    width = max(map(len, found))
    print(f"usage: {program} {before}COMMAND ...\n\ncommands:")
    for name, summary in found.items():
        print(f"  {name:{width}}  {summary}")
    print(f"\n{program} {before}COMMAND --help lists a command's options.")


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
