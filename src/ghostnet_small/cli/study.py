"""``study``: its options, many runs by one command, and what came of them."""

from __future__ import annotations

import argparse
import shlex
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghostnet_small.cli.command import PROGRAM, positive
from ghostnet_small.cli.several import mean, percent, train_planned
from ghostnet_small.cli.terminal import new_table, print_table
from ghostnet_small.errors import InputError, printable

if TYPE_CHECKING:
    from ghostnet_small.study.scheduler import Engine


def study_options(parser: argparse.ArgumentParser) -> None:
    """The options of a study."""
    parser.add_argument("study", metavar="FILE", help="a YAML file or a shipped study's name")
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        required=True,
        help="the study's folder, a new one or one to go on with",
    )
    parser.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="where runs take place (local)"
    )
    parser.add_argument(
        "--address", metavar="HOST:PORT", help="of the Ray cluster (RAY_ADDRESS, or this machine's)"
    )
    parser.add_argument(
        "--max-parallel",
        metavar="N",
        type=positive,
        help="train so many at once (as many as pay)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="list the runs in their order, and start none"
    )


def study(args: argparse.Namespace) -> dict[str, Any]:
    """Train every run of a study; raises ``Failed``, with their rows, where one failed."""
    from ghostnet_small.recipe.shipped_recipes import find_study
    from ghostnet_small.study.planning import plan_study
    from ghostnet_small.study.runner import found_study, outcome

    if args.address is not None and args.engine != "ray":
        raise InputError(f"--address {args.address} is of a Ray cluster; give --engine ray too")
    planned = plan_study(find_study(args.study), args.overrides, args.out)
    if args.dry_run:
        found_study(planned, args.out)
        return {**outcome(planned, args.out, {}), "dry_run": True}
    return train_planned(planned, args, _words(args), args.max_parallel, _engine(args))


def _engine(args: argparse.Namespace) -> AbstractContextManager[Engine]:
    if args.engine == "ray":
        from ghostnet_small.study.ray_engine import ray_engine

        return ray_engine(args.out, args.address)
    from ghostnet_small.study.local_engine import LocalEngine

    return nullcontext(LocalEngine())


def _words(args: argparse.Namespace) -> list[str]:
    """Return the command's words but its settings, to be given again."""
    words = ["study", args.study, "--out", str(args.out)]
    if args.engine == "ray":
        words += ["--engine", "ray", *(["--address", args.address] if args.address else [])]
    if args.max_parallel is not None:
        words += ["--max-parallel", str(args.max_parallel)]
    return words


def show_study(value: dict[str, Any]) -> None:
    """Print the means of each strategy and width, and the runs that are not finished; or the
    plan.
    """
    if value.get("dry_run"):
        _show_plan(value)
        return
    table = new_table()
    for name in ("strategy", "width", "n", "validation", "test"):
        table.add_column(name, justify="left" if name == "strategy" else "right")
    for row in value["runs"]:
        if row["strategy"] is None:
            top1 = (percent(row[f"{split}_top1"]) for split in ("validation", "test"))
            table.add_row(printable(row["name"]), f"{row['width']:g}", "", *top1)
    table.add_section()
    for group in value["strategies"]:
        top1 = (mean(group[f"{split}_top1"]) for split in ("validation", "test"))
        count = max(group[f"{split}_top1"]["n"] for split in ("validation", "test"))
        table.add_row(printable(group["strategy"]), f"{group['width']:g}", str(count), *top1)
    print_table(table)
    print("top-1; of a strategy, mean and sample deviation over its n finished runs")
    for row in value["runs"]:
        if row["reason"]:
            print(f"{printable(row['name'])} {row['status']}: {printable(row['reason'])}")
    print(f"runs in {value['out']}/runs, their rows in {value['out']}/results.jsonl")
    print(f"report: {PROGRAM} report {shlex.quote(value['out'])}")


def _show_plan(value: dict[str, Any]) -> None:
    table = new_table()
    for name in ("run", "strategy", "width", "seed", "teachers", "state"):
        table.add_column(name, justify="right" if name in ("width", "seed") else "left")
    for row in value["runs"]:
        teachers = ", ".join(map(printable, row["teachers"])) or "-"
        what = (f"{row['width']:g}", str(row["seed"]), teachers, row["status"])
        table.add_row(printable(row["name"]), printable(row["strategy"] or "-"), *what)
    print_table(table)
    print(f"{len(value['runs'])} runs, of which none was started")


def report_options(parser: argparse.ArgumentParser) -> None:
    """The options of a study's report."""
    parser.add_argument("study", metavar="DIR", type=Path, help="a study's folder")


def report(args: argparse.Namespace) -> dict[str, Any]:
    """Write the report of a study."""
    from ghostnet_small.report.study_report import report_study

    return report_study(args.study)


def show_report(value: dict[str, Any]) -> None:
    """Print the main table, and where the report is."""
    table = new_table()
    for name in ("strategy", "width", "n", "top-1", "against the baseline", "95 % interval"):
        table.add_column(name, justify="left" if name == "strategy" else "right")
    for row in value["table"]:
        top1 = percent(row["top1"])
        if row["deviation"] is not None:
            top1 = mean({"mean": row["top1"], "deviation": row["deviation"]})
        difference = "-" if row["difference"] is None else f"{row['difference']:+.2f}"
        ends = "-" if row["low"] is None else f"{row['low']:+.2f} to {row['high']:+.2f}"
        if row["real"]:
            ends += ", significant"
        width = "-" if row["width"] is None else f"{row['width']:g}"
        table.add_row(printable(row["strategy"]), width, str(row["n"]), top1, difference, ends)
    print_table(table)
    split = value["table"][0]["split"] if value["table"] else "test"
    print(f"{split} top-1 of the last epoch; differences in points, paired by seed")
    print(f"report  {value['html']}, {value['markdown']}")
