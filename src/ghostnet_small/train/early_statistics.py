"""Running statistics that fit weights of the first few hundred steps.

A batch norm's running statistics average over earlier steps. At the start of a training a step
changes the weights so much that the statistics of the step before no longer fit them, and the error
multiplies from layer to layer: with the running statistics a loss is more than a hundred times that
of training (tests/train/test_early_statistics.py). Later the weights change little, and the running
statistics are right.

Source: arXiv:2105.07576, section 3, "precise batch norm".
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ghostnet_small.data.dataset import Split, normalize

STEPS = 500  # from here on the running statistics are used as they are
_BATCH = 256
_BATCHES = 4


class EarlyStatistics:
    """Copies of a model whose running statistics are those of its own weights.

    Training continues with its own, so only the evaluated and kept weights change.
    """

    def __init__(
        self,
        train: Split,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        memory_format: torch.memory_format,
    ) -> None:
        self.train, self.mean, self.std = train, mean, std
        self.memory_format = memory_format
        self._made: tuple[int, nn.Module] | None = None

    def fitted(self, model: nn.Module, step: int) -> nn.Module:
        """Return ``model`` itself after ``STEPS`` or more steps, and a fitted copy before that."""
        if step >= STEPS or not _norms(model):
            return model
        if self._made is None or self._made[0] != step:
            self._made = step, self._copy(model)
        return self._made[1]

    @torch.no_grad()
    def _copy(self, model: nn.Module) -> nn.Module:
        fitted = copy.deepcopy(model).train()
        norms = _norms(fitted)
        for norm in norms:
            norm.momentum = 1.0  # the running statistics become the batch's
        device = next(fitted.parameters()).device
        batches = self._rows()
        sums: list[Tensor] = []
        # Dropout would draw random numbers of the training.
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            for rows in batches:
                x = normalize(self.train.take(rows).images.to(device), self.mean, self.std)
                fitted(x.contiguous(memory_format=self.memory_format))
                found = [value.clone() for norm in norms for value in _statistics(norm)]
                sums = found if not sums else list(torch._foreach_add(sums, found))
        means = iter(torch._foreach_div(sums, len(batches)))
        for norm, before in zip(norms, _norms(model), strict=True):
            norm.momentum = before.momentum
            norm.num_batches_tracked = copy.deepcopy(before.num_batches_tracked)
            for value in _statistics(norm):
                value.copy_(next(means))
        return fitted.train(model.training)

    def _rows(self) -> list[Tensor]:
        """Return the rows of each batch, from the whole split, which may be sorted."""
        size = min(len(self.train), _BATCH)
        count = min(len(self.train) // size, _BATCHES)
        return [
            torch.arange(batch, size * count, count) * len(self.train) // (size * count)
            for batch in range(count)
        ]


def _norms(model: nn.Module) -> list[_BatchNorm]:
    return [
        module
        for module in model.modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats
    ]


def _statistics(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None and norm.running_var is not None
    return norm.running_mean, norm.running_var
