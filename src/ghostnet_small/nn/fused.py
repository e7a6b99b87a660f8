"""A ghost module, and squeeze-and-excitation, each as one function of its input by the C kernels.

Both re-parameterisable convolutions of a ghost module fold as in ``merged``; the two halves of its
channels, activation and gate are written where they are needed, never copied. Exact up to rounding.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ghostnet_small.native import kernels
from ghostnet_small.nn.bottleneck import SqueezeExcite, squeeze_excite
from ghostnet_small.nn.branches import Branches, Folded, branches_of, fold, unfold
from ghostnet_small.nn.ghost import GhostModule, ghost_by_parts
from ghostnet_small.nn.merged import mergeable
from ghostnet_small.nn.rep_conv import RepConv2d
from ghostnet_small.nn.ways import pixels_of

# Of the depth-wise convolution: size of the kernel, and stride.
CHEAP = ((3, 3), 1)


def fused_ghost(ghost: GhostModule, x: Tensor) -> Tensor:
    """``ghost_by_parts(ghost, x)`` as one function, where the C kernels can: else by parts."""
    convolution: torch.nn.Module = ghost.primary
    if not isinstance(convolution, RepConv2d):
        # A folded network has plain convolutions there.
        return ghost_by_parts(ghost, x)
    primary, cheap = branches_of(ghost.primary), branches_of(ghost.cheap)
    if (
        ghost.out_channels != 2 * len(primary.norms[0].weight)
        or not kernels.usable(x)
        or not mergeable(primary, x)
        or not mergeable(cheap, x)
    ):
        return ghost_by_parts(ghost, x)
    gate = None if ghost.gate is None else ghost.gate(x)
    relu = isinstance(ghost.act, torch.nn.ReLU)
    out: Tensor = FusedGhost.apply(
        x, gate, primary, cheap, relu, *primary.parameters, *cheap.parameters
    )
    return out


class FusedGhost(torch.autograd.Function):
    """Takes the input, the gate or ``None``, the branches of both convolutions, whether the
    activation is a ReLU or none, and the branches' parameters."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        gate: Tensor | None,
        first: Branches,
        second: Branches,
        relu: bool,
        *parameters: Tensor,
    ) -> Tensor:
        pixels = pixels_of(x)
        rows = pixels.view(-1, x.shape[1])
        own, others = parameters[: len(first.parameters)], parameters[len(first.parameters) :]
        mean, covariance = kernels.channel_moments(rows)
        mean = mean[None]
        primary = fold(first, own, mean, covariance[None], len(rows))
        half = primary.shift.shape[1]
        both = x.new_empty(*pixels.shape[:3], 2 * half)
        a, b = both[..., :half], both[..., half:]
        to = both.view(-1, 2 * half)[:, :half]
        kernels.pointwise(rows, primary.kernel[0].t(), primary.shift[0], to, relu=relu)
        taps, tap_covariance = kernels.window_moments(a, *CHEAP)
        cheap = fold(second, others, taps, tap_covariance, len(rows))
        kernels.depthwise(a, *CHEAP, cheap.kernel[:, 0], cheap.shift[:, 0], b, relu=relu)
        out, gates = both, []
        if gate is not None:
            gates = [pixels_of(gate), *_stretched(gate.shape[-2:], x.shape[-2:])]
            out = kernels.gate(both, *gates)
        ctx.relu, ctx.branches = relu, (first, second)
        ctx.save_for_backward(pixels, both, mean, taps, *primary, *cheap, *parameters, *gates)
        return out.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        pixels, both, mean, taps, *saved = ctx.saved_tensors
        primary, cheap, saved = Folded(*saved[:5]), Folded(*saved[5:10]), saved[10:]
        first, second = ctx.branches
        own, saved = tuple(saved[: len(first.parameters)]), saved[len(first.parameters) :]
        others, gates = tuple(saved[: len(second.parameters)]), saved[len(second.parameters) :]
        half, relu = both.shape[3] // 2, ctx.relu
        a, rows = both[..., :half], pixels.view(-1, pixels.shape[3])
        above, of_gate = pixels_of(grad), None
        if gates:
            above, of_gate = kernels.gate_gradient(above, both, *gates, relu=relu)
            of_gate = of_gate.permute(0, 3, 1, 2)
        elif relu:
            above = torch.ops.aten.threshold_backward(above, both, 0)
        of_a, of_b = above[..., :half], above[..., half:]
        grads = kernels.depthwise_gradient(of_b, a, *CHEAP)
        below = unfold(second, others, cheap, taps, len(rows), grads[0][:, None], grads[1][:, None])
        of_a = kernels.depthwise_input_gradient(
            of_b,
            a,
            *CHEAP,
            cheap.kernel[:, 0],
            below.first,
            below.second,
            a.new_empty(a.shape),
            add=of_a,
            relu=relu,
        )
        of_rows = of_a.view(-1, half)
        products, sums = kernels.pointwise_gradient(of_rows, rows)
        slopes = unfold(first, own, primary, mean, len(rows), products[None], sums[None])
        of_x = torch.empty_like(pixels)
        kernels.pointwise(
            of_rows,
            primary.kernel[0],
            slopes.first[0],
            of_x.view(-1, of_x.shape[3]),
            second=(rows, slopes.second[0]),
        )
        grads_of_all = (*slopes.parameters, *below.parameters)
        return of_x.permute(0, 3, 1, 2), of_gate, None, None, None, *grads_of_all


