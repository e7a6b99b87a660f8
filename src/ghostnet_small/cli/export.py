"""``export``: its options, and what was written."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ghostnet_small.cli.command import PROGRAM, Failed, positive, remark
from ghostnet_small.cli.terminal import new_table, print_pairs, print_table
from ghostnet_small.deploy.formats import FORMATS, PACKAGES
from ghostnet_small.errors import InputError
from ghostnet_small.option_values import CALIBRATION, EXPORT_FOLDER, INPUTS
from ghostnet_small.streams import libraries_apart


def export_settings() -> Collection[str]:
    """The settings of a recipe that ``export`` takes."""
    from ghostnet_small.use.export import SETTINGS

    return SETTINGS


def export_options(parser: argparse.ArgumentParser) -> None:
    """The options of an export."""
    parser.add_argument(
        "path",
        metavar="PATH",
        type=Path,
        help="a run's folder, or weights by folder, name or hf-hub:owner/name",
    )
    parser.add_argument("--weights", choices=("last", "best"), default="last", help="(last)")
    parser.add_argument(
        "--formats",
        metavar="A,B",
        default="all",
        help=f"of {', '.join(FORMATS)}; all: those that are installed; and packages of c: "
        f"{', '.join(PACKAGES)} (all)",
    )
    parser.add_argument(
        "--int8", action="store_true", help="also in 8 bits, calibrated on training images"
    )
    parser.add_argument(
        "--calibration", metavar="N", type=positive, help=f"on so many ({CALIBRATION})"
    )
    parser.add_argument(
        "--fine-tune",
        metavar="N",
        type=positive,
        help="of weights that so many steps have fitted to 8 bits before (none)",
    )
    parser.add_argument(
        "--input",
        choices=INPUTS,
        default="normalized",
        help="normalised pixels in and logits out, or uint8 pixels in and probabilities out "
        "(normalized)",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help=f"a folder (PATH/{EXPORT_FOLDER}; of a name, {EXPORT_FOLDER}/NAME)",
    )
    for option, kind in (("--flash", "flash"), ("--ram", "working memory")):
        parser.add_argument(
            option,
            metavar="SIZE",
            help=f"the most {kind} that each format's file for a device may take, such as 450kB, "
            "128KiB or 128000 (any)",
        )
    parser.add_argument("--force", action="store_true", help="replace files that exist")


def export(args: argparse.Namespace) -> dict[str, Any]:
    """Export trained weights; raises ``Failed`` where a file fails its check."""
    from ghostnet_small.use.export import ExportFailed, export_weights

    for option, value in (("calibration", args.calibration), ("fine-tune", args.fine_tune)):
        if value is not None and not args.int8:
            raise InputError(f"--{option} {value} is for --int8; give --int8 too")
    try:
        # Some report their progress, which must not fall among --json.
        with libraries_apart():
            return export_weights(
                args.path,
                args.out,
                formats=args.formats.split(","),
                int8=args.int8,
                input=args.input,
                weights=args.weights,
                calibration=args.calibration or CALIBRATION,
                fine_tune=args.fine_tune or 0,
                overrides=args.overrides,
                force=args.force,
                flash=args.flash,
                ram=args.ram,
                say=remark,
            )
    except ExportFailed as error:
        raise Failed(str(error), 3, value=error.value) from None


def show_export(value: dict[str, Any]) -> None:
    """Print a line for each file: its size, and how it compares with the network."""
    files = value["files"]
    if not files:
        return
    judged = [one for one in files if one["top1"] is not None]
    table = new_table()
    table.add_column("file")
    for name in ("kB", "relative\nerror", "same\nclass", *(("top-1",) if judged else ())):
        table.add_column(name, justify="right")
    for one in files:
        row = [
            Path(one["files"][0]).name,
            f"{one['size_bytes'] / 1000:,.0f}",
            f"{one['relative_error']:.1e}",
            f"{one['agreement']:.1f} %",
        ]
        if one["top1"] is not None:
            row.append(f"{one['top1']['before']:.2f} -> {one['top1']['after']:.2f} %")
        table.add_row(*row)
    print_table(table)
    pairs = [("compared", f"in float64, on {value['pictures']} images of {value['compared_on']}")]
    if judged:
        top1 = judged[0]["top1"]
        pairs.append(("top-1", f"on {top1['pictures']:,} images of the {top1['split']} split"))
    for one in files:
        name = Path(one["files"][0]).name
        if one["kept_in_float"]:
            pairs.append(("float32", f"in {name}: {', '.join(one['kept_in_float'])}"))
        ram = "RAM not known" if one["ram_bytes"] is None else f"{one['ram_bytes']:,} of RAM"
        flash = f"{one['flash_bytes']:,} bytes of flash ({one['flash_counted']})"
        top1 = "" if one["top1"] is None else f", top-1 {one['top1']['after']:.2f} %"
        pairs.append(("budget", f"{name}: {flash}, {ram}{top1}"))
    pairs.append(("files", value["out"]))
    runnable = [one["files"][0] for one in files if one["format"] not in PACKAGES]
    if runnable:
        pairs.append(("next", f"{PROGRAM} evaluate {shlex.quote(runnable[0])}"))
    print_pairs(pairs)
