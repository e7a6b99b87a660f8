"""``models``: its option, and the printed list."""

from __future__ import annotations

import argparse
from typing import Any

from ghostnet_small.cli.command import PROGRAM
from ghostnet_small.cli.terminal import new_table, print_table
from ghostnet_small.errors import InputError, nearest


def models_options(parser: argparse.ArgumentParser) -> None:
    """The option of a list of shipped weights."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="print the card of these")


def models(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The shipped weights, or the one that is named."""
    from ghostnet_small.publish.weight_records import list_shipped

    listed = list_shipped()
    if args.name is None:
        return listed
    found = [one for one in listed if one["name"] == args.name]
    if not found:
        names = [one["name"] for one in listed]
        raise InputError(
            f"no weights called {args.name} come with the program; "
            + (f"{nearest(args.name, names)}, of {', '.join(names)}" if names else "none do")
        )
    return found


def show_models(value: list[dict[str, Any]]) -> None:
    """Print a line for each of the weights, or the card of one that was named."""
    from ghostnet_small.report.table_cells import both_forms_text, spread

    if len(value) == 1:
        print(value[0]["card"], end="")
        return
    table = new_table()
    table.add_column("name", no_wrap=True)
    for title in ("parameters\ntraining / deployed", "MACs\ndeployed", "kB", "test\ntop-1, %"):
        table.add_column(title, justify="right")
    table.add_column("top-1 of the runs\nof its recipe, %")
    table.add_column("recipe")
    for one in value:
        table.add_row(
            one["name"],
            both_forms_text(one["params"]),
            f"{one['macs']['deployed']:,}",
            f"{one['size_bytes'] / 1000:,.0f}",
            f"{one['top1']:.2f}",
            spread(one["runs"]),
            one["recipe"],
        )
    print_table(table)
    print(f"use: {PROGRAM} predict {value[0]['name']} IMAGE; card: {PROGRAM} models NAME")
