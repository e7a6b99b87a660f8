"""Folding of a re-parameterisable convolution's branches into one kernel in training.

Every branch is linear, so the batch mean and variance of its output follow from the moments of the
input that all branches share. With them the branches fold before the convolution, including the
gradients through the statistics.

Shapes: ``G`` is 1 for a pointwise convolution and the number of channels for a depth-wise one;
``B`` is the number of branches, ``Q`` the outputs of a group, and ``T`` the numbers of a kernel,
a tap's channels contiguous.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from ghostnet_small.fast.cpu.kernels import calls, folds
from ghostnet_small.fast.cpu.kernels.folds import CENTRE, FULL, UNIT
from ghostnet_small.nn.rep_conv import ConvBN, RepConv2d


@dataclass(frozen=True)
class Branches:
    """The kind of each branch's kernel and its batch norm.

    A kind is ``FULL``, ``CENTRE`` or ``UNIT`` (see ``folding.c``). ``kernels`` are the weights of
    the convolutions, which branches of kind ``UNIT`` do not have.
    """

    depthwise: bool
    kinds: tuple[int, ...]
    kernels: tuple[Tensor, ...]
    norms: tuple[nn.BatchNorm2d, ...]

    @cached_property
    def parameters(self) -> tuple[Tensor, ...]:
        """Return what ``fold`` takes: kernels, then the batch norms' weights, then their biases."""
        norms = self.norms
        return (*self.kernels, *(n.weight for n in norms), *(n.bias for n in norms))

    def split(self, parameters: tuple[Tensor, ...]) -> Split:
        """Return ``parameters`` in three parts: kernels, weights, biases."""
        rest = iter(parameters)
        kernels = [None if kind == UNIT else next(rest) for kind in self.kinds]
        return Split(kernels, [next(rest) for _ in self.kinds], list(rest))


class Split(NamedTuple):
    """Each branch's kernel, ``None`` for a ``UNIT``, and its batch norm's weight and bias."""

    kernels: list[Tensor | None]
    weights: list[Tensor]
    biases: list[Tensor]


class Folded(NamedTuple):
    """One kernel ``(G, Q, T)`` and shift ``(G, Q)``, and what ``unfold`` needs of each branch.

    That is the mean and inverse deviation ``(B, G * Q)``, and the covariance with the taps
    ``(B, G * Q, T)``.
    """

    kernel: Tensor
    shift: Tensor
    means: Tensor
    inverses: Tensor
    spread: Tensor


class Slopes(NamedTuple):
    """The gradients of the parameters and of the input's moments.

    A window with taps t adds ``first + second t`` to the gradients of those taps; the shapes are
    ``(G, T)`` and ``(G, T, T)``.
    """

    parameters: list[Tensor]
    first: Tensor
    second: Tensor


def branches_of(part: RepConv2d) -> Branches:
    """Return the branches of a re-parameterisable convolution."""
    full = [branch for branch in part.branches if isinstance(branch, ConvBN)]
    kinds, kernels = [FULL] * len(full), [branch.conv.weight for branch in full]
    norms = [branch.bn for branch in full]
    # Scale and skip have kernels that are zero around the centre; a pointwise skip is the identity.
    if part.scale is not None:
        kinds.append(CENTRE)
        kernels.append(part.scale.conv.weight)
        norms.append(part.scale.bn)
    if part.skip is not None:
        kinds.append(UNIT)
        norms.append(part.skip)
    return Branches(is_depthwise(full[0].conv), tuple(kinds), tuple(kernels), tuple(norms))


def same_training(norms: tuple[nn.BatchNorm2d, ...]) -> bool:
    """Return whether all batch norms use batch statistics, with the same settings."""
    like = norms[0]
    return like.momentum is not None and all(
        norm.training
        and norm.affine
        and norm.track_running_stats
        and norm.momentum == like.momentum
        and norm.eps == like.eps
        for norm in norms
    )


def is_pointwise(conv: nn.Conv2d) -> bool:
    """Return whether ``conv`` is a dense 1x1 convolution of stride 1."""
    return conv.kernel_size == (1, 1) and conv.groups == 1 and conv.stride == (1, 1)


