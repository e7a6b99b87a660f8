"""The sum of conv-BN branches in training mode, as one convolution with a folded kernel.

Every branch is linear, so the batch mean and variance of its output follow from moments of the
input that all branches share. With those the branches fold before the convolution, and no branch's
output is ever computed. Exact up to rounding, gradients through the statistics included.
"""

from __future__ import annotations

import functools
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from ghostnet_small.nn.rep_conv import ConvBN, RepConv2d, sum_of_branches

# Below this many input elements the moments' many small steps cost more than they save: measured
# on a CPU core, batch 128 in channels_last, (24, 8, 8) just pays and smaller inputs do not.
WORTHWHILE = 2**17

KERNEL = 3
TAPS = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)]
# What ``window_moments`` sums for each channel: 18 lags, 2 * 2 * 3 of the edges, 4 corners; sums.
SECOND, FIRST = 34, 9


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
        centre = _constants(x.dtype, x.device)[2]
        stack.append(rep.scale.conv.weight.view(groups, 1, each, 1) * centre)
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


def channel_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ``(1, C)`` and biased covariance ``(1, C, C)`` of the channels of ``(N, C, H, W)``."""
    rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    mean = rows.mean(0, keepdim=True)
    centred = rows - mean
    return mean, ((centred.t() @ centred) / len(rows))[None]


def add_channel_slope(
    out: Tensor, x: Tensor, mean: Tensor, grad_mean: Tensor, slope: Tensor
) -> Tensor:
    """Add to ``out`` the gradient of ``channel_moments``; ``slope`` is twice the covariance's."""
    rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    slope = slope[0] / len(rows)
    # One product: the centring of the rows is a constant row.
    grad = torch.addmm(grad_mean / len(rows) - mean @ slope, rows, slope)
    n, c, h, w = x.shape
    return out.add_(grad.view(n, h, w, c).permute(0, 3, 1, 2))


def window_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Means ``(C, 9)`` and biased covariances ``(C, 9, 9)`` of the taps of zero-padded windows.

    The second moment of two taps is the autocorrelation at their distance, over a picture
    with zeros around it, less what windows centred just outside would add; those touch only
    the edges. ``sums`` holds, in order: the autocorrelation at lags (0..2, 0..2) and (0..2, -2..0);
    at lags 0..2 along the top, bottom, left and right edge; the squares of the corners; and the
    plain sums of the whole, of the four edges and the four corners.
    """
    channels = x.shape[1]
    # Autocorrelation: the kernel gradient of a convolution of x whose output gradient is x.
    lags = [
        _kernel_gradient(functional.pad(x, pads), x).view(channels, -1).t()
        for pads in ((0, 2, 0, 2), (2, 0, 0, 2))
    ]
    pixels = x.permute(0, 2, 3, 1)
    corners = pixels[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    rows, columns = _edges(pixels)
    sums = torch.cat(
        [
            *lags,
            _line_lags(rows),
            _line_lags(columns),
            (corners * corners).sum(0),
            pixels.sum((0, 1, 2))[None],
            rows.sum((1, 2)),
            columns.sum((1, 2)),
            corners.sum(0),
        ]
    ).t() / (x.numel() // channels)
    to_second, to_first, _ = _constants(x.dtype, x.device)
    first = sums[:, SECOND:] @ to_first
    second = (sums[:, :SECOND] @ to_second).view(channels, len(TAPS), len(TAPS))
    # Centred here, on the small matrix: subtracting the squared means later would lose digits.
    return first, torch.baddbmm(second, first[:, :, None], first[:, None, :], alpha=-1)


def add_window_slope(
    out: Tensor, x: Tensor, first: Tensor, grad_first: Tensor, slope: Tensor
) -> Tensor:
    """Add to ``out`` the gradient of ``window_moments``; ``slope`` is its covariances', doubled."""
    channels = x.shape[1]
    count = x.numel() // channels
    to_second, to_first, _ = _constants(x.dtype, x.device)
    # Through the centring; then every pair's gradient is shared by its two orders.
    grad_first = grad_first - torch.bmm(slope, first[:, :, None])[:, :, 0]
    second_grad = to_second @ slope.flatten(1).t() * (0.5 / count)
    right, left, rows, columns, corners = second_grad.split((9, 9, 6, 6, 4))
    whole, row_sums, column_sums, corner_sums = (to_first @ grad_first.t() / count).split(
        (1, 2, 2, 4)
    )
    # The derivative of an autocorrelation: convolve with the gradient and its mirror image.
    half = x.new_zeros(5, 5, channels)
    half[2:, 2:] += right.view(3, 3, channels)
    half[2:, :3] += left.view(3, 3, channels)
    kernel = (half + half.flip(0, 1)).permute(2, 0, 1)[:, None]
    out += functional.conv2d(x, kernel, whole[0], padding=2, groups=channels)
    pixels, out_pixels = x.permute(0, 2, 3, 1), out.permute(0, 2, 3, 1)
    top_bottom, left_right = _edges(pixels)
    change = _line_slope(top_bottom, rows.view(2, 3, channels), row_sums)
    out_pixels[:, 0] += change[0]
    out_pixels[:, -1] += change[1]
    change = _line_slope(left_right, columns.view(2, 3, channels), column_sums)
    out_pixels[:, :, 0] += change[0]
    out_pixels[:, :, -1] += change[1]
    for index, (row, column) in enumerate(((0, 0), (0, -1), (-1, 0), (-1, -1))):
        pixel = pixels[:, row, column]
        out_pixels[:, row, column] += 2 * corners[index] * pixel + corner_sums[index]
    return out


