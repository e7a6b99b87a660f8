"""The commands: their options, the function that does the work, and how its value is shown.

What is slow to import is imported by the command that needs it.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ghostnet_small.cli import terminal
from ghostnet_small.cli.benchmark import BENCHMARKS
from ghostnet_small.cli.command import Command, Commands, Failed, number, positive, remark
from ghostnet_small.cli.completion import completion_options, completion_script, show_script
from ghostnet_small.cli.demo import demo, demo_options, demo_settings, show_demo
from ghostnet_small.cli.export import export, export_options, export_settings, show_export
from ghostnet_small.cli.fit import fit, fit_options, show_fit
from ghostnet_small.cli.hub import (
    pull,
    pull_options,
    push,
    push_options,
    show_pull,
    show_push,
)
from ghostnet_small.cli.models import models, models_options, show_models
from ghostnet_small.cli.study import (
    report,
    report_options,
    show_report,
    show_study,
    study,
    study_options,
)
from ghostnet_small.cli.train import (
    distill,
    distill_options,
    show_training,
    train,
    train_options,
)
from ghostnet_small.errors import InputError


def _all_settings() -> Collection[str]:
    from ghostnet_small.recipe.recipe import known_keys

    return known_keys()


def _data_settings() -> Collection[str]:
    return [key for key in _all_settings() if key.startswith(("data.", "augment."))]


def _evaluation_settings() -> Collection[str]:
    from ghostnet_small.use.evaluation import SETTINGS

    return SETTINGS


def _weights_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path",
        metavar="PATH",
        type=Path,
        help="a run's folder, or weights by folder, name or hf-hub:owner/name",
    )
    parser.add_argument("--weights", choices=("last", "best"), default="last", help="(last)")


def _classifier_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path",
        metavar="PATH",
        type=Path,
        help="a run's folder, weights by folder, name or hf-hub:owner/name, or an exported file",
    )
    parser.add_argument("--weights", choices=("last", "best"), help="of a run (last)")
    parser.add_argument(
        "--trust",
        action="store_true",
        help="run an exported .onnx file whatever it asks of the machine",
    )


def _evaluate_options(parser: argparse.ArgumentParser) -> None:
    _classifier_option(parser)
    parser.add_argument(
        "--split", choices=("test", "validation", "train"), default="test", help="(test)"
    )
    parser.add_argument(
        "--fold",
        action=argparse.BooleanOptionalAction,
        help="fold the weights before, as training does (on)",
    )
    parser.add_argument(
        "--flip", action="store_true", help="also average the answers with those to mirror images"
    )


def _evaluate(args: argparse.Namespace) -> dict[str, Any]:
    from ghostnet_small.use.evaluation import evaluate_classifier

    return evaluate_classifier(
        args.path,
        split=args.split,
        weights=args.weights,
        overrides=args.overrides,
        fold=args.fold,
        flip=args.flip,
        trust=args.trust,
        say=remark,
    )


def _predict_options(parser: argparse.ArgumentParser) -> None:
    _classifier_option(parser)
    parser.add_argument(
        "pictures", metavar="IMAGES", nargs="+", type=Path, help="files, or folders of them"
    )
    parser.add_argument("--top", metavar="K", type=positive, default=5, help="classes to list")


def _predict(args: argparse.Namespace) -> list[dict[str, Any]]:
    from ghostnet_small.use.prediction import predict

    answers = predict(
        args.path,
        args.pictures,
        top=args.top,
        weights=args.weights,
        trust=args.trust,
        say=remark,
    )
    bad = sum("error" in answer for answer in answers)
    if bad:
        raise Failed(f"{bad} of {len(answers)} images cannot be read", 3, value=answers)
    return answers


def _info_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name",
        metavar="NAME|PATH",
        help="ghostnetv3_small, ghostnetv3, a teacher such as resnet18, a run's folder, or weights "
        "by name or hf-hub:owner/name",
    )
    parser.add_argument("--model.width", dest="width", metavar="W", type=number, help="(1.0)")
    parser.add_argument(
        "--model.head",
        dest="head",
        metavar="N",
        type=positive,
        help="features before the classifier (1280, the paper's)",
    )
    parser.add_argument(
        "--model.upsample",
        dest="upsample",
        metavar="S",
        type=positive,
        help="pixels a teacher resizes images to (as they are; 224 for efficientnetv2_s)",
    )
    parser.add_argument("--classes", metavar="K", type=positive, help="(10)")
    parser.add_argument("--channels", metavar="C", type=positive, help="of an image (3)")
    parser.add_argument("--size", metavar="S", type=positive, help="of an image, pixels (32)")
    parser.add_argument("--per-stage", action="store_true", help="one line a stage")


def _info(args: argparse.Namespace) -> dict[str, Any]:
    from ghostnet_small.use.describe_model import describe_model

    return describe_model(
        args.name,
        width=args.width,
        head=args.head,
        upsample=args.upsample,
        classes=args.classes,
        channels=args.channels,
        size=args.size,
        per_stage=args.per_stage,
    )


def _fold_options(parser: argparse.ArgumentParser) -> None:
    _weights_option(parser)
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="a new folder")


def _fold(args: argparse.Namespace) -> dict[str, Any]:
    from ghostnet_small.use.agreement import CheckFailed
    from ghostnet_small.use.folding import fold_weights

    try:
        return fold_weights(args.path, args.out, weights=args.weights, say=remark)
    except CheckFailed as error:
        raise Failed(str(error), 3) from None


def _data_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", nargs="?", help="whose data and views")
    parser.add_argument("--save", metavar="DIR", type=Path, help="write images as files there")
    parser.add_argument("--count", metavar="N", type=positive, help="so many (10)")
    parser.add_argument("--views", metavar="FILE.png", type=Path, help="draw augmented views")


def _data(args: argparse.Namespace) -> dict[str, Any]:
    from ghostnet_small.recipe.recipe import read_recipe
    from ghostnet_small.recipe.shipped_recipes import find_recipe
    from ghostnet_small.use.describe_data import report_data

    if args.count is not None and args.save is None:
        raise InputError(f"--count {args.count} is for --save; give --save DIR too")
    file = None if args.recipe is None else find_recipe(args.recipe)
    recipe = read_recipe(file, args.overrides)
    return report_data(recipe, save=args.save, count=args.count or 10, views=args.views)


def _completion(args: argparse.Namespace) -> str:
    return completion_script(args.shell, COMMANDS)


COMMANDS: Commands = {
    "fit": Command(
        "From images to the best file for a device, in the time that there is.",
        *(fit_options, fit, show_fit, _all_settings),
    ),
    "train": Command(
        "Train a recipe into a new run's folder, or go on with a run.",
        *(train_options, train, show_training, _all_settings),
    ),
    "distill": Command(
        "Train a recipe as the student of trained networks.",
        *(distill_options, distill, show_training, _all_settings),
    ),
    "evaluate": Command(
        "Top-1 and loss of trained weights, or of an exported file, on a split.",
        *(_evaluate_options, _evaluate, terminal.show_evaluation, _evaluation_settings),
    ),
    "predict": Command(
        "Classify images in files and folders.",
        *(_predict_options, _predict, terminal.show_predictions),
    ),
    "models": Command(
        "The trained weights that come with the program; the card of one.",
        *(models_options, models, show_models),
        needs_torch=False,
    ),
    "info": Command(
        "Parameters and multiply-accumulates of a network, in both forms.",
        *(_info_options, _info, terminal.show_model),
    ),
    "fold": Command(
        "Write the deployed form of trained weights, checked against them.",
        *(_fold_options, _fold, terminal.show_folding),
    ),
    "export": Command(
        "Write trained weights as files for other runtimes and devices, each checked.",
        *(export_options, export, show_export, export_settings),
    ),
    "push": Command(
        "Send trained weights to the Hugging Face hub, in timm's layout.",
        *(push_options, push, show_push),
    ),
    "pull": Command(
        "Fetch a model of the Hugging Face hub as a folder of weights.",
        *(pull_options, pull, show_pull),
    ),
    "demo": Command(
        "Serve a page that runs a network in the browser.",
        *(demo_options, demo, show_demo, demo_settings),
    ),
    "data": Command(
        "Describe a data set; save its images and their augmented views as files.",
        *(_data_options, _data, terminal.show_data, _data_settings),
    ),
    "study": Command(
        "Train the many runs of a study, teachers first; given again, it goes on.",
        *(study_options, study, show_study, _all_settings),
    ),
    "report": Command(
        "Write a study's report, as a page and as Markdown.",
        *(report_options, report, show_report),
    ),
    "benchmark": BENCHMARKS,
    "completion": Command(
        "Print a script that completes commands and options in a shell.",
        *(completion_options, _completion, show_script),
    ),
}
