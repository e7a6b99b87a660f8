"""The commands behind ``benchmark``: what things cost on this machine, and in what form least."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ghostnet_small import speed_terminal
from ghostnet_small.command import Command, Commands, Failed, positive


def _train_settings() -> Collection[str]:
    from ghostnet_small.study.train_speed import SETTINGS

    return SETTINGS


def _train_options(parser: argparse.ArgumentParser) -> None:
    from ghostnet_small.study.train_speed import USUAL, VARIANTS

    extra = ", ".join(name for name in VARIANTS if name not in USUAL)
    parser.add_argument(
        "--variants",
        metavar="A,B",
        help=f"of {', '.join(USUAL)} (these), and {extra} (minutes more)",
    )
    parser.add_argument("--classes", metavar="K", type=positive, default=10, help="(10)")
    parser.add_argument(
        "--size", metavar="S", type=positive, default=32, help="of a picture, pixels (32)"
    )
    parser.add_argument(
        "--warm-up", metavar="N", type=positive, default=3, help="steps of each before (3)"
    )
    parser.add_argument(
        "--repetitions", metavar="N", type=positive, default=7, help="turns of each (7)"
    )
    parser.add_argument(
        "--steps", metavar="N", type=positive, help="of a turn (1 on a CPU, else 10)"
    )
    _record_option(parser)


def _train(args: argparse.Namespace) -> dict[str, Any]:
    from ghostnet_small.study.folding import CheckFailed
    from ghostnet_small.study.recipe import read_recipe
    from ghostnet_small.study.train_speed import chosen_variants, compare_training_steps

    variants = chosen_variants(args.variants)
    recipe = read_recipe(None, args.overrides)
    _check_record(args)
    try:
        value = compare_training_steps(
            recipe,
            variants=variants,
            classes=args.classes,
            size=args.size,
            warm_up=args.warm_up,
            repetitions=args.repetitions,
            calls=args.steps,
        )
    except CheckFailed as error:
        raise Failed(str(error), 3) from None
    _record(args, value)
    return value


def _distill_settings() -> Collection[str]:
    from ghostnet_small.study.distill_speed import SETTINGS

    return SETTINGS


def _distill_options(parser: argparse.ArgumentParser) -> None:
    from ghostnet_small.study.distill_speed import VARIANTS

    parser.add_argument(
        "--variants", metavar="A,B", help=f"of {', '.join(VARIANTS)} (all); plain is always there"
    )
    parser.add_argument(
        "--repetitions", metavar="N", type=positive, default=7, help="turns of each (7)"
    )
    parser.add_argument("--steps", metavar="N", type=positive, default=20, help="of a turn (20)")
    _record_option(parser)


def _distill(args: argparse.Namespace) -> dict[str, Any]:
    from ghostnet_small.study.distill_speed import (
        RECIPE,
        chosen_variants,
        compare_distillation,
    )
    from ghostnet_small.study.recipe import read_recipe
    from ghostnet_small.study.shipped import find_recipe

    variants = chosen_variants(args.variants)
    recipe = read_recipe(find_recipe(RECIPE), args.overrides)
    _check_record(args)
    value = compare_distillation(
        recipe, variants=variants, repetitions=args.repetitions, steps=args.steps
    )
    _record(args, value)
    return value


def _record_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--record", metavar="FILE.jsonl", type=Path, help="append the result as one line"
    )


def _check_record(args: argparse.Namespace) -> None:
    """A file that will not take the result is refused before the work."""
    from ghostnet_small.study.records import read_rows

    if args.record is not None and args.record.exists():
        read_rows(args.record)


def _record(args: argparse.Namespace, value: dict[str, Any]) -> None:
    from ghostnet_small.study.records import append_row

    if args.record is not None:
        append_row(value, args.record)


BENCHMARKS: Commands = {
    "train": Command(
        "Speed and memory of a training step in each form of the network.",
        *(_train_options, _train, speed_terminal.show_train_speed, _train_settings),
    ),
    "distill": Command(
        "Time of a training step with teachers, cached and live, beside plain training.",
        *(_distill_options, _distill, speed_terminal.show_distill_speed, _distill_settings),
    ),
}
