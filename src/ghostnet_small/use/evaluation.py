"""Evaluate trained weights and exported files on a split of a data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ghostnet_small.recipe.recipe import known_keys
from ghostnet_small.train.evaluate import BATCH, score, with_mirror
from ghostnet_small.train.metrics import classification_report, confusion
from ghostnet_small.use.classifier import open_classifier
from ghostnet_small.use.training_data import TrainedOn

# The settings of where the data lie, how they are read and split, and what computes; the
# normalisation is the model's own.
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
    trust: bool = False,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Return ``top1`` (%), ``loss`` (nats), ``correct`` and ``total`` of trained weights or an
    exported file on a split, the ``classification_report``, and the ``confusion`` matrix.

    The data are those of the recipe that the weights were trained by, with ``overrides``, in the
    size and channels that the weights take; classes are matched by name. Only the split is decoded:
    ``fingerprint`` is of it alone, and other splits need not be there. A size that ``overrides``
    ask for is kept where the network takes it.

    ``weights``, ``fold`` and ``trust`` as ``open_classifier`` takes them: a network is folded as
    for the figures of a training run. With ``flip`` also ``flip_top1`` (%) and ``flip_correct``, of
    answers averaged with those to the mirror images. ``say`` takes remarks for the user.

    Raises ``InputError`` where the weights or the data cannot be read, or the data have classes
    that the weights do not know.
    """
    classifier = open_classifier(path, weights=weights, fold=fold, trust=trust)
    info = classifier.info
    source = TrainedOn(info, path, overrides, any_size=classifier.any_size, say=say)
    classifier.settle(source.recipe.train)
    data = source.split(split)
    classifier.check_size(*data.size)
    shown, labels = data.split, data.split.labels.cpu()

    def answers(mirrored: bool) -> Tensor:
        # Split again: images that stay in their file are read batch by batch, once.
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
        "confusion": confusion(found.logits, labels).tolist(),
        "split": split,
        **classifier.facts,
        "fingerprint": data.fingerprint,
    }
