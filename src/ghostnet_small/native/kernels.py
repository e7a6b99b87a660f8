"""The C kernels as functions of tensors.

Pictures are ``(N, H, W, C)`` and rows ``(P, C)``, channels side by side; where it says *slice*,
they may be some of the channels of a wider tensor. All tensors of a call have one dtype, float32
or float64. Each function raises ``MemoryError`` where its scratch memory is refused.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ghostnet_small.native.library import library

# What a branch's kernel is; see folding.c.
FULL, CENTRE, UNIT = range(3)

# What ``windows.c`` is compiled for: high and wide.
SIZES = ((3, 3), (5, 5))
Size = tuple[int, int]


def usable(x: Tensor) -> bool:
    """Whether the kernels take ``x`` ``(N, C, H, W)``: on the CPU, in channels_last memory."""
    return (
        usable_for(x) and x.dim() == 4 and x.numel() > 0 and x.permute(0, 2, 3, 1).is_contiguous()
    )


def usable_for(parameters: Tensor) -> bool:
    """Whether ``fold`` and ``unfold`` take tensors of this kind."""
    return parameters.device.type == "cpu" and library(parameters.dtype) is not None


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
    """What ``nn.branches.fold`` says; ``norms`` are alike in momentum and epsilon."""
    groups, taps = mean.shape
    rows, number = len(weights[0]), len(kinds)
    kernel, shift = (
        mean.new_empty(groups, rows // groups, taps),
        mean.new_empty(groups, rows // groups),
    )
    means, inverses = mean.new_empty(2, number, rows).unbind()
    spread = mean.new_empty(number, rows, taps)
    _call(
        "fold",
        mean,
        int(depthwise),
        number,
        rows,
        taps,
        (ctypes.c_int * number)(*kinds),
        _Pointers([_in_order(kernel) for kernel in kernels]),
        _Pointers(weights),
        _Pointers(biases),
        _Pointers([norm.running_mean for norm in norms]),
        _Pointers([norm.running_var for norm in norms]),
        _Pointers([norm.num_batches_tracked for norm in norms]),
        ctypes.c_double(count),
        ctypes.c_double(cast(float, norms[0].momentum)),
        ctypes.c_double(norms[0].eps),
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
    """What ``nn.branches.unfold`` says; ``saved`` is what ``fold`` gave beside kernel and shift."""
    groups, taps = mean.shape
    rows, number = len(weights[0]), len(kinds)
    ordered = [_in_order(kernel) for kernel in kernels]
    # In the kernels' own memory format, as gradients should be: of 1x1 and of depth-wise ones the
    # order of numbers is the same in all.
    of_kernels = [None if kernel is None else torch.empty_like(kernel) for kernel in kernels]
    of_norms = mean.new_empty(2 * number, rows).unbind()
    first, second = mean.new_empty(groups, taps), mean.new_empty(groups, taps, taps)
    _call(
        "unfold",
        mean,
        int(depthwise),
        number,
        rows,
        taps,
        (ctypes.c_int * number)(*kinds),
        _Pointers(ordered),
        _Pointers(weights),
        ctypes.c_double(count),
        mean.contiguous(),
        *saved,
        grad_kernel.contiguous(),
        grad_shift.contiguous(),
        _Pointers(of_kernels),
        _Pointers(of_norms[:number]),
        _Pointers(of_norms[number:]),
        first,
        second,
    )
    grads = [grad for grad in of_kernels if grad is not None]
    return [*grads, *of_norms], first, second


def _in_order(kernel: Tensor | None) -> Tensor | None:
    """The channels of a tap side by side: ``(O, I, h, w)`` to ``(O, h, w, I)``."""
    return None if kernel is None else kernel.permute(0, 2, 3, 1).contiguous()


class _Pointers:
    """To tensors, which live as long as this does."""

    def __init__(self, tensors: Sequence[Tensor | None]) -> None:
        self.tensors = tensors
        addresses = [None if tensor is None else tensor.data_ptr() for tensor in tensors]
        self.array = (ctypes.c_void_p * len(addresses))(*addresses)


def channel_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ``(C,)`` and biased covariance ``(C, C)`` of rows, a slice ``(P, C)``."""
    rows, channels = x.shape
    mean, covariance = x.new_empty(channels), x.new_empty(channels, channels)
    _call("channel_moments", x, x, _long(rows), channels, _long(x.stride(0)), mean, covariance)
    return mean, covariance


def pointwise(
    x: Tensor,
    weight: Tensor,
    shift: Tensor,
    out: Tensor,
    *,
    second: tuple[Tensor, Tensor] | None = None,
    add: bool = False,
    relu: bool = False,
) -> Tensor:
    """``out (+)= x weight [+ second] + shift``, then perhaps the ReLU: slices ``(P, C)``.

    Weights are ``(in, out)``; ``second`` is another input and its weight. With ``add`` the result
    is added to what ``out`` holds.
    """
    weight = weight.contiguous()
    x2, weight2 = second or (None, None)
    weight2 = None if weight2 is None else weight2.contiguous()
    _call(
        "pointwise",
        x,
        _long(len(x)),
        out.shape[1],
        x,
        _long(x.stride(0)),
        x.shape[1],
        weight,
        x2,
        _long(0 if x2 is None else x2.stride(0)),
        0 if x2 is None else x2.shape[1],
        weight2,
        shift.contiguous(),
        out,
        _long(out.stride(0)),
        int(add),
        int(relu),
    )
    return out


