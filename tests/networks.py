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
    """Random scales, shifts, means and variances of batch norms, and random biases."""
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


@torch.no_grad()
def randomize_network(model: nn.Module, images: Tensor, seed: int = 0) -> nn.Module:
    """``randomize``, with means and variances that are random around those of ``images``.

    Statistics that have nothing to do with what flows through would let it grow by a factor in
    every block, up to where float32 gates flip and no two ways to compute the network agree.
    """
    randomize(model, seed)
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    model.train()(images)
    random = torch.Generator().manual_seed(seed)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None and variance is not None
        mean += 0.1 * variance.sqrt() * torch.randn(mean.shape, generator=random)
        variance *= 0.8 + 0.5 * torch.rand(mean.shape, generator=random)
    return model.eval()