def _kernel_gradient(x: Tensor, grad: Tensor) -> Tensor:
    """``(C, 1, 3, 3)``: the sums of ``grad`` times ``x`` shifted by 0 .. 2 down and right."""
    channels = x.shape[1]
    like = x.new_empty(channels, 1, KERNEL, KERNEL)
    gradients = torch.ops.aten.convolution_backward(
        grad, x, like, None, [1, 1], [0, 0], [1, 1], False, [0, 0], channels, [False, True, False]
    )
    kernel: Tensor = gradients[1]
    return kernel


def _edges(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Top and bottom ``(2, N, W, C)``, left and right ``(2, N, H, C)`` of ``(N, H, W, C)``."""
    return (
        torch.stack((pixels[:, 0], pixels[:, -1])),
        torch.stack((pixels[:, :, 0], pixels[:, :, -1])),
    )


def _line_lags(lines: Tensor) -> Tensor:
    """Autocorrelation at lags 0, 1, 2 of each of two lines: ``(2, N, L, C) -> (6, C)``."""
    length = lines.shape[2]
    lags = [
        (lines[:, :, lag:] * lines[:, :, : max(length - lag, 0)]).sum((1, 2)) for lag in range(3)
    ]
    return torch.stack(lags, dim=1).flatten(0, 1)


def _line_slope(lines: Tensor, lag_grad: Tensor, sum_grad: Tensor) -> Tensor:
    """The gradient, at the lines, of ``_line_lags`` ``(2, 3, C)`` and their sums ``(2, C)``."""
    out = torch.addcmul(sum_grad[:, None, None], lines, 2 * lag_grad[:, None, None, 0])
    length = lines.shape[2]
    for lag in range(1, min(3, length)):
        weight = lag_grad[:, None, None, lag]
        out[:, :, lag:].addcmul_(lines[:, :, : length - lag], weight)
        out[:, :, : length - lag].addcmul_(lines[:, :, lag:], weight)
    return out


@functools.cache
@torch.inference_mode(False)  # A cached inference tensor could never be saved for a backward pass.
def _constants(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Matrices from ``window_moments`` to the moments of the nine taps, and the middle tap."""
    second = torch.zeros(SECOND, len(TAPS), len(TAPS), dtype=torch.float64)
    first = torch.zeros(FIRST, len(TAPS), dtype=torch.float64)
    # Windows centred just above the picture see its top edge with their last row of taps.
    facing = {1: 0, -1: 1}
    for a, (row, column) in enumerate(TAPS):
        first[0, a] = 1
        if row:
            first[1 + facing[row], a] = -1
        if column:
            first[3 + facing[column], a] = -1
        if row and column:
            corner = 2 * facing[row] + facing[column]
            first[5 + corner, a] = 1
            second[30 + corner, a, a] = 1
        for b, (other_row, other_column) in enumerate(TAPS):
            down, right = other_row - row, other_column - column
            if down < 0 or (down == 0 and right < 0):
                down, right = -down, -right
            lag = 3 * down + right if right >= 0 else 9 + 3 * down + right + 2
            second[lag, a, b] = 1
            if row and row == other_row:
                second[18 + 3 * facing[row] + abs(right), a, b] -= 1
            if column and column == other_column:
                second[24 + 3 * facing[column] + abs(down), a, b] -= 1
    centre = torch.zeros(len(TAPS), dtype=torch.float64)
    centre[len(TAPS) // 2] = 1
    second, first, centre = (
        table.to(device=device, dtype=dtype) for table in (second.flatten(1), first, centre)
    )
    return second, first, centre


RepConvForm = Literal["merged", "branches"]


def set_rep_conv(model: nn.Module, form: RepConvForm) -> None:
    """Make every re-parameterisable convolution of ``model`` compute its training form so."""
    for module in model.modules():
        if isinstance(module, RepConv2d):
            module.compute = merged_forward if form == "merged" else sum_of_branches
