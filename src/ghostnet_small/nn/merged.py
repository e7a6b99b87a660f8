"""The sum of conv-BN branches in training mode, as one convolution with a folded kernel.

Every branch is linear, so the batch mean and variance of its output follow from moments of the
input that all branches share. With those the branches fold before the convolution, and no branch's
output is ever computed. Exact up to rounding, gradients through the statistics included.
"""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from ghostnet_small.nn.moments import (
    KERNEL,
    add_channel_slope,
    add_window_slope,
    centre_tap,
    channel_moments,
    window_moments,
)
from ghostnet_small.nn.rep_conv import ConvBN, RepConv2d, sum_of_branches

# Below this many input elements the moments' many small steps cost more than they save: measured
# on a CPU core, batch 128 in channels_last, (24, 8, 8) just pays and smaller inputs do not.
WORTHWHILE = 2**17

RepConvForm = Literal["merged", "branches"]


def set_rep_conv(model: nn.Module, form: RepConvForm) -> None:
    """Make every re-parameterisable convolution of ``model`` compute its training form so."""
    for module in model.modules():
        if isinstance(module, RepConv2d):
            module.compute = merged_forward if form == "merged" else sum_of_branches


def merged_forward(rep: RepConv2d, x: Tensor) -> Tensor:
    """``sum_of_branches(rep, x)`` by way of one convolution: ``(N, I, H, W) -> (N, O, H, W)``.

    Running statistics are updated as batch norm does. What has no merged form here (stride 2,
    kernels beyond 3x3, any batch norm in evaluation, autocast), or gains nothing by it (small
    inputs), is computed branch by branch.
    """
    convs, norms = _parts(rep)
    first = convs[0]
    if (
        not _same_training(norms)
        or x.numel() < max(WORTHWHILE, 2 * x.shape[1])
        or x.dtype != first.weight.dtype
        or torch.is_autocast_enabled(x.device.type)
    ):
        return sum_of_branches(rep, x)
    if first.kernel_size == (1, 1) and first.groups == 1 and first.stride == (1, 1):
        return _merged(rep, convs, norms, x)
    # Stride 2 and 5x5 would need moments of their own, for 2 and 0 of GN-S's 42 layers.
    if (
        first.kernel_size == (KERNEL, KERNEL)
        and first.padding == (KERNEL // 2, KERNEL // 2)
        and first.groups == first.in_channels == first.out_channels
        and first.stride == (1, 1)
    ):
        return _merged(rep, convs, norms, x)
    return sum_of_branches(rep, x)


def _parts(rep: RepConv2d) -> tuple[list[nn.Conv2d], list[nn.BatchNorm2d]]:
    """The full branches' convolutions, and every batch norm: branches, scale, skip."""
    branches = [branch for branch in rep.branches if isinstance(branch, ConvBN)]
    norms = [branch.bn for branch in branches]
    if rep.scale is not None:
        norms.append(rep.scale.bn)
    if rep.skip is not None:
        norms.append(rep.skip)
    return [branch.conv for branch in branches], norms


def _same_training(norms: list[nn.BatchNorm2d]) -> bool:
    """Whether all batch norms use batch statistics, in the same way."""
    like = norms[0]
    return like.momentum is not None and all(
        norm.training
        and norm.affine
        and norm.track_running_stats
        and norm.momentum == like.momentum
        and norm.eps == like.eps
        for norm in norms
    )


def _merged(
    rep: RepConv2d, convs: list[nn.Conv2d], norms: list[nn.BatchNorm2d], x: Tensor
) -> Tensor:
    """All branches as kernels of one size ``(G, B, Q, T)``, for ``MergedConv``."""
    outputs, taps = len(convs[0].weight), convs[0].weight[0].numel()
    depthwise = convs[0].kernel_size == (KERNEL, KERNEL)
    groups, each = (outputs, 1) if depthwise else (1, outputs)
    stack = [conv.weight.view(groups, 1, each, taps) for conv in convs]
    # Scale and skip are kernels that are zero around their centre; a pointwise skip, the identity.
    if rep.scale is not None:
        stack.append(rep.scale.conv.weight.view(groups, 1, each, 1) * centre_tap(x.dtype, x.device))
    if rep.skip is not None:
        unit = torch.eye(taps, dtype=x.dtype, device=x.device)
        skip = unit[len(unit) // 2] if depthwise else unit
        stack.append(skip.expand(groups, 1, each, taps))
    kernels = torch.cat(stack, dim=1)
    weight = torch.stack([norm.weight.view(groups, each) for norm in norms], dim=1)
    bias = torch.stack([norm.bias.view(groups, each) for norm in norms], dim=1)
    out, means, variances = MergedConv.apply(x, kernels, weight, bias, norms[0].eps, depthwise)
    _track(norms, means, variances, x.numel() // x.shape[1])
    return out


@torch.no_grad()
def _track(norms: list[nn.BatchNorm2d], means: Tensor, variances: Tensor, count: int) -> None:
    """Update what the batch norms track, from ``(G, B, Q)`` means and biased variances."""
    tracked = [norm.running_mean for norm in norms] + [norm.running_var for norm in norms]
    unbiased = variances * (count / (count - 1))
    new = torch.cat((means, unbiased), dim=1).transpose(0, 1).flatten(1).unbind()
    torch._foreach_lerp_(cast(list[Tensor], tracked), new, cast(float, norms[0].momentum))
    batches = [norm.num_batches_tracked for norm in norms]
    torch._foreach_add_(cast(list[Tensor], batches), 1)


class MergedConv(torch.autograd.Function):
    """Convolution with the folded kernel; also the branches' means and biased variances.

    Takes the input, kernels ``(G, B, Q, T)``, the batch norms' weights and biases ``(G, B, Q)`` and
    epsilon. ``G`` is 1 for a pointwise convolution, else the channels of a depth-wise one.
    Written out as one function because its many small steps would cost more in autograd.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        kernels: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: float,
        depthwise: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        first, covariance = window_moments(x) if depthwise else channel_moments(x)
        flat = kernels.flatten(1, 2)
        # Rows of K S; with K once more they are the variances, and the slope of those.
        spread = torch.bmm(flat, covariance).view_as(kernels)
        means = torch.bmm(flat, first[:, :, None]).view_as(weight)
        variances = (spread * kernels).sum(3).clamp_min_(0)
        inverse = torch.rsqrt(variances + eps)
        scale = weight * inverse
        shape = (-1, 1, KERNEL, KERNEL) if depthwise else (*kernels.shape[2:], 1, 1)
        kernel = (kernels * scale[..., None]).sum(1).view(shape)
        shift = (bias - means * scale).sum(1).flatten()
        padding = kernel.shape[-1] // 2
        out = functional.conv2d(x, kernel, shift, padding=padding, groups=len(kernels))
        ctx.depthwise = depthwise
        ctx.save_for_backward(x, kernels, weight, first, spread, means, inverse, kernel)
        ctx.mark_non_differentiable(means, variances)
        return out, means, variances

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *unused: Tensor) -> tuple[Tensor | None, ...]:
        x, kernels, weight, first, spread, means, inverse, kernel = ctx.saved_tensors
        groups, _, each, taps = kernels.shape
        grad_x, grad_kernel, grad_shift = _convolution_backward(grad, x, kernel, groups)
        grad_kernel = grad_kernel.view(groups, 1, each, taps)
        grad_shift = grad_shift.view(groups, 1, each)
        scale = weight * inverse
        grad_scale = (kernels * grad_kernel).sum(3) - means * grad_shift
        grad_weight = grad_scale * inverse
        grad_mean = -scale * grad_shift
        # Twice the gradient of the variance: the variance is quadratic in the kernels.
        grad_variance = -grad_weight * scale * inverse
        grad_kernels = torch.addcmul(
            scale[..., None] * grad_kernel, spread, grad_variance[..., None]
        )
        grad_kernels.addcmul_(grad_mean[..., None], first[:, None, None])
        flat = kernels.flatten(1, 2)
        grad_first = torch.bmm(grad_mean.view(groups, 1, -1), flat)[:, 0]
        slope = torch.bmm((kernels * grad_variance[..., None]).flatten(1, 2).mT, flat)
        add_slope = add_window_slope if ctx.depthwise else add_channel_slope
        grad_x = add_slope(grad_x, x, first, grad_first, slope)
        return grad_x, grad_kernels, grad_weight, grad_shift.expand_as(weight), None, None


def _convolution_backward(
    grad: Tensor, x: Tensor, kernel: Tensor, groups: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of input, kernel and bias of a convolution that keeps the picture's size."""
    padding = [kernel.shape[-1] // 2] * 2
    geometry = ([1, 1], padding, [1, 1], False, [0, 0], groups)
    result: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        grad, x, kernel, [len(kernel)], *geometry, [True, True, True]
    )
    return result
