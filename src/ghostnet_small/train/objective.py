"""Training objectives: losses as functions of a batch and its logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ghostnet_small.errors import InputError
from ghostnet_small.fast.cpu.losses import cross_entropy as fast_cross_entropy


@dataclass(frozen=True)
class Batch:
    """The batch that the engine passes to an objective.

    Shapes: ``views`` uint8 ``(N, C, H, W)``, ``targets`` int64 ``(N,)``, ``index`` int64
    ``(N,)`` (each image's row in its source); ``view`` is the view number, one for all or
    int64 ``(N,)``. Where images are mixed, ``partner_targets`` int64 ``(N,)`` are the labels of
    the images mixed in and ``share`` float32 ``(N,)`` is the weight of the image's own label.
    ``teacher_logits`` float32 ``(N, K)`` are the teachers' logits of the views, where they were
    computed ahead.
    """

    views: Tensor
    targets: Tensor
    index: Tensor
    view: int | Tensor
    partner_targets: Tensor | None = None
    share: Tensor | None = None
    teacher_logits: Tensor | None = None


Objective = Callable[[Tensor, Batch], Tensor]
"""A function of logits ``(N, K)`` and their batch; returns the mean loss in nats."""


def cross_entropy(label_smoothing: float = 0.0, class_weights: Tensor | None = None) -> Objective:
    """Return the cross-entropy, with ``label_smoothing`` of each label spread over all classes.

    With ``class_weights`` ``(K,)`` a label's cross-entropy, smoothing included, is multiplied by
    the weight of that label. For mixed images the losses of both labels are added by their shares.
    The mean is over the images, not over their weights, so that the losses of micro-batches
    add up to that of their batch.

    Source: arXiv:1512.00567, section 7; for mixed images arXiv:1710.09412, section 2.
    """

    def of_each(logits: Tensor, targets: Tensor) -> Tensor:
        losses = functional.cross_entropy(
            logits, targets, label_smoothing=label_smoothing, reduction="none"
        )
        return losses if class_weights is None else losses * class_weights.to(losses)[targets]

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        if batch.partner_targets is None and class_weights is None:
            # The same up to rounding, in one kernel.
            return fast_cross_entropy(logits, batch.targets, label_smoothing)
        if batch.partner_targets is None:
            return of_each(logits, batch.targets).mean()
        assert batch.share is not None
        own, partner = of_each(logits, batch.targets), of_each(logits, batch.partner_targets)
        return (batch.share * own + (1 - batch.share) * partner).mean()

    return loss


def class_weights(
    labels: Tensor, classes: Sequence[str], setting: str | Sequence[float]
) -> Tensor | None:
    """Return the weights of the classes in the loss, float32 ``(K,)``, CPU; ``None`` for "none".

    "balanced" weights a class by one over its number of images; numbers are used as given. All are
    then scaled so that their mean over the images of the training split, ``labels`` int64
    ``(N,)``, is 1. A class without images has weight 1, which is never used.

    Raises ``InputError`` where the number of weights is not that of the classes.
    """
    if setting == "none":
        return None
    counts = torch.bincount(labels.cpu(), minlength=len(classes)).double()
    if setting == "balanced":
        weights = 1 / counts
    else:
        if len(setting) != len(classes):
            raise InputError(
                f"train.class_weights has {len(setting)} numbers for {len(classes)} classes; give "
                f"one for each, in the order {_names(classes)}"
            )
        weights = torch.tensor(setting, dtype=torch.float64)
    weights = torch.where(counts > 0, weights, 0.0)
    weights = weights * counts.sum() / (weights * counts).sum()
    return torch.where(counts > 0, weights, 1.0).float()


def _names(classes: Sequence[str], most: int = 10) -> str:
    return ", ".join(classes[:most]) + (", ..." if len(classes) > most else "")
