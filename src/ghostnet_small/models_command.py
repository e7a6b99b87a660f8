"""``models`` and ``ship``: their options, and what they print."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ghostnet_small.command import PROGRAM, Failed, libraries_apart, remark
from ghostnet_small.errors import InputError, nearest
from ghostnet_small.terminal import new_table, print_pairs, print_table


def models_options(parser: argparse.ArgumentParser) -> None:
    """The option of a list of shipped weights."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="print the card of these")


def models(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The shipped weights, or the one that is named."""
    from ghostnet_small.study.shipped_records import list_shipped

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
    """A line for each of the weights; of one that was named, its card."""
    from ghostnet_small.study.table_cells import both_forms_text, spread

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
    print(f"use: {PROGRAM} predict {value[0]['name']} PICTURE; card: {PROGRAM} models NAME")


def ship_options(parser: argparse.ArgumentParser) -> None:
    """The options of new shipped weights."""
    parser.add_argument(
        "path", metavar="PATH", type=Path, help="a finished run's folder, or recorded weights"
    )
    parser.add_argument(
        "results",
        metavar="FILE.jsonl",
        type=Path,
        help="of records; gets the run where it lacks it",
    )
    parser.add_argument("--name", metavar="NAME", help="(of network, width and data)")
    parser.add_argument(
        "--to", metavar="DIR", type=Path, default=Path("results/weights"), help="(results/weights)"
    )
    parser.add_argument("--force", action="store_true", help="replace weights of that name")
    parser.add_argument(
        "--demo",
        action=argparse.BooleanOptionalAction,
        default=True,
        help=f"also the ONNX files that {PROGRAM} demo runs, float32 and int8 (on)",
    )


def ship_settings() -> Collection[str]:
    """The settings of a recipe that ``ship`` takes: where the data lie."""
    from ghostnet_small.study.evaluation import SETTINGS

    return SETTINGS


def ship(args: argparse.Namespace) -> dict[str, Any]:
    """Ship weights; raises ``Failed`` where they do not give their record's count, or an ONNX
    file not their answers."""
    from ghostnet_small.deploy.formats import FORMATS
    from ghostnet_small.study.checking import CheckFailed
    from ghostnet_small.study.ship import ship_weights

    if args.demo:
        FORMATS["onnx"].check()
    try:
        value = ship_weights(
            args.path,
            args.results,
            name=args.name,
            to=args.to,
            overrides=args.overrides,
            force=args.force,
            say=remark,
        )
        if args.demo:
            # It imports much.
            from ghostnet_small.demo.bundle import write_bundle

            folder = Path(value["folder"])
            with libraries_apart():
                made = write_bundle(folder, folder, overrides=args.overrides, say=remark)
            value["demo"] = made["compared"]
        return value
    except CheckFailed as error:
        raise Failed(str(error), 3) from None


def show_ship(value: dict[str, Any]) -> None:
    """Where the weights lie, and what they gave."""
    recorded = "appended to" if value["recorded"] else "was already in"
    pairs = [
        ("weights", value["folder"]),
        (
            value["split"],
            f"top-1 {value['top1']:.2f} % ({value['correct']:,} of {value['total']:,}), "
            "as recorded",
        ),
        ("record", f"{recorded} {value['results']}; runs of this recipe: {value['runs']}"),
        ("card", f"{value['folder']}/README.md"),
    ]
    if "demo" in value:
        pairs.append(("demo", ", ".join(value["demo"])))
    print_pairs(pairs)