def pointwise_gradient(grad: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """``grad^T x`` ``(out, in)`` and the sums ``(out,)`` of ``grad``; both are slices of rows."""
    outs, channels = grad.shape[1], x.shape[1]
    products, sums = x.new_empty(outs, channels), x.new_empty(outs)
    _call(
        "pointwise_gradient",
        x,
        _long(len(x)),
        grad,
        _long(grad.stride(0)),
        outs,
        x,
        _long(x.stride(0)),
        channels,
        products,
        sums,
    )
    return products, sums


def window_moments(x: Tensor, size: Size, stride: int) -> tuple[Tensor, Tensor]:
    """Means ``(C, T)`` and biased covariances ``(C, T, T)`` of a slice's windows of T taps.

    Windows are of a ``size`` in ``SIZES`` with zeros around the picture, half a window wide.
    """
    channels, taps = x.shape[3], size[0] * size[1]
    means, covariances = x.new_empty(channels, taps), x.new_empty(channels, taps, taps)
    _call("window_moments", x, x, *_pictures(x), *size, stride, means, covariances)
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
    """``out`` = the depth-wise convolution of ``x``: slices; kernel ``(C, T)``, shift ``(C,)``."""
    kernel, shift = kernel.contiguous(), shift.contiguous()
    _call(
        "depthwise",
        x,
        x,
        *_pictures(x),
        *size,
        stride,
        kernel,
        shift,
        out,
        _long(out.stride(2)),
        int(relu),
    )
    return out


def depthwise_gradient(grad: Tensor, x: Tensor, size: Size, stride: int) -> tuple[Tensor, Tensor]:
    """The gradients ``(C, T)`` of the kernel and ``(C,)`` of the shift; both are slices."""
    kernel, shift = x.new_empty(x.shape[3], size[0] * size[1]), x.new_empty(x.shape[3])
    _call(
        "depthwise_gradient",
        x,
        x,
        *_pictures(x),
        *size,
        stride,
        grad,
        _long(grad.stride(2)),
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
    *,
    add: Tensor | None = None,
    relu: bool = False,
) -> Tensor:
    """``out`` = [``add`` +] the gradient of ``x``: slices.

    ``first`` ``(C, T)`` and ``second`` ``(C, T, T)``, symmetric, come from the taps' moments:
    windows with taps t add ``first + second t`` to the gradient of those taps. With ``relu``,
    ``x`` is a ReLU's output, and ``out`` the gradient of its input.
    """
    kernel, first, second = kernel.contiguous(), first.contiguous(), second.contiguous()
    _call(
        "depthwise_input_gradient",
        x,
        x,
        *_pictures(x),
        *size,
        stride,
        grad,
        _long(grad.stride(2)),
        kernel,
        first,
        second,
        add,
        _long(0 if add is None else add.stride(2)),
        out,
        _long(out.stride(2)),
        int(relu),
    )
    return out


def gate(x: Tensor, weight: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """``x`` times ``weight`` ``(N, h, w, C)`` at ``(rows[y], columns[x])``, int32 each."""
    out = torch.empty_like(x)
    _call("gate", x, x, *_shape(x), weight, *weight.shape[1:3], rows, columns, out)
    return out


def gate_gradient(
    grad: Tensor, x: Tensor, weight: Tensor, rows: Tensor, columns: Tensor, *, relu: bool
) -> tuple[Tensor, Tensor]:
    """The gradients of ``x`` and ``weight`` of ``gate``; with ``relu`` that of the ReLU's input,
    whose output is ``x``."""
    of_x, of_weight = torch.empty_like(x), torch.empty_like(weight)
    _call(
        "gate_gradient",
        x,
        grad,
        x,
        *_shape(x),
        weight,
        *weight.shape[1:3],
        rows,
        columns,
        int(relu),
        of_x,
        of_weight,
    )
    return of_x, of_weight


def picture_means(x: Tensor, other: Tensor | None = None) -> Tensor:
    """Means ``(N, C)`` over the pixels of ``x``, or of ``x * other``."""
    n, h, w, c = x.shape
    means = x.new_empty(n, c)
    _call("picture_means", x, x, other, _long(n), _long(h * w), c, means)
    return means


def scale_pictures(x: Tensor, weight: Tensor, more: Tensor | None = None) -> Tensor:
    """``x * weight [+ more]``, weights ``(N, C)``."""
    n, h, w, c = x.shape
    out = torch.empty_like(x)
    _call("scale_pictures", x, x, _long(n), _long(h * w), c, weight, more, out)
    return out


def _shape(x: Tensor) -> tuple[ctypes.c_int64, int, int, int]:
    n, h, w, c = x.shape
    return _long(n), h, w, c


def _pictures(x: Tensor) -> tuple[ctypes.c_int64, int, int, int, ctypes.c_int64]:
    return *_shape(x), _long(x.stride(2))


_long = ctypes.c_int64


def _call(name: str, like: Tensor, *arguments: object) -> None:
    """Call a kernel for the dtype of ``like``; of tensors it gets the address."""
    kernels = library(like.dtype)
    assert kernels is not None
    plain = [
        ctypes.c_void_p(argument.data_ptr())
        if isinstance(argument, Tensor)
        else argument.array
        if isinstance(argument, _Pointers)
        else ctypes.c_void_p(None)
        if argument is None
        else argument
        for argument in arguments
    ]
    if getattr(kernels, name)(*plain):
        raise MemoryError(f"no memory for the kernel {name}")
