"""``fit``: its options, the plan and what came of it."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from ghostnet_small.cli.command import PROGRAM, number, remark
from ghostnet_small.cli.several import check_failed, stoppable
from ghostnet_small.cli.terminal import new_table, print_pairs, print_table


def fit_options(parser: argparse.ArgumentParser) -> None:
    """The options of a fit."""
    parser.add_argument(
        "data",
        metavar="IMAGES",
        help="a folder or file of images by class, or a data set by name, such as digits",
    )
    parser.add_argument("--flash", metavar="SIZE", help="the most, such as 450kB")
    parser.add_argument("--ram", metavar="SIZE", help="the most, such as 128kB")
    parser.add_argument("--target", metavar="NAME", help="a device whose flash and RAM are known")
    parser.add_argument(
        "--latency-ms",
        metavar="L",
        type=number,
        help="the most of an inference: counted for --target, else timed on this machine",
    )
    parser.add_argument(
        "--minutes", metavar="M", type=number, default=30.0, help="to end within (30)"
    )
    parser.add_argument(
        "--formats", metavar="A,B", default="c", help="also files of these formats (c)"
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, required=True, help="a new folder, or one to go on with"
    )
    parser.add_argument("--plan", action="store_true", help="print the plan, and start nothing")


def fit(args: argparse.Namespace) -> dict[str, Any]:
    """Plan, train, export and report; raises ``Failed`` where a training failed."""
    from ghostnet_small.fit.device_limits import limits_of
    from ghostnet_small.fit.fit_folder import FitFolder, study_text
    from ghostnet_small.fit.fit_images import carry_out, fit_words, planned
    from ghostnet_small.fit.latency import latency_limit
    from ghostnet_small.study.study_progress import StudyProgress

    limits = limits_of(args.flash, args.ram, args.target)
    latency = latency_limit(args.latency_ms, args.target)
    overrides = [*fit_words(args.data), *args.overrides]
    folder = FitFolder(args.out)
    row = planned(overrides, folder, limits, args.minutes, latency=latency, say=remark)
    if not args.json:
        _show_plan(row)
    if args.plan:
        return {"plan": study_text([*folder.plans(), row]), "row": row}
    options = ("flash", "ram", "target", "latency_ms", "minutes", "formats", "out")
    given = {name: value for name in options if (value := getattr(args, name)) is not None}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    again = shlex.join([PROGRAM, "fit", args.data, *words, *args.overrides])
    with stoppable(again) as stop:
        value = carry_out(
            row,
            overrides,
            folder,
            formats=args.formats.split(","),
            show=StudyProgress,
            stop_signal=stop,
            say=remark,
        )
    check_failed(value, again)
    return value


def _show_plan(row: dict[str, Any]) -> None:
    table = new_table()
    for name in ("about", "decision", "reason"):
        table.add_column(name)
    for reason in row["reasons"]:
        table.add_row(*reason)
    print_table(table)
    flash, ram = (row["needs"][name] / 1000 for name in ("flash", "ram"))
    print(
        f"int8 C file: {flash:,.1f} kB of flash, {ram:,.1f} kB of RAM; "
        f"{row['seconds'] / 60:.0f} min"
    )


def show_fit(value: dict[str, Any]) -> None:
    """Print the plan as a study's file, or the figures and where all is."""
    if "plan" in value:
        print(value["plan"])
        return
    low, high = value["interval"]
    print_pairs(
        [
            (
                "top-1",
                f"{value['top1']:.2f} % of {value['images']:,} {value['split']} images "
                f"(95 % interval {low:.1f} to {high:.1f}), int8",
            ),
            *[("file", name) for name in value["files"]],
            ("report", value["report"]),
            ("next", f"{PROGRAM} demo {shlex.quote(value['out'])}"),
        ]
    )
