"""Other programs that the pages start, up to where their options are read."""

from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock


def launcher(name: str) -> Callable[[list[str]], Any]:
    """The parser of ``torchrun`` or of ``accelerate launch``."""
    if name == "torchrun":
        from torch.distributed.run import get_args_parser

        return get_args_parser().parse_args
    from accelerate.commands.launch import launch_command_parser

    return lambda words: launch_command_parser().parse_args(words[1:])


class Parsed(Exception):
    """A program has read its options."""


def script(words: list[str]) -> None:
    """A Python file up to where its options are read."""
    parse = argparse.ArgumentParser.parse_args

    def stop(self: argparse.ArgumentParser, *args: Any) -> None:
        parse(self, *args)
        raise Parsed

    with (
        mock.patch.object(argparse.ArgumentParser, "parse_args", stop),
        mock.patch.object(sys, "argv", words),
        mock.patch.object(sys, "path", [str(Path(words[0]).parent), *sys.path]),
    ):
        try:
            runpy.run_path(words[0], run_name="__main__")
        except Parsed:
            return
    raise AssertionError(f"{words[0]} reads no options")
