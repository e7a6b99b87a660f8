"""``train`` and ``distill``: their options, one run by one command, and how it ends."""

from __future__ import annotations

import argparse
import json
import shlex
import signal
from pathlib import Path
from typing import Any

from ghostnet_small.cli import terminal
from ghostnet_small.cli.command import Failed
from ghostnet_small.cli.several import is_several, several_options, show_several, train_all
from ghostnet_small.errors import InputError

# What a training that was started among several gives another one in its folder, in seconds.
PATIENCE = 20.0


def train_options(parser: argparse.ArgumentParser) -> None:
    """The options of a training."""
    parser.add_argument(
        "recipe", metavar="RECIPE", nargs="?", help="a YAML file or a shipped recipe's name"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="the new folder of the run")
    parser.add_argument("--resume", metavar="DIR", type=Path, help="go on with the run in DIR")
    parser.add_argument(
        "--schema", action="store_true", help="print the JSON schema of a recipe, for editors"
    )
    several_options(parser)


def train(args: argparse.Namespace) -> dict[str, Any]:
    """Train a recipe, or go on with a run; returns its summary, that of several, or the schema."""
    from ghostnet_small.launcher import follow_starter, train_command
    from ghostnet_small.run.start import train_in
    from ghostnet_small.train.interfaces import Interrupted, NotFinite, ProcessFailed
    from ghostnet_small.train.processes import joined
    from ghostnet_small.train.progress import TrainingProgress

    if args.schema:
        from ghostnet_small.recipe.recipe_help import recipe_schema

        return recipe_schema()
    if is_several(args):
        return train_all(args)
    # One that was started among several may come after a killed one, of which something still ends.
    patience = PATIENCE if follow_starter() else 0.0
    with joined() as processes:
        with processes.agreed():
            out, recipe = _what_to_train(args)
        cure = f"go on with: {train_command(processes.count)} --resume {shlex.quote(str(out))}"
        progress = TrainingProgress(recipe.train, quiet=not processes.is_main)
        try:
            summary = train_in(
                *(out, recipe, args.overrides),
                resumes=args.resume is not None,
                progress=progress,
                processes=processes,
                patience=patience,
            )
        except Interrupted as error:
            number = signal.Signals(error.signal_number)
            raise Failed(f"stopped by {number.name}, all is saved; {cure}", 128 + number) from None
        except NotFinite as error:
            raise Failed(str(error), 3) from None
        except ProcessFailed as error:
            raise Failed(f"{error}; {cure}", 2, alone=True) from None
        except KeyboardInterrupt:
            # The second Ctrl-C does not wait for the engine.
            raise Failed(f"stopped at once; {cure}", 128 + signal.SIGINT) from None
    return {"run": str(out), **summary}


def distill_options(parser: argparse.ArgumentParser) -> None:
    """Those of a training, and its teachers."""
    train_options(parser)
    parser.add_argument(
        "--teachers",
        metavar="RUN",
        nargs="+",
        type=Path,
        help="runs' folders, or weights by folder, name or hf-hub:owner/name; several teach "
        "together",
    )


def distill(args: argparse.Namespace) -> dict[str, Any]:
    """Train with teachers; raises ``InputError`` where none are named."""
    given = any(word.startswith("--distill.teachers=") for word in args.overrides)
    if args.teachers is not None:
        if given:
            raise InputError("--distill.teachers says what --teachers says; leave one of them out")
        # As JSON, for a folder may be called 1e3, or have a comma in it.
        names = json.dumps([str(path) for path in args.teachers])
        args.overrides = [*args.overrides, f"--distill.teachers={names}"]
    elif (
        not (given or args.schema or args.resume is not None)
        and not _what_to_train(args)[1].distill.teachers
    ):
        raise InputError("distill needs teachers; give --teachers runs/NAME [runs/OTHER ...]")
    return train(args)


def show_training(value: dict[str, Any]) -> None:
    """Print the end of one training or of several, or the JSON schema of a recipe."""
    if "$schema" in value:
        print(json.dumps(value, indent=2))
        return
    (show_several if "runs" in value else terminal.show_training)(value)


def _what_to_train(args: argparse.Namespace) -> tuple[Path, Any]:
    """The run's folder and its recipe; of a resumed one that of its start."""
    from ghostnet_small.run.chosen_recipe import recipe_named
    from ghostnet_small.run.run_folder import RunFolder

    if args.resume is not None:
        if args.recipe is not None or args.out is not None:
            raise InputError(
                f"--resume {args.resume} has its own recipe and folder; leave out RECIPE and --out"
            )
        return args.resume, RunFolder.open(args.resume).recipe()
    if args.out is None:
        raise InputError("train needs a folder for the run; give --out runs/NAME")
    return args.out, recipe_named(args.recipe, args.overrides)
