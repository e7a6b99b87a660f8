"""Convolutions followed by batch norms, one after another, computed by the C kernels.

Images are contiguous ``(N, H, W, C)``. All tensors of a call have one dtype, float32 or
float64.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from ghostnet_small.fast.cpu.kernels.calls import Size, call, dims, double, in_order, long
from ghostnet_small.fast.cpu.kernels.elementwise import sigmoid

# Codes of the activation after a chain of convolutions with batch norms; see conv_bn.c.
NONE, RELU, SIGMOID = range(3)
# The depth-wise kernels that such a chain may have.
CHAIN_SIZES = ((3, 3), (5, 5), (1, 5), (5, 1))


class ConvNorm(NamedTuple):
    """A convolution without bias and the batch norm after it.

    The convolution is 1x1; depth-wise with a ``size`` in ``CHAIN_SIZES``; or dense with stride 1,
    and then its input gets no gradient.
    """

    norm: nn.BatchNorm2d
    size: Size
    stride: int
    depthwise: bool

    @property
    def pointwise(self) -> bool:
        """Return whether the convolution is 1x1."""
        return self.size == (1, 1)


def conv_norm(
    part: ConvNorm,
    x: Tensor,
    before: Tensor | None,
    kernel: Tensor,
    weight: Tensor,
    bias: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the convolution's output ``(N, H', W', O)`` and its batch norm's state ``(4, O)``.

    The state is mean, inverse deviation, scale and shift. Running statistics are updated.
    ``before`` is the state of a batch norm that is applied to ``x`` as it is read.
    """
    n, h, w, channels = x.shape
    outs = len(kernel)
    norm = part.norm
    of_norm = (
        weight,
        bias,
        norm.running_mean,
        norm.running_var,
        norm.num_batches_tracked,
        double(cast(float, norm.momentum)),
        double(norm.eps),
    )
    state = x.new_empty(4, outs)
    kernel = in_order(kernel)
    y = x.new_empty(n, (h - 1) // part.stride + 1, (w - 1) // part.stride + 1, outs)
    if part.pointwise:
        rows = long(n * h * w)
        call("conv_bn_pointwise", x, x, rows, channels, outs, kernel, before, *of_norm, y, state)
    elif part.depthwise:
        geometry = (*dims(x), *part.size, part.stride)
        call("conv_bn_depthwise", x, x, *geometry, kernel, before, *of_norm, y, state)
    else:
        geometry = (*dims(x), outs, *part.size)
        call("conv_bn_windows", x, x, *geometry, kernel, *of_norm, y, state)
    return y, state


def conv_norm_gradient(
    part: ConvNorm,
    grad: Tensor,
    y: Tensor,
    slopes: Tensor,
    x: Tensor,
    before: Tensor | None,
    kernel: Tensor,
) -> tuple[Tensor | None, Tensor, Tensor | None]:
    """Return the gradients of the input and the kernel, and the slopes of the norm ``before``.

    ``grad`` is the gradient of the normalised ``y``, and ``slopes`` are those of its batch norm.
    The input's gradient is that of ``x`` after ``before`` is applied.
    """
    n, h, w, channels = x.shape
    outs = len(kernel)
    if not (part.pointwise or part.depthwise):
        of_kernel = torch.empty_like(kernel, memory_format=torch.channels_last)
        geometry = (*dims(x), outs, *part.size)
        call("conv_bn_windows_gradient", x, grad, y, x, *geometry, slopes, of_kernel)
        return None, of_kernel, None
    of_x, of_kernel = torch.empty_like(x), torch.empty_like(kernel)
    slopes_before = None if before is None else x.new_empty(5, channels)
    kernel = in_order(kernel)
    rest = (kernel, slopes, before, of_x, of_kernel, slopes_before)
    if part.depthwise:
        geometry = (*dims(x), *part.size, part.stride)
        call("conv_bn_depthwise_gradient", x, grad, y, x, *geometry, *rest)
    else:
        rows = long(n * h * w)
        call("conv_bn_pointwise_gradient", x, grad, y, x, rows, channels, outs, *rest)
    return of_x, of_kernel, slopes_before


def norm_end(y: Tensor, state: Tensor, activation: int) -> Tensor:
    """Return ``y`` normalised by the batch norm of ``state``, after the activation."""
    out = torch.empty_like(y)
    rows, channels = y[..., 0].numel(), y.shape[3]
    call("conv_bn_end", y, y, long(rows), channels, state, int(activation == RELU), out)
    return sigmoid(out) if activation == SIGMOID else out


def norm_end_gradient(
    grad: Tensor, y: Tensor, out: Tensor | None, state: Tensor, activation: int
) -> tuple[Tensor, Tensor]:
    """Return the gradient of ``norm_end``'s input, and the slopes ``(5, C)`` of its batch norm.

    The slopes are the gradients of weight and bias, and three rows that ``conv_norm_gradient``
    takes. ``out`` is the output of ``norm_end``, which only an activation needs.
    """
    of_norm = grad if activation == NONE else torch.empty_like(grad)
    rows, channels = y[..., 0].numel(), y.shape[3]
    slopes = y.new_empty(5, channels)
    call(
        "conv_bn_end_gradient",
        y,
        grad,
        y,
        out,
        long(rows),
        channels,
        state,
        activation,
        None if activation == NONE else of_norm,
        slopes,
    )
    return of_norm, slopes
