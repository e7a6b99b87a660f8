"""Folding: every convolution and the batch norm after it become one convolution with a bias.

The algebra is pure and runs in float64; one cast at the end returns to the weights' type.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Reparameterizable(nn.Module, ABC):
    """A block with a training form that equals one plain layer in evaluation."""

    @abstractmethod
    def fuse(self) -> nn.Module:
        """Return a new plain layer with the same output in evaluation; ``self`` is unchanged."""


def is_folded(model: nn.Module) -> bool:
    """Return whether ``model`` has no block left that could be fused."""
    return not any(isinstance(module, Reparameterizable) for module in model.modules())


def affine_of_bn(bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return scale and shift, float64 ``(C,)`` each, that ``bn`` applies in evaluation mode."""
    assert bn.running_mean is not None and bn.running_var is not None
    scale = double(bn.weight) / torch.sqrt(double(bn.running_var) + bn.eps)
    return scale, double(bn.bias) - double(bn.running_mean) * scale


def double(weights: Tensor) -> Tensor:
    """Return ``weights`` in float64; from Apple's GPU, which has no float64, on the CPU."""
    return (weights.cpu() if weights.device.type == "mps" else weights).double()


def fold_conv_bn(conv: nn.Conv2d, bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return kernel ``(O, I / groups, kh, kw)`` and bias ``(O,)``, float64, of ``bn(conv(x))``."""
    scale, shift = affine_of_bn(bn)
    kernel = double(conv.weight) * scale[:, None, None, None]
    bias = shift if conv.bias is None else shift + double(conv.bias) * scale
    return kernel, bias


def identity_kernel(channels: int, groups: int, kernel_size: tuple[int, int]) -> Tensor:
    """Return the float64 kernel ``(C, C / groups, kh, kw)`` of the identity convolution."""
    per_group = channels // groups
    kernel = torch.zeros(channels, per_group, *kernel_size, dtype=torch.float64)
    rows = torch.arange(channels)
    kernel[rows, rows % per_group, kernel_size[0] // 2, kernel_size[1] // 2] = 1.0
    return kernel


def centre_in(kernel: Tensor, kernel_size: tuple[int, int]) -> Tensor:
    """Return a 1x1 kernel as the centre of a larger one, padded with zeros."""
    high, wide = kernel_size[0] // 2, kernel_size[1] // 2
    return nn.functional.pad(kernel, (wide, wide, high, high))


def plain_conv(like: nn.Conv2d, kernel: Tensor, bias: Tensor) -> nn.Conv2d:
    """Return a convolution with the geometry, type and device of ``like`` and the given weights."""
    # A new layer draws weights that are not used: the caller's random generator must not change.
    with torch.random.fork_rng(devices=[]):
        conv = _empty_conv(like).to(like.weight.device)
    assert conv.bias is not None
    with torch.no_grad():
        conv.weight.copy_(kernel)
        conv.bias.copy_(bias)
    return conv.eval()


def _empty_conv(like: nn.Conv2d) -> nn.Conv2d:
    """Return a convolution of the shape and type of ``like``, on the CPU."""
    return nn.Conv2d(
        like.in_channels,
        like.out_channels,
        like.kernel_size,  # type: ignore[arg-type]
        like.stride,  # type: ignore[arg-type]
        like.padding,  # type: ignore[arg-type]
        groups=like.groups,
        bias=True,
        device="cpu",
        dtype=like.weight.dtype,
    )


def reparameterize(model: nn.Module) -> nn.Module:
    """Return a folded copy of ``model``: the same logits, one convolution for each branch group.

    The original is unchanged. For a folded model the result is a plain copy.

    Raises ``ValueError`` where a part of the model is in training mode: batch statistics
    have no folded form; call ``model.eval()`` first.

    Source: arXiv:2101.03697, section 3.3 (re-parameterisation); arXiv:2206.04040 (branches).
    """
    training = [name or "the model" for name, module in model.named_modules() if module.training]
    if training:
        raise ValueError(
            f"{training[0]} is in training mode, and batch statistics cannot be folded; "
            "call model.eval() first"
        )
    with torch.no_grad():
        return _folded(model)


def _folded(module: nn.Module) -> nn.Module:
    if isinstance(module, Reparameterizable):
        return module.fuse()
    # Children are removed first so that the copy never holds the branches that it will drop.
    children = dict(module.named_children())
    clone = copy.copy(module)
    clone.__dict__ = {
        key: value if key == "_modules" else copy.deepcopy(value)
        for key, value in module.__dict__.items()
    }
    clone._modules = {name: _folded(child) for name, child in children.items()}
    return clone