def is_depthwise(conv: nn.Conv2d) -> bool:
    """Return whether ``conv`` is depth-wise, with half-kernel padding and equal strides."""
    high, wide = conv.kernel_size
    return (
        high * wide > 1
        and high % 2 == wide % 2 == 1
        and conv.padding == (high // 2, wide // 2)
        and conv.groups == conv.in_channels == conv.out_channels
        and conv.stride[0] == conv.stride[1]
    )


def fold(
    branches: Branches,
    parameters: tuple[Tensor, ...],
    mean: Tensor,
    covariance: Tensor,
    count: int,
) -> Folded:
    """Return one kernel for all ``branches``, and update their batch norms' running statistics.

    ``mean`` ``(G, T)`` and biased ``covariance`` ``(G, T, T)`` are the moments, over ``count``
    windows, of the input of the kernel.
    """
    split = branches.split(parameters)
    if calls.usable_for(mean):
        return Folded(
            *folds.fold(
                branches.depthwise, branches.kinds, *split, branches.norms, count, mean, covariance
            )
        )
    kernels, weight, bias = _stacked(branches, split, mean)
    # Rows of K S; multiplied by K again they give the variances, and their gradient.
    spread = torch.bmm(kernels.flatten(1, 2), covariance).view_as(kernels)
    means = torch.bmm(kernels.flatten(1, 2), mean[:, :, None]).view_as(weight)
    variances = (spread * kernels).sum(3).clamp_min_(0)
    inverse = torch.rsqrt(variances + branches.norms[0].eps)
    scale = weight * inverse
    _track(branches.norms, _by_branch(means), _by_branch(variances), count)
    return Folded(
        (kernels * scale[..., None]).sum(1),
        (bias - means * scale).sum(1),
        _by_branch(means),
        _by_branch(inverse),
        spread.transpose(0, 1).flatten(1, 2),
    )


def unfold(
    branches: Branches,
    parameters: tuple[Tensor, ...],
    folded: Folded,
    mean: Tensor,
    count: int,
    grad_kernel: Tensor,
    grad_shift: Tensor,
) -> Slopes:
    """Return the gradients of the input of ``fold``, from those of its kernel and shift."""
    split = branches.split(parameters)
    if calls.usable_for(mean):
        return Slopes(
            *folds.unfold(
                branches.depthwise,
                branches.kinds,
                *split,
                folded[2:],
                count,
                mean,
                grad_kernel,
                grad_shift,
            )
        )
    kernels, weight, _ = _stacked(branches, split, mean)
    groups, number, each, _ = kernels.shape
    means, inverse, spread = (
        part.view(number, groups, each, *part.shape[2:]).transpose(0, 1) for part in folded[2:]
    )
    grad_kernel, grad_shift = grad_kernel[:, None], grad_shift[:, None]
    scale = weight * inverse
    grad_weight = ((kernels * grad_kernel).sum(3) - means * grad_shift) * inverse
    grad_means = -scale * grad_shift
    # Twice the gradient of the variance: the variance is quadratic in the kernels.
    grad_variances = -grad_weight * scale * inverse
    grad_kernels = torch.addcmul(scale[..., None] * grad_kernel, spread, grad_variances[..., None])
    grad_kernels.addcmul_(grad_means[..., None], mean[:, None, None])
    flat = kernels.flatten(1, 2)
    first = torch.bmm(grad_means.reshape(groups, 1, -1), flat)[:, 0]
    second = torch.bmm((kernels * grad_variances[..., None]).flatten(1, 2).mT, flat)
    # Through the centring of the covariance.
    first = first - torch.bmm(second, mean[:, :, None])[:, :, 0]
    grads = []
    for number, (kind, like) in enumerate(zip(branches.kinds, split.kernels, strict=True)):
        if like is None:
            continue
        grad = grad_kernels[:, number]
        if kind == CENTRE:
            grad = grad[..., grad.shape[-1] // 2]
        rows, channels, high, wide = like.shape
        grads.append(grad.reshape(rows, high, wide, channels).permute(0, 3, 1, 2))
    grads += [*_by_branch(grad_weight), *_by_branch(grad_shift.expand_as(weight))]
    return Slopes(grads, first / count, second / count)


def _stacked(branches: Branches, split: Split, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return kernels ``(G, B, Q, T)``, and weights and biases ``(G, B, Q)``."""
    kernels, weights, biases = split
    groups, taps = like.shape
    unit = unit_kernels(taps, branches.depthwise, like.dtype, like.device)
    stacked = []
    for kind, kernel in zip(branches.kinds, kernels, strict=True):
        if kernel is None:
            each = 1 if branches.depthwise else taps
            stacked.append(unit.expand(groups, 1, each, taps))
        elif kind == CENTRE:
            stacked.append(kernel.reshape(groups, 1, -1, 1) * unit)
        else:
            stacked.append(kernel.permute(0, 2, 3, 1).reshape(groups, 1, -1, taps))
    return (
        torch.cat(stacked, dim=1),
        torch.stack([weight.view(groups, -1) for weight in weights], dim=1),
        torch.stack([bias.view(groups, -1) for bias in biases], dim=1),
    )


def _by_branch(stacked: Tensor) -> Tensor:
    """Return ``(G, B, Q)`` as ``(B, G * Q)``."""
    return stacked.transpose(0, 1).flatten(1)


@torch.no_grad()
def _track(norms: tuple[nn.BatchNorm2d, ...], means: Tensor, variances: Tensor, count: int) -> None:
    """Update running statistics from means and biased variances ``(B, rows)``."""
    tracked = [norm.running_mean for norm in norms] + [norm.running_var for norm in norms]
    new = [*means.unbind(), *(variances * (count / (count - 1))).unbind()]
    torch._foreach_lerp_(cast(list[Tensor], tracked), new, cast(float, norms[0].momentum))
    batches = [norm.num_batches_tracked for norm in norms]
    torch._foreach_add_(cast(list[Tensor], batches), 1)


@functools.cache
@torch.inference_mode(False)  # A cached inference tensor could never be saved for a backward pass.
def unit_kernels(taps: int, depthwise: bool, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return kernels that change nothing: a one amid ``(T,)`` zeros, or the identity ``(T, T)``."""
    unit = torch.eye(taps, dtype=dtype, device=device)
    return unit[taps // 2] if depthwise else unit
