"""1x1 and depth-wise convolutions, their gradients and moments by the C kernels.

Images are ``(N, H, W, C)`` and rows ``(P, C)``, channels contiguous. A *slice* may be some of
the channels of a wider tensor. All tensors of a call have one dtype, float32
or float64.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from ghostnet_small.fast.cpu.kernels.calls import Size, call, dims, long

# Kernel sizes (height, width) that the depth-wise kernels are compiled for.
SIZES = ((3, 3), (5, 5))


def channel_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean ``(C,)`` and biased covariance ``(C, C)`` of rows, a slice ``(P, C)``."""
    rows, channels = x.shape
    mean, covariance = x.new_empty(channels), x.new_empty(channels, channels)
    call("channel_moments", x, x, long(rows), channels, long(x.stride(0)), mean, covariance)
    return mean, covariance


def pointwise(
    x: Tensor,
    weight: Tensor,
    shift: Tensor,
    out: Tensor,
    *,
    second: tuple[Tensor, Tensor] | None = None,
    relu: bool = False,
) -> Tensor:
    """Compute ``out = x weight [+ second] + shift``, then the ReLU, on slices ``(P, C)``.

    Weights are ``(in, out)``; ``second`` is another input and its weight.
    """
    weight = weight.contiguous()
    x2, weight2 = second or (None, None)
    weight2 = None if weight2 is None else weight2.contiguous()
    call(
        "pointwise",
        x,
        long(len(x)),
        out.shape[1],
        x,
        long(x.stride(0)),
        x.shape[1],
        weight,
        x2,
        long(0 if x2 is None else x2.stride(0)),
        0 if x2 is None else x2.shape[1],
        weight2,
        shift.contiguous(),
        out,
        long(out.stride(0)),
        int(relu),
    )
    return out


def pointwise_images(
    x: Tensor, weight: Tensor, shift: Tensor, *, relu: bool, out: Tensor | None = None
) -> Tensor:
    """Return the 1x1 convolution of images, ``weight`` ``(in, outs)``, then perhaps its ReLU.

    It fills the first channels of ``out``, which may have more.
    """
    outs = weight.shape[1]
    to = x.new_empty(*x.shape[:3], outs) if out is None else out
    rows = to.view(-1, to.shape[3])[:, :outs]
    pointwise(x.view(-1, x.shape[3]), weight, shift, rows, relu=relu)
    return to


def windows(x: Tensor, size: Size, weight: Tensor, shift: Tensor, *, relu: bool) -> Tensor:
    """Return the dense convolution of images, of stride 1, then perhaps its ReLU.

    ``weight`` is ``(taps * in, outs)``.
    """
    outs = weight.shape[1]
    out = x.new_empty(*x.shape[:3], outs)
    call("windows", x, x, *dims(x), outs, *size, weight, shift, int(relu), out)
    return out


def linear(x: Tensor, weight: Tensor, bias: Tensor, *, relu: bool = False) -> Tensor:
    """Return ``x weight^T + bias``, then perhaps the ReLU: ``(R, I)`` and ``(O, I) -> (R, O)``."""
    out = x.new_empty(len(x), len(weight))
    call("linear", x, long(len(x)), x.shape[1], len(weight), x, weight, bias, int(relu), out)
    return out


def linear_gradient(
    grad: Tensor, x: Tensor, weight: Tensor, *, of_input: bool = True
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Return the gradients of input, weight ``(O, I)`` and bias of ``linear``, before its ReLU."""
    outs, channels = grad.shape[1], x.shape[1]
    of_x = torch.empty_like(x) if of_input else None
    of_weight, of_bias = x.new_empty(outs, channels), x.new_empty(outs)
    call(
        "linear_gradient",
        x,
        long(len(x)),
        channels,
        outs,
        grad,
        x,
        weight,
        of_x,
        of_weight,
        of_bias,
    )
    return of_x, of_weight, of_bias


def pointwise_gradient(grad: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``grad^T x`` ``(out, in)`` and the sums ``(out,)`` of ``grad``; inputs are slices."""
    outs, channels = grad.shape[1], x.shape[1]
    products, sums = x.new_empty(outs, channels), x.new_empty(outs)
    call(
        "pointwise_gradient",
        x,
        long(len(x)),
        grad,
        long(grad.stride(0)),
        outs,
        x,
        long(x.stride(0)),
        channels,
        products,
        sums,
    )
    return products, sums


def window_moments(x: Tensor, size: Size, stride: int) -> tuple[Tensor, Tensor]:
    """Return means ``(C, T)`` and biased covariances ``(C, T, T)`` of a slice's T-tap windows.

    ``size`` is one of ``SIZES``; the image is padded with zeros by half a window.
    """
    channels, taps = x.shape[3], size[0] * size[1]
    means, covariances = x.new_empty(channels, taps), x.new_empty(channels, taps, taps)
    call("window_moments", x, x, *_pictures(x), *size, stride, means, covariances)
    return means, covariances


def depthwise(
    x: Tensor,
    size: Size,
    stride: int,
    kernel: Tensor,
    shift: Tensor,
    out: Tensor,
    *,
    relu: bool = False,
) -> Tensor:
    """Fill ``out`` with ``x`` convolved by kernel ``(C, T)``, plus shift ``(C,)``, then perhaps the
    ReLU; on slices."""
    kernel, shift = kernel.contiguous(), shift.contiguous()
    call(
        "depthwise",
        x,
        x,
        *_pictures(x),
        *size,
        stride,
        kernel,
        shift,
        out,
        long(out.stride(2)),
        int(relu),
    )
    return out


def depthwise_images(
    x: Tensor, size: Size, stride: int, kernel: Tensor, shift: Tensor, *, relu: bool
) -> Tensor:
    """Return images convolved as by ``depthwise``."""
    n, h, w, c = x.shape
    out = x.new_empty(n, (h - 1) // stride + 1, (w - 1) // stride + 1, c)
    return depthwise(x, size, stride, kernel, shift, out, relu=relu)


def depthwise_gradient(grad: Tensor, x: Tensor, size: Size, stride: int) -> tuple[Tensor, Tensor]:
    """Return the gradients of the kernel ``(C, T)`` and shift ``(C,)``; inputs are slices."""
    kernel, shift = x.new_empty(x.shape[3], size[0] * size[1]), x.new_empty(x.shape[3])
    call(
        "depthwise_gradient",
        x,
        x,
        *_pictures(x),
        *size,
        stride,
        grad,
        long(grad.stride(2)),
        kernel,
        shift,
    )
    return kernel, shift


def depthwise_input_gradient(
    grad: Tensor,
    x: Tensor,
    size: Size,
    stride: int,
    kernel: Tensor,
    first: Tensor,
    second: Tensor,
    out: Tensor,
) -> Tensor:
    """Fill ``out`` with the gradient of ``x``; both are slices.

    ``first`` ``(C, T)`` and ``second`` ``(C, T, T)``, symmetric, come from the taps' moments:
    windows with taps t add ``first + second t`` to the gradient of those taps.
    """
    kernel, first, second = kernel.contiguous(), first.contiguous(), second.contiguous()
    call(
        "depthwise_input_gradient",
        x,
        x,
        *_pictures(x),
        *size,
        stride,
        grad,
        long(grad.stride(2)),
        kernel,
        first,
        second,
        out,
        long(out.stride(2)),
    )
    return out


def _pictures(x: Tensor) -> tuple[ctypes.c_int64, int, int, int, ctypes.c_int64]:
    return *dims(x), long(x.stride(2))
