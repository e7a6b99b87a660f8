"""Networks as training leaves them: no tensor at its first value, and a measure of difference."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def relative(a: Tensor, b: Tensor) -> float:
    """``max|a - b| / max|b|``."""
    a, b = a.detach().double(), b.detach().double()
    assert a.shape == b.shape, f"{tuple(a.shape)} and {tuple(b.shape)}"
    return float((a - b).abs().max() / b.abs().max())


@torch.no_grad()
def randomize(module: nn.Module, seed: int = 0) -> nn.Module:
    """Random batch-norm scales, shifts, means and variances, and biases, everywhere in ``module``."""
    random = torch.Generator().manual_seed(seed)

    def uniform(like: Tensor, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(like.shape, generator=random, dtype=torch.float64)

    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.running_mean is not None and part.running_var is not None
            # Signs too: a negative scale is where folding and an activation could be swapped.
            sign = torch.where(uniform(part.weight, 0, 1) < 0.25, -1.0, 1.0)
            part.weight.copy_(sign * uniform(part.weight, 0.5, 1.5))
            part.bias.copy_(uniform(part.bias, -0.5, 0.5))
            part.running_mean.copy_(uniform(part.running_mean, -0.5, 0.5))
            part.running_var.copy_(uniform(part.running_var, 0.5, 2.0))
        elif isinstance(part, nn.Conv2d | nn.Linear) and part.bias is not None:
            part.bias.copy_(uniform(part.bias, -0.5, 0.5))
    return module
