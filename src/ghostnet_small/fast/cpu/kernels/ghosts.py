"""Ghost modules and squeeze-and-excitation by the C kernels.

Images are contiguous ``(N, H, W, C)``. All tensors of a call have one dtype, float32 or
float64.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ghostnet_small.fast.cpu.kernels.calls import call, dims, long
from ghostnet_small.fast.cpu.kernels.elementwise import turned


class Gate(NamedTuple):
    """An attention gate ``(N, h, w, 2 half)`` and int32 indices that stretch it.

    The output pixel ``(y, x)`` of a ghost module is multiplied by the gate at
    ``(rows[y], columns[x])``.
    """

    weight: Tensor
    rows: Tensor
    columns: Tensor


def ghost_primary(
    x: Tensor, weight: Tensor, shift: Tensor, *, relu: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a ghost module's output ``(N, H, W, 2 half)`` with its first half filled.

    That half is the 1x1 convolution of ``x`` with ``weight`` ``(half, in)``. Also returns the
    moments of its 3x3 windows.
    """
    half = len(weight)
    both = x.new_empty(*x.shape[:3], 2 * half)
    means, covariances = x.new_empty(half, 9), x.new_empty(half, 9, 9)
    call(
        "ghost_primary",
        x,
        x,
        *dims(x),
        half,
        turned(weight),
        shift,
        int(relu),
        both,
        means,
        covariances,
    )
    return both, means, covariances


def ghost_cheap(
    both: Tensor,
    kernel: Tensor,
    shift: Tensor,
    gate: Gate | None,
    add: Tensor | None,
    *,
    relu: bool,
) -> Tensor:
    """Fill the second half of ``both``, the depth-wise convolution of the first.

    Returns both halves [times the gate] [+ ``add``]; without gate and ``add``, ``both`` itself.
    """
    n, h, w, channels = both.shape
    out = both if gate is None and add is None else torch.empty_like(both)
    call(
        "ghost_cheap",
        both,
        both,
        long(n),
        h,
        w,
        channels // 2,
        kernel,
        shift,
        int(relu),
        *_gate(gate),
        add,
        out,
    )
    return out


def ghost_cheap_gradient(
    grad: Tensor, both: Tensor, gate: Gate | None, *, relu: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Return the gradients of the gate and of the depth-wise kernel ``(half, 9)`` and shift.

    ``grad`` is the gradient of the output.
    """
    n, h, w, channels = both.shape
    half = channels // 2
    of_gate = None if gate is None else torch.empty_like(gate.weight)
    kernel, shift = both.new_empty(half, 9), both.new_empty(half)
    call(
        "ghost_cheap_gradient",
        both,
        grad,
        both,
        long(n),
        h,
        w,
        half,
        int(relu),
        *_gate(gate),
        of_gate,
        kernel,
        shift,
    )
    return of_gate, kernel, shift


def ghost_primary_gradient(
    grad: Tensor,
    both: Tensor,
    x: Tensor,
    gate: Gate | None,
    kernel: Tensor,
    first: Tensor,
    second: Tensor,
    *,
    relu: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of the 1x1 convolution: output, weight and shift.

    The output's ``(N, H, W, half)`` is taken before the ReLU; the weight is ``(half, in)``.
    ``grad`` is the gradient of the ghost module's output. ``kernel`` ``(half, 9)`` is that of the
    depth-wise convolution; ``first`` and ``second`` are as in ``depthwise_input_gradient``.
    """
    n, h, w, channels = x.shape
    half = both.shape[3] // 2
    out = x.new_empty(n, h, w, half)
    products, sums = x.new_empty(half, channels), x.new_empty(half)
    call(
        "ghost_primary_gradient",
        x,
        grad,
        both,
        x,
        *dims(x),
        half,
        int(relu),
        *_gate(gate),
        kernel,
        first,
        second,
        out,
        products,
        sums,
    )
    return out, products, sums


def ghost_input_gradient(
    of_primary: Tensor,
    x: Tensor,
    weight: Tensor,
    first: Tensor,
    second: Tensor,
    add: Tensor | None,
    of_halved: Tensor | None,
) -> Tensor:
    """Return the gradient of ``x``, the sum of four parts.

    They are: through the 1x1 convolution, ``weight`` ``(half, in)``, from the first result of
    ``ghost_primary_gradient``; through the moments, ``first`` ``(in,)`` and ``second``
    ``(in, in)``; ``add``; and through ``halve``, from ``of_halved``.
    """
    out = torch.empty_like(x)
    call(
        "ghost_input_gradient",
        x,
        of_primary,
        x,
        *dims(x),
        of_primary.shape[3],
        weight,
        first,
        second,
        add,
        of_halved,
        out,
    )
    return out


def _gate(gate: Gate | None) -> tuple[Tensor | int | None, ...]:
    if gate is None:
        return None, 0, 0, None, None
    return gate.weight, *gate.weight.shape[1:3], gate.rows, gate.columns


def squeeze_excite(
    x: Tensor, reduce: Tensor, less: Tensor, expand: Tensor, more: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compute ``nn.ghost.squeeze_excite`` with weights ``(hidden, C)`` and ``(C, hidden)``.

    Returns the output; each image's means ``(N, C)``; the values after the ReLU ``(N, hidden)``;
    and those before the hard sigmoid, plus 3, ``(N, C)``.
    """
    n, h, w, c = x.shape
    hidden = len(reduce)
    means, shifted = x.new_empty(2, n, c).unbind()
    between, out = x.new_empty(n, hidden), torch.empty_like(x)
    call(
        "squeeze_excite",
        x,
        x,
        long(n),
        long(h * w),
        c,
        hidden,
        turned(reduce),
        less,
        turned(expand),
        more,
        means,
        between,
        shifted,
        out,
    )
    return out, means, between, shifted


def squeeze_excite_gradient(
    grad: Tensor, x: Tensor, reduce: Tensor, expand: Tensor, between: Tensor, shifted: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of ``x`` and, for each image, before the hard sigmoid and the ReLU.

    The last two are ``(N, C)`` and ``(N, hidden)``.
    """
    n, h, w, c = x.shape
    out, of_shifted, of_between = (torch.empty_like(like) for like in (x, shifted, between))
    call(
        "squeeze_excite_gradient",
        x,
        grad,
        x,
        long(n),
        long(h * w),
        c,
        len(reduce),
        reduce,
        expand,
        between,
        shifted,
        out,
        of_shifted,
        of_between,
    )
    return out, of_shifted, of_between


def halve(x: Tensor) -> Tensor:
    """Return images at half size, each pixel the mean of four; an odd edge is left out."""
    n, h, w, c = x.shape
    out = x.new_empty(n, h // 2, w // 2, c)
    call("halve_pictures", x, x, *dims(x), out)
    return out
