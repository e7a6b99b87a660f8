"""``train`` with ``--seeds`` or ``--widths``: its options, and several runs by one command."""

from __future__ import annotations

import argparse
import re
import shlex
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghostnet_small.cli.command import PROGRAM, Failed, number, positive
from ghostnet_small.cli.terminal import new_table, print_table
from ghostnet_small.errors import InputError, printable

if TYPE_CHECKING:
    from ghostnet_small.study.scheduler import Engine
    from ghostnet_small.study.study_plan import Study


def several_options(parser: argparse.ArgumentParser) -> None:
    """The options that make several runs of one recipe."""
    parser.add_argument(
        "--seeds", metavar="S,S", type=_seeds, help="a run for each of these seeds, in --out"
    )
    parser.add_argument(
        "--widths", metavar="W,W", type=_widths, help="a run for each of these widths, in --out"
    )
    parser.add_argument(
        "--together",
        metavar="K",
        type=positive,
        help="of --seeds and --widths, train so many at once (as many as pay)",
    )


def _seeds(words: str) -> list[int]:
    return [_seed(word) for word in words.split(",")]


def _seed(word: str) -> int:
    if not re.fullmatch(" *[0-9]{1,19} *", word):
        raise argparse.ArgumentTypeError(
            f"{word!r} is not a whole number of at least 0; give such as 0,1,2"
        )
    return int(word)


def _widths(words: str) -> list[float]:
    return [number(word) for word in words.split(",")]


def is_several(args: argparse.Namespace) -> bool:
    """Return whether several runs are asked for; raises ``InputError`` at options that do not
    fit.
    """
    if args.seeds is not None or args.widths is not None:
        return True
    if args.together is not None:
        raise InputError(
            f"--together {args.together} is for several runs; give --seeds or --widths too"
        )
    return False


def train_all(args: argparse.Namespace) -> dict[str, Any]:
    """Train every run that is asked for; raises ``Failed``, with their rows, where one failed."""
    from ghostnet_small.launcher import launched
    from ghostnet_small.recipe.shipped_recipes import find_recipe
    from ghostnet_small.study.local_engine import LocalEngine
    from ghostnet_small.study.planning import plan_variants

    if args.resume is not None:
        raise InputError(
            f"--resume {args.resume} goes on with one run; to go on with several, give the command "
            "that began them once more"
        )
    if args.out is None:
        raise InputError("train needs a folder for the runs; give --out runs/NAME")
    file = None if args.recipe is None else find_recipe(args.recipe)
    planned = plan_variants(file, args.overrides, seeds=args.seeds, widths=args.widths)
    if launched().count > 1:
        raise InputError(
            "several runs at once are started by one process each, and the launcher started "
            f"{launched().count}; leave the launcher out, or --seeds, --widths and --together"
        )
    return train_planned(planned, args, _words(args), args.together, nullcontext(LocalEngine()))


def train_planned(
    planned: Study,
    args: argparse.Namespace,
    words: Sequence[str],
    together: int | None,
    engine: AbstractContextManager[Engine],
) -> dict[str, Any]:
    """Train the runs of a study by the command ``words``; raises ``Failed``, with their rows, where
    one failed.
    """
    from ghostnet_small.study.runner import run_study
    from ghostnet_small.study.study_progress import StudyProgress

    again = shlex.join([PROGRAM, *words, *args.overrides])
    # The engine first, for Ray would take the signals.
    with (
        engine as place,
        stoppable(again) as stop,
        StudyProgress(planned.jobs(args.out)) as progress,
    ):
        value = run_study(
            planned,
            args.out,
            max_parallel=together,
            overrides=args.overrides,
            watcher=progress,
            stop_signal=stop,
            engine=place,
        )
    check_failed(value, again)
    return value


def check_failed(value: dict[str, Any], again: str) -> None:
    """Raises ``Failed``, with the rows, where runs failed: which, and how to try them ``again``."""
    failed, unstarted = value.get("failed"), value.get("not_started")
    if not failed:
        return
    others = f", and {len(unstarted)} that need them were not started" if unstarted else ""
    raise Failed(
        f"{len(failed)} of {len(value['runs'])} runs failed ({', '.join(failed)}){others}; what "
        f"they said is in {shlex.quote(str(Path(value['out']) / 'logs'))}; try them again with: "
        f"{again}",
        3,
        value=value,
    )


@contextmanager
def stoppable(again: str) -> Iterator[Callable[[], int | None]]:
    """Ctrl-C and SIGTERM stop several trainings, and the words say how to go on: by ``again``."""
    from ghostnet_small.train.interfaces import Interrupted
    from ghostnet_small.train.interrupt import stop_signals

    try:
        with stop_signals() as stop:
            yield stop
    except Interrupted as error:
        name = signal.Signals(error.signal_number).name
        raise Failed(
            f"stopped by {name}, all that ran is saved; go on with: {again}",
            128 + error.signal_number,
        ) from None
    except KeyboardInterrupt:
        # The second Ctrl-C does not wait for the trainings, which end with this process.
        raise Failed(f"stopped at once; go on with: {again}", 128 + signal.SIGINT) from None


def _words(args: argparse.Namespace) -> list[str]:
    """Return the command's words but its settings, to be given again."""
    words = ["train", *([args.recipe] if args.recipe is not None else [])]
    words += ["--out", str(args.out)]
    for option in ("seeds", "widths"):
        values = getattr(args, option)
        if values is not None:
            words += [f"--{option}", ",".join(map(str, values))]
    if args.together is not None:
        words += ["--together", str(args.together)]
    return words


def show_several(value: dict[str, Any]) -> None:
    """Print a line for each run, then the means of each width."""
    table = new_table()
    for name in ("run", "status"):
        table.add_column(name)
    for name in ("validation", "test", "minutes"):
        table.add_column(name, justify="right")
    for row in value["runs"]:
        top1 = (percent(row[f"{split}_top1"]) for split in ("validation", "test"))
        seconds = row["wall_seconds"]
        minutes = "-" if seconds is None else f"{seconds / 60:.1f}"
        table.add_row(printable(row["name"]), row["status"], *top1, minutes)
    table.add_section()
    for group in value["widths"]:
        top1 = (mean(group[f"{split}_top1"]) for split in ("validation", "test"))
        count = max(group[f"{split}_top1"]["n"] for split in ("validation", "test"))
        table.add_row(f"width {group['width']:g}", f"n = {count}", *top1, "")
    print_table(table)
    print("top-1; of a width, mean and sample deviation over its n finished runs")
    print(f"runs in {value['out']}, what they said in {value['out']}/logs")


def percent(top1: float | None) -> str:
    """A top-1 as tables show it."""
    return "-" if top1 is None else f"{top1:.2f} %"


def mean(spread: dict[str, Any]) -> str:
    """A mean and its sample deviation as tables show them."""
    deviation = "" if spread["deviation"] is None else f" ± {spread['deviation']:.2f}"
    return "-" if spread["mean"] is None else f"{spread['mean']:.2f}{deviation} %"
