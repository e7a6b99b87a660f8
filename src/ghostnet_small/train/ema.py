"""An exponential moving average of a model."""

from __future__ import annotations

import copy
import operator
from typing import Any

import torch
from torch import Tensor, nn

from ghostnet_small.fast.cpu.updates import Average


class EMA:
    """An average, ``model``, of another model's parameters and running statistics over time.

    The weight of the past grows to ``decay`` as ``(1 + t) / (10 + t)`` with the
    update number t, so that the random first weights soon lose their influence.

    Source: arXiv:1409.4842, among others, averages weights; the warm-up is TensorFlow's
    ``ExponentialMovingAverage`` with ``num_updates``.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        # Walking the modules for hundreds of tensors takes longer than averaging them.
        self.ours, self.theirs = places(self.model), places(model)
        self._find()

    @torch.no_grad()
    def update(self, updates: int) -> None:
        """Update the average from the other model; ``updates`` (from 0) is the update number."""
        if not all(map(operator.is_, self._tensors, self._now())):
            self._find()
        keep = min(self.decay, (1 + updates) / (10 + updates))
        self._average.move(1 - keep)

    def _now(self) -> list[Tensor]:
        return [kept[name] for kept, name in (*self.ours, *self.theirs)]

    def _find(self) -> None:
        """Look up the tensors, which a model may replace by others."""
        self._tensors = self._now()
        half = len(self.ours)
        self._average = Average(self._tensors[:half], self._tensors[half:])


def places(model: nn.Module) -> list[tuple[dict[str, Any], str]]:
    """Return the dictionary and key of each parameter and running statistic; shared ones once."""
    found, seen = [], set()
    for module in model.modules():
        for kept in (module._parameters, module._buffers):
            for name, value in kept.items():
                if value is not None and id(value) not in seen:
                    seen.add(id(value))
                    found.append((kept, name))
    return found
