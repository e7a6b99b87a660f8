"""An exponential moving average of a model."""

from __future__ import annotations

import copy

import torch
from torch import nn


class EMA:
    """``model``: the average of what it was made from, parameters and running statistics alike.

    The weight of the past grows from little to ``decay`` as ``(1 + t) / (10 + t)`` with the
    update number t, so that the random first weights are soon forgotten.

    Source: arXiv:1409.4842 and its kin average weights; the warm-up is TensorFlow's
    ``ExponentialMovingAverage`` with ``num_updates``.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, updates: int) -> None:
        """Move towards ``model`` after ``updates`` (from 0) earlier updates."""
        keep = min(self.decay, (1 + updates) / (10 + updates))
        ours, theirs = [], []
        for average, value in zip(_tensors(self.model), _tensors(model), strict=True):
            if average.is_floating_point():
                ours.append(average)
                theirs.append(value.detach())
            else:
                average.copy_(value)
        torch._foreach_lerp_(ours, theirs, 1 - keep)


def _tensors(model: nn.Module) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]
