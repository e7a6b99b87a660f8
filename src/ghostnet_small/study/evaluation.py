"""Trained weights, and what was exported of them, on a split of a data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ghostnet_small.data.classes import list_classes
from ghostnet_small.data.dataset import ImageData, size_text
from ghostnet_small.data.sources import OneSplit, load_split
from ghostnet_small.errors import InputError
from ghostnet_small.models.weights import ModelInfo
from ghostnet_small.study.classifier import load_fitting, open_classifier
from ghostnet_small.study.recipe import Recipe, known_keys, resolve_recipe
from ghostnet_small.train.evaluate import BATCH, score, with_mirror
from ghostnet_small.train.metrics import classification_report

# Where the data lie, how they are read and cut, and what computes; the normalisation is the
# model's own.
SETTINGS = tuple(
    key
    for key in known_keys()
    if (key.startswith("data.") and key not in ("data.mean", "data.std"))
    or key in ("train.device", "train.threads")
)


def evaluate_classifier(
    path: Path,
    *,
    split: str = "test",
    weights: str | None = None,
    overrides: Sequence[str] = (),
    fold: bool | None = None,
    flip: bool = False,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """``top1`` (%), ``loss`` (nats), ``correct`` and ``total`` of trained weights or an exported
    file on a split, and what ``classification_report`` says of the classes.

    The data are those of the recipe that the weights were trained by, with ``overrides``; they
    are normalised as in training, and only the split is decoded: ``fingerprint`` is of it alone.
    For an exported file they are brought to its size and colour. ``weights`` and ``fold`` as
    ``open_classifier`` takes them: a network is folded as it is for the figures of a training.
    With ``flip`` also ``flip_top1`` (%) and ``flip_correct``, of answers averaged with those to the
    mirror images. ``say`` takes remarks for the user.

    Raises ``InputError`` where the weights or the data cannot be read, or the data have other
    classes or channels than the weights.
    """
    classifier = open_classifier(path, weights=weights, fold=fold)
    info = classifier.info
    recipe = recipe_of(info, path, overrides)
    classifier.settle(recipe.train)
    read = partial(load_split, name=split, channels=len(info.mean))
    if classifier.any_size:
        data = read(recipe.data)
    else:
        data = load_fitting(read, recipe.data, info, path, say)
    check_data(data, info, path)
    classifier.check_size(*data.size)
    if data.left_out is not None:
        say(data.left_out)
    if data.size != info.size:
        say(
            f"the pictures are {size_text(data.size)}, those of the training were "
            f"{size_text(info.size)}; --data.size {info.size[0]} resizes them"
        )
    shown, labels = data.split, data.split.labels.cpu()

    def answers(mirrored: bool) -> Tensor:
        # Split anew: pictures that stay in their file are read batch by batch, once.
        batches = shown.images.split(BATCH)
        return torch.cat([classifier.logits(one.flip(-1) if mirrored else one) for one in batches])

    logits = answers(mirrored=False)
    found, averaged = score(logits, labels), {}
    if flip:
        both = with_mirror(logits, answers(mirrored=True), labels)
        averaged = {"flip_top1": both.top1, "flip_correct": both.correct}
    return {
        "top1": found.top1,
        "loss": found.loss,
        "correct": found.correct,
        "total": found.total,
        **averaged,
        **classification_report(found.logits, labels, data.classes),
        "split": split,
        **classifier.facts,
        "fingerprint": data.fingerprint,
    }


def recipe_of(info: ModelInfo, path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of trained weights with ``overrides``, to be used on this machine.

    Its device, threads, cache and memory are this machine's unless overridden: weights trained
    on a GPU are evaluated anywhere.
    """
    written = resolve_recipe(info.recipe, where=f"the recipe of {path}")
    train = replace(written.train, device="auto", threads=None)
    data = replace(written.data, mean=None, std=None, cache=None, memory_gib=None)
    here = replace(written, data=data, train=train)
    return resolve_recipe(here.as_dict(), overrides)


def check_data(data: ImageData | OneSplit, info: ModelInfo, path: Path) -> None:
    """Raises ``InputError`` where ``data`` do not have the classes and channels of a model."""
    if data.classes != info.classes:
        raise InputError(
            f"the data's {list_classes(data.classes)} are not the classes of {path}, "
            f"{list_classes(info.classes)}; give data of the same classes with --data.root"
        )
    if data.channels != len(info.mean):
        raise InputError(
            f"the pictures have {data.channels} channels, {path} was trained on "
            f"{len(info.mean)}; give --data.channels {len(info.mean)}"
        )
