"""Means and covariances of a convolution's input, and their gradients.

A pointwise convolution needs those of an image's channels; a depth-wise one those of the nine taps
of a zero-padded 3x3 window.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional

KERNEL = 3
TAPS = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)]
# Numbers that ``window_moments`` sums for each channel: 18 lags, 2 * 2 * 3 of the edges, 4 corners;
# and 9 plain sums.
SECOND, FIRST = 34, 9


def channel_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean ``(1, C)`` and biased covariance ``(1, C, C)`` of ``(N, C, H, W)`` by channel."""
    rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    mean = rows.mean(0, keepdim=True)
    centred = rows - mean
    return mean, ((centred.t() @ centred) / len(rows))[None]


def add_channel_slope(out: Tensor, x: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Add to ``out`` the ``Slopes`` of the pixels' channels: ``(1, C)`` and ``(1, C, C)``."""
    rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    n, c, h, w = x.shape
    grad = torch.addmm(first, rows, second[0])
    return out.add_(grad.view(n, h, w, c).permute(0, 3, 1, 2))


def window_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return means ``(C, 9)`` and biased covariances ``(C, 9, 9)`` of the taps of padded windows.

    The second moment of two taps is the autocorrelation at their distance, over an image
    padded with zeros, minus what windows centred just outside would add; those touch only
    the edges. ``sums`` holds, in order: the autocorrelation at lags (0..2, 0..2) and (0..2, -2..0);
    at lags 0..2 along the top, bottom, left and right edge; the squares of the corners; and the
    plain sums of the image, the four edges and the four corners.
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
    to_second, to_first = _constants(x.dtype, x.device)
    first = sums[:, SECOND:] @ to_first
    second = (sums[:, :SECOND] @ to_second).view(channels, len(TAPS), len(TAPS))
    # Centred on the small matrix: subtracting the squared means later would lose digits.
    return first, torch.baddbmm(second, first[:, :, None], first[:, None, :], alpha=-1)


def add_window_slope(out: Tensor, x: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Add to ``out`` the ``Slopes`` of the windows' taps: ``(C, 9)`` and ``(C, 9, 9)``."""
    channels = x.shape[1]
    to_second, to_first = _constants(x.dtype, x.device)
    # Every pair's gradient is shared by its two orders.
    second_grad = to_second @ second.flatten(1).t() * 0.5
    right, left, rows, columns, corners = second_grad.split((9, 9, 6, 6, 4))
    whole, row_sums, column_sums, corner_sums = (to_first @ first.t()).split((1, 2, 2, 4))
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
    """Return the sums ``(C, 1, 3, 3)`` of ``grad`` times ``x`` shifted by 0 .. 2 down and right."""
    channels = x.shape[1]
    like = x.new_empty(channels, 1, KERNEL, KERNEL)
    gradients = torch.ops.aten.convolution_backward(
        grad, x, like, None, [1, 1], [0, 0], [1, 1], False, [0, 0], channels, [False, True, False]
    )
    kernel: Tensor = gradients[1]
    return kernel


def _edges(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Return top and bottom ``(2, N, W, C)``, left and right ``(2, N, H, C)``, of the image."""
    return (
        torch.stack((pixels[:, 0], pixels[:, -1])),
        torch.stack((pixels[:, :, 0], pixels[:, :, -1])),
    )


def _line_lags(lines: Tensor) -> Tensor:
    """Return the autocorrelation at lags 0, 1, 2 of two lines: ``(2, N, L, C) -> (6, C)``."""
    length = lines.shape[2]
    lags = [
        (lines[:, :, lag:] * lines[:, :, : max(length - lag, 0)]).sum((1, 2)) for lag in range(3)
    ]
    return torch.stack(lags, dim=1).flatten(0, 1)


def _line_slope(lines: Tensor, lag_grad: Tensor, sum_grad: Tensor) -> Tensor:
    """Return the gradient of the lines, from ``_line_lags``' ``(2, 3, C)`` and sums' ``(2, C)``."""
    out = torch.addcmul(sum_grad[:, None, None], lines, 2 * lag_grad[:, None, None, 0])
    length = lines.shape[2]
    for lag in range(1, min(3, length)):
        weight = lag_grad[:, None, None, lag]
        out[:, :, lag:].addcmul_(lines[:, :, : length - lag], weight)
        out[:, :, : length - lag].addcmul_(lines[:, :, lag:], weight)
    return out


@functools.cache
@torch.inference_mode(False)  # A cached inference tensor could never be saved for a backward pass.
def _constants(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the matrices from the sums of ``window_moments`` to the moments of the nine taps."""
    second = torch.zeros(SECOND, len(TAPS), len(TAPS), dtype=torch.float64)
    first = torch.zeros(FIRST, len(TAPS), dtype=torch.float64)
    # Windows centred just above the image see its top edge with their last row of taps.
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
    second = second.flatten(1).to(device=device, dtype=dtype)
    return second, first.to(device=device, dtype=dtype)
