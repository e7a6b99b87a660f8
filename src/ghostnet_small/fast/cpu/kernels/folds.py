"""Folding of branches, and its gradients, by the C kernels."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ghostnet_small.fast.cpu.kernels.calls import Pointers, call, double, in_order

# Kinds of a branch's kernel; see folding.c.
FULL, CENTRE, UNIT = range(3)


def fold(
    depthwise: bool,
    kinds: tuple[int, ...],
    kernels: list[Tensor | None],
    weights: list[Tensor],
    biases: list[Tensor],
    norms: Sequence[nn.BatchNorm2d],
    count: int,
    mean: Tensor,
    covariance: Tensor,
) -> tuple[Tensor, ...]:
    """Compute ``branch_folding.fold``; all ``norms`` share one momentum and one epsilon."""
    groups, taps = mean.shape
    rows, number = len(weights[0]), len(kinds)
    kernel, shift = (
        mean.new_empty(groups, rows // groups, taps),
        mean.new_empty(groups, rows // groups),
    )
    means, inverses = mean.new_empty(2, number, rows).unbind()
    spread = mean.new_empty(number, rows, taps)
    call(
        "fold",
        mean,
        int(depthwise),
        number,
        rows,
        taps,
        (ctypes.c_int * number)(*kinds),
        Pointers(_ordered(kernels)),
        Pointers(weights),
        Pointers(biases),
        Pointers([norm.running_mean for norm in norms]),
        Pointers([norm.running_var for norm in norms]),
        Pointers([norm.num_batches_tracked for norm in norms]),
        double(count),
        double(cast(float, norms[0].momentum)),
        double(norms[0].eps),
        mean.contiguous(),
        covariance.contiguous(),
        kernel,
        shift,
        means,
        inverses,
        spread,
    )
    return kernel, shift, means, inverses, spread


def unfold(
    depthwise: bool,
    kinds: tuple[int, ...],
    kernels: list[Tensor | None],
    weights: list[Tensor],
    biases: list[Tensor],
    saved: tuple[Tensor, ...],
    count: int,
    mean: Tensor,
    grad_kernel: Tensor,
    grad_shift: Tensor,
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Return the gradients of ``branch_folding.unfold``; ``saved`` comes from ``fold``."""
    groups, taps = mean.shape
    rows, number = len(weights[0]), len(kinds)
    ordered = _ordered(kernels)
    # In the kernels' own memory format, as gradients should be: for 1x1 and depth-wise kernels the
    # order of numbers is the same in all formats.
    of_kernels = [None if kernel is None else torch.empty_like(kernel) for kernel in kernels]
    of_norms = mean.new_empty(2 * number, rows).unbind()
    first, second = mean.new_empty(groups, taps), mean.new_empty(groups, taps, taps)
    call(
        "unfold",
        mean,
        int(depthwise),
        number,
        rows,
        taps,
        (ctypes.c_int * number)(*kinds),
        Pointers(ordered),
        Pointers(weights),
        double(count),
        mean.contiguous(),
        *saved,
        grad_kernel.contiguous(),
        grad_shift.contiguous(),
        Pointers(of_kernels),
        Pointers(of_norms[:number]),
        Pointers(of_norms[number:]),
        first,
        second,
    )
    grads = [grad for grad in of_kernels if grad is not None]
    return [*grads, *of_norms], first, second


def _ordered(kernels: Sequence[Tensor | None]) -> list[Tensor | None]:
    return [None if kernel is None else in_order(kernel) for kernel in kernels]
