"""What training makes small: functions of a batch and its logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Batch:
    """What the engine shows an objective.

    Shapes: ``views`` uint8 ``(N, C, H, W)``, ``targets`` int64 ``(N,)``, ``index`` int64
    ``(N,)`` (each picture's row in its source); ``view`` is the view number of them all.
    """

    views: Tensor
    targets: Tensor
    index: Tensor
    view: int


Objective = Callable[[Tensor, Batch], Tensor]
"""Logits ``(N, K)`` and their batch to a loss in nats, the mean over the batch."""


def cross_entropy(label_smoothing: float = 0.0) -> Objective:
    """Cross-entropy with the labels, of which ``label_smoothing`` is spread over all classes.

    Source: arXiv:1512.00567, section 7.
    """

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        return functional.cross_entropy(logits, batch.targets, label_smoothing=label_smoothing)

    return loss
