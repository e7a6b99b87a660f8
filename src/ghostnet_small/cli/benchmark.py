"""The commands behind ``benchmark``: measure speed, memory and latency on this machine."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from ghostnet_small.cli import deploy_terminal, speed_terminal
from ghostnet_small.cli.command import Command, Commands, Failed, interrupts, positive, remark
from ghostnet_small.cli.mlperf_terminal import show_mlperf_tiny
from ghostnet_small.deploy.formats import FORMATS
from ghostnet_small.errors import InputError
from ghostnet_small.option_values import (
    BATCHES,
    COMPILED_TRAIN_VARIANTS,
    DISTILL_VARIANTS,
    PEERS,
    TRAIN_VARIANTS,
    TURNS,
)
from ghostnet_small.streams import libraries_apart


def _train_settings() -> Collection[str]:
    from ghostnet_small.benchmark.train_speed import SETTINGS

    return SETTINGS


def _train_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--variants",
        metavar="A,B",
        help=f"of {', '.join(TRAIN_VARIANTS)} (these), and {', '.join(COMPILED_TRAIN_VARIANTS)} "
        "(minutes more)",
    )
    parser.add_argument(
        "--batches",
        metavar="A,B",
        help="all these batch sizes, and the fixed cost of a step; such as 16,64,256",
    )
    parser.add_argument("--classes", metavar="K", type=positive, default=10, help="(10)")
    parser.add_argument(
        "--size", metavar="S", type=positive, default=32, help="of an image, pixels (32)"
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
    parser.add_argument(
        "--beside", metavar="N", type=positive, default=0, help="keep N cores busy meanwhile (0)"
    )
    _record_option(parser)


def _train(args: argparse.Namespace) -> dict[str, Any]:
    from ghostnet_small.benchmark.train_speed import compare_training_steps
    from ghostnet_small.benchmark.train_variants import chosen_variants
    from ghostnet_small.recipe.recipe import read_recipe
    from ghostnet_small.use.folding import CheckFailed

    variants = chosen_variants(args.variants)
    batches = None
    if args.batches is not None:
        batches = _numbers("--batches", args.batches, "16,64,256")
        if any(word.startswith("--train.batch_size=") for word in args.overrides):
            raise InputError(
                f"--batches {args.batches} and --train.batch_size exclude each other; leave out "
                "one of them"
            )
    recipe = read_recipe(None, args.overrides)
    _check_record(args)
    try:
        value = compare_training_steps(
            recipe,
            variants=variants,
            batches=batches,
            classes=args.classes,
            size=args.size,
            warm_up=args.warm_up,
            repetitions=args.repetitions,
            calls=args.steps,
            beside=args.beside,
        )
    except CheckFailed as error:
        raise Failed(str(error), 3) from None
    _record(args, value)
    return value


def _distill_settings() -> Collection[str]:
    from ghostnet_small.benchmark.distill_speed import SETTINGS

    return SETTINGS


def _distill_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--variants",
        metavar="A,B",
        help=f"of {', '.join(DISTILL_VARIANTS)} (all); plain is always there",
    )
    parser.add_argument(
        "--repetitions", metavar="N", type=positive, default=7, help="turns of each (7)"
    )
    parser.add_argument("--steps", metavar="N", type=positive, default=20, help="of a turn (20)")
    _record_option(parser)


def _distill(args: argparse.Namespace) -> dict[str, Any]:
    from ghostnet_small.benchmark.distill_speed import (
        RECIPE,
        chosen_variants,
        compare_distillation,
    )
    from ghostnet_small.recipe.recipe import read_recipe
    from ghostnet_small.recipe.shipped_recipes import find_recipe

    variants = chosen_variants(args.variants)
    recipe = read_recipe(find_recipe(RECIPE), args.overrides)
    _check_record(args)
    value = compare_distillation(
        recipe, variants=variants, repetitions=args.repetitions, steps=args.steps
    )
    _record(args, value)
    return value


def _deploy_settings() -> Collection[str]:
    from ghostnet_small.benchmark.deploy_speed import SETTINGS

    return SETTINGS


def _deploy_options(parser: argparse.ArgumentParser) -> None:
    batches = ",".join(map(str, BATCHES))
    parser.add_argument(
        "path", metavar="PATH", type=Path, help="a run's folder, weights, or an exported file"
    )
    parser.add_argument("--weights", choices=("last", "best"), help="(last)")
    parser.add_argument(
        "--formats",
        metavar="A,B",
        help=f"of {', '.join(FORMATS)}; all: those that are installed (all)",
    )
    parser.add_argument("--threads", metavar="N", type=positive, default=1, help="(1)")
    parser.add_argument("--batch", metavar="A,B", help=f"images at once ({batches})")
    parser.add_argument(
        "--peers", metavar="A,B", help=f"of {', '.join(PEERS)} (all, where they fit), or none"
    )
    parser.add_argument(
        "--int8", action="store_true", help="also in 8 bits, calibrated on training images"
    )
    parser.add_argument(
        "--split", choices=("test", "validation", "none"), default="test", help="of top-1 (test)"
    )
    parser.add_argument("--turns", metavar="N", type=positive, help=f"of each ({TURNS})")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="answer in two minutes: of what is not named two formats, a peer and batches of 1; "
        "fewer calls, and no memory",
    )
    parser.add_argument(
        "--picture", metavar="FILE.png", type=Path, help="draw top-1 against latency"
    )
    parser.add_argument(
        "--mlperf-tiny",
        action="store_true",
        help="instead: the int8 C file as MLPerf Tiny judges it, beside that benchmark's network",
    )
    parser.add_argument(
        "--indices", metavar="FILE", type=Path, help="places of MLPerf Tiny's test images"
    )
    _record_option(parser)


def _deploy(args: argparse.Namespace) -> dict[str, Any]:
    if args.mlperf_tiny:
        return _mlperf_tiny(args)
    if args.indices is not None:
        raise InputError(f"--indices {args.indices} is for --mlperf-tiny; give that too")
    return _compare_deployments(args)


def _mlperf_tiny(args: argparse.Namespace) -> dict[str, Any]:
    from ghostnet_small.benchmark.mlperf_tiny import WHERE, judge_mlperf_tiny
    from ghostnet_small.use.agreement import CheckFailed

    unused = {
        "--formats": args.formats is not None,
        "--threads": args.threads != 1,
        "--batch": args.batch is not None,
        "--peers": args.peers is not None,
        "--split": args.split != "test",
        "--turns": args.turns is not None,
        "--quick": args.quick,
        "--picture": args.picture is not None,
    }
    given = [option for option, is_given in unused.items() if is_given]
    if given:
        raise InputError(f"{given[0]} has no effect on --mlperf-tiny; leave it out")
    if args.indices is None:
        remark(f"top-1 on all test images alone; for the benchmark's 200 give --indices {WHERE}")
    _check_record(args)
    with libraries_apart():
        try:
            value = judge_mlperf_tiny(
                args.path,
                args.indices,
                weights=args.weights,
                overrides=args.overrides,
                say=remark,
                doing=remark,
            )
        except CheckFailed as error:
            raise Failed(str(error), 3) from None
    _record(args, value)
    return value


def _compare_deployments(args: argparse.Namespace) -> dict[str, Any]:
    from ghostnet_small.benchmark.deploy_speed import Stopped, compare_deployments
    from ghostnet_small.use.agreement import CheckFailed

    batches = None if args.batch is None else _numbers("--batch", args.batch, "1,256")
    if args.picture is not None:
        _check_picture(args.picture, args.split, batches or BATCHES)
    if args.quick and args.record is not None:
        raise InputError("--record keeps whole comparisons; leave it out, or --quick")
    _check_record(args)
    with interrupts() as got:
        try:
            with (
                libraries_apart() as out,
                deploy_terminal.DeployProgress(out, args.json) as progress,
            ):
                value = compare_deployments(
                    args.path,
                    formats=None if args.formats is None else args.formats.split(","),
                    threads=args.threads,
                    batches=batches,
                    peers=None if args.peers is None else args.peers.split(","),
                    int8=args.int8,
                    split=None if args.split == "none" else args.split,
                    turns=args.turns,
                    quick=args.quick,
                    weights=args.weights,
                    overrides=args.overrides,
                    watcher=progress,
                    stopped=lambda: bool(got),
                )
        except CheckFailed as error:
            raise Failed(str(error), 3) from None
        except Stopped as error:
            kept = "" if args.record is None else ", and nothing is recorded"
            where = f" while {error}; the result is partial{kept}"
            raise _stopped(got, where, error.value) from None
        except KeyboardInterrupt:
            raise _stopped(got, "", None) from None
    _record(args, value)
    failed = [one for one in value["candidates"] if one["failed"] and one["peer"] is None]
    if args.picture is not None and any("1" in one["latency"] for one in value["candidates"]):
        from ghostnet_small.benchmark.deploy_plot import draw_deploy

        draw_deploy(value, args.picture)
    if failed:
        names = ", ".join(f"{one['runtime']} {one['precision']}" for one in failed)
        raise Failed(f"{names} cannot be used, and what failed was not timed", 3, value=value)
    return value


def _show_deploy(value: dict[str, Any]) -> None:
    show = (
        show_mlperf_tiny if value.get("benchmark") == "mlperf_tiny" else deploy_terminal.show_deploy
    )
    show(value)


def _stopped(got: Sequence[int], where: str, value: Any | None) -> Failed:
    number = signal.Signals(got[0] if got else signal.SIGINT)
    return Failed(f"stopped by {number.name}{where}", 128 + number, value=value)


def _numbers(option: str, words: str, example: str) -> list[int]:
    try:
        return [positive(word.strip()) for word in words.split(",")]
    except argparse.ArgumentTypeError as error:
        raise InputError(f"{option} {words}: {error}; give such as {example}") from None


def _check_picture(path: Path, split: str, batches: Collection[int]) -> None:
    """Refuse, before the work, a figure that cannot be drawn or written."""
    if path.suffix != ".png":
        raise InputError(
            f"--picture {path} is not the name of a PNG file; give one that ends in .png"
        )
    if not path.absolute().parent.is_dir():
        raise InputError(f"--picture {path} cannot be made: its folder does not exist; make it")
    if split == "none" or 1 not in batches:
        raise InputError(
            "--picture shows top-1 against the latency of one image; give a --split, and 1 in "
            "--batch"
        )


def _record_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--record", metavar="FILE.jsonl", type=Path, help="append the result as one line"
    )


def _check_record(args: argparse.Namespace) -> None:
    """Refuse, before the work, a file that cannot take the result."""
    from ghostnet_small.run.records import read_rows

    if args.record is not None and args.record.exists():
        read_rows(args.record)


def _record(args: argparse.Namespace, value: dict[str, Any]) -> None:
    from ghostnet_small.run.records import append_row

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
    "deploy": Command(
        "Accuracy, size, latency and memory of an export in each runtime, beside its peers.",
        *(_deploy_options, _deploy, _show_deploy, _deploy_settings),
    ),
}