def fused_squeeze_excite(part: SqueezeExcite, x: Tensor) -> Tensor:
    """``squeeze_excite(part, x)`` as one function in training, where the C kernels can."""
    weights = [part.reduce.weight, part.reduce.bias, part.expand.weight, part.expand.bias]
    if (
        not part.training
        or not kernels.usable(x)
        or x.dtype != part.reduce.weight.dtype
        or torch.is_autocast_enabled(x.device.type)
    ):
        return squeeze_excite(part, x)
    out: Tensor = FusedSqueezeExcite.apply(x, *weights)
    return out


class FusedSqueezeExcite(torch.autograd.Function):
    """Takes the input, and weight and bias of both convolutions."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, reduce: Tensor, less: Tensor, expand: Tensor, more: Tensor
    ) -> Tensor:
        pixels = pixels_of(x)
        mean = kernels.picture_means(pixels)
        hidden = torch.addmm(less, mean, reduce.flatten(1).t()).relu_()
        # The hard sigmoid is relu6(x + 3) / 6.
        shifted = torch.addmm(more, hidden, expand.flatten(1).t()).add_(3)
        weight = shifted.clamp(0, 6).div_(6)
        ctx.save_for_backward(pixels, mean, hidden, shifted, weight, reduce, expand)
        return kernels.scale_pictures(pixels, weight).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        pixels, mean, hidden, shifted, weight, reduce, expand = ctx.saved_tensors
        above = pixels_of(grad)
        # That of a sum over pixels is the mean's times their number.
        of_shifted = kernels.picture_means(above, pixels) * (pixels.shape[1] * pixels.shape[2] / 6)
        of_shifted *= (shifted > 0) & (shifted < 6)
        of_hidden = (of_shifted @ expand.flatten(1)) * (hidden > 0)
        of_mean = of_hidden @ reduce.flatten(1) / (pixels.shape[1] * pixels.shape[2])
        return (
            kernels.scale_pictures(above, weight, of_mean).permute(0, 3, 1, 2),
            _like(of_hidden.t() @ mean, reduce),
            of_hidden.sum(0),
            _like(of_shifted.t() @ hidden, expand),
            of_shifted.sum(0),
        )


def _like(grad: Tensor, weight: Tensor) -> Tensor:
    """``(O, I)`` in the memory format of a 1x1 convolution's weight, as gradients should be."""
    return grad.as_strided(weight.shape, weight.stride())


@functools.cache
@torch.inference_mode(False)
def _stretched(small: torch.Size, large: torch.Size) -> tuple[Tensor, Tensor]:
    """Row and column, int32, of the small picture that each of the large one takes: nearest."""
    rows, columns = (
        torch.nn.functional.interpolate(
            torch.arange(there, dtype=torch.float64)[None, None], size=here, mode="nearest"
        )
        .flatten()
        .int()
        for there, here in zip(small, large, strict=True)
    )
    return rows, columns
