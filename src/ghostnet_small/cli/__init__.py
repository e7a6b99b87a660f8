"""The command line: one file for each group of commands, which parses and prints."""

from ghostnet_small.cli.program import main

__all__ = ["main"]
