"""Triton kernels of the gradients of summed batch norms, launched by ``norms``.

Maps and tiles are as in ``norm_kernels``.
"""

# mypy: disable-error-code="import-untyped, import-not-found, assignment, var-annotated, misc"

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from ghostnet_small.fast.gpu.norm_kernels import (
    SLICES,
    kernel,
    of_maps,
    place,
    tile_of,
    total_of,
)


@triton.jit
def _slope(
    grad: tl.tensor,
    out: tl.tensor,
    r: tl.tensor,
    c: tl.tensor,
    live: tl.tensor,
    grad_offset: tl.tensor,
    grad_stride: tl.tensor,
    out_offset: tl.tensor,
    out_stride: tl.tensor,
    REAL: tl.constexpr,
    RELU: tl.constexpr,
) -> Any:
    """Return the gradient before the ReLU."""
    g = tl.load(grad + place(r, c, grad_offset, grad_stride), mask=live, other=0.0).to(REAL)
    if RELU:
        o = tl.load(out + place(r, c, out_offset, out_stride), mask=live, other=0.0)
        g = tl.where(o > 0, g, 0.0)
    return g


@kernel("rows", "pairs", *of_maps("grad", "out", "y", "x"))
def slope_sums(
    grad: tl.tensor,
    out: tl.tensor,
    y: tl.tensor,
    x: tl.tensor,
    sums: tl.tensor,
    rows: tl.tensor,
    pairs: tl.tensor,
    grad_offset: tl.tensor,
    grad_stride: tl.tensor,
    out_offset: tl.tensor,
    out_stride: tl.tensor,
    y_offset: tl.tensor,
    y_stride: tl.tensor,
    x_offset: tl.tensor,
    x_stride: tl.tensor,
    FULL: tl.constexpr,
    HAS_X: tl.constexpr,
    RELU: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Fill ``sums (programs, 1 + FULL + HAS_X, Q)``: the gradient, and it times each part."""
    REAL = sums.dtype.element_ty
    PARTS: tl.constexpr = 1 + FULL + HAS_X
    channels = pairs * 2
    begin, c, blocks = tile_of(channels, ROWS, COLUMNS)
    total = ()
    for _ in tl.static_range(PARTS):
        total += (tl.zeros((ROWS, COLUMNS), REAL),)
    step = tl.num_programs(0) // blocks * ROWS
    for start in range(begin, rows, step):
        r = (start + tl.arange(0, ROWS))[:, None]
        live = (r < rows) & (c < channels)
        g = _slope(
            grad, out, r, c, live, grad_offset, grad_stride, out_offset, out_stride, REAL, RELU
        )
        found = (total[0] + g,)
        for b in tl.static_range(FULL):
            part = tl.load(y + place(r, b * channels + c, y_offset, y_stride), mask=live, other=0.0)
            found += (total[1 + b] + g * part.to(REAL),)
        if HAS_X:
            part = tl.load(x + place(r, c, x_offset, x_stride), mask=live, other=0.0)
            found += (total[1 + FULL] + g * part.to(REAL),)
        total = found
    sums += begin // ROWS * PARTS * channels + c
    for b in tl.static_range(PARTS):
        column = tl.sum(total[b], axis=0, keep_dims=True)
        tl.store(sums + b * channels, column, mask=c < channels)


@kernel("programs", "channels", "count", *SLICES)
def slope_normalisers(
    sums: tl.tensor,
    weights: tl.tensor,
    factor: tl.tensor,
    kept: tl.tensor,
    of_weights: tl.tensor,
    of_biases: tl.tensor,
    of_factor: tl.tensor,
    lines: tl.tensor,
    programs: tl.tensor,
    channels: tl.tensor,
    count: tl.tensor,
    FULL: tl.constexpr,
    SCALE: tl.constexpr,
    SKIP: tl.constexpr,
    HAS_X: tl.constexpr,
    LANES: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Fill the gradients of the norms and of ``factor``, and ``lines``, from ``slope_sums``.

    The lines are ``(3, FULL + 1, Q)``: the gradient of a part (the last is ``x``) is
    ``lines[0] * g + lines[1] + lines[2] * part``.
    """
    NORMS: tl.constexpr = FULL + SCALE + SKIP
    PARTS: tl.constexpr = 1 + FULL + HAS_X
    c = (tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    live = c < channels
    n = count.to(tl.float64)
    stride = PARTS * channels
    of_all = total_of(sums, c, live, programs, stride, LANES, COLUMNS)
    of_x = tl.zeros((1, COLUMNS), tl.float64)
    if PARTS > 1 + FULL:
        of_x = total_of(sums, (1 + FULL) * channels + c, live, programs, stride, LANES, COLUMNS)
    along = tl.zeros((1, COLUMNS), tl.float64)
    still = tl.zeros((1, COLUMNS), tl.float64)
    back = tl.zeros((1, COLUMNS), tl.float64)
    for b in tl.static_range(NORMS):
        at = b * channels + c
        mean = tl.load(kept + at, mask=live, other=0.0).to(tl.float64)
        inverse = tl.load(kept + NORMS * channels + at, mask=live, other=0.0).to(tl.float64)
        scale = tl.load(weights + at, mask=live, other=0.0).to(tl.float64) * inverse
        times = tl.full((1, COLUMNS), 1.0, tl.float64)
        if b < FULL:
            of_part = total_of(sums, (1 + b) * channels + c, live, programs, stride, LANES, COLUMNS)
        else:
            if SCALE and b == FULL:
                times = tl.load(factor + c, mask=live, other=0.0).to(tl.float64)
            of_part = times * of_x
        of_weight = (of_part - mean * of_all) * inverse
        slant = -scale * inverse * of_weight / n
        level = -scale * of_all / n - slant * mean
        tl.store(of_weights + at, of_weight, mask=live)
        tl.store(of_biases + at, of_all, mask=live)
        if b < FULL:
            tl.store(lines + at, scale, mask=live)
            tl.store(lines + (FULL + 1) * channels + at, level, mask=live)
            tl.store(lines + 2 * (FULL + 1) * channels + at, slant, mask=live)
        else:
            along += times * scale
            still += times * level
            back += times * times * slant
            if SCALE and b == FULL:
                x_mean = tl.load(kept + 2 * NORMS * channels + c, mask=live, other=0.0)
                variance = tl.load(kept + (2 * NORMS + 1) * channels + c, mask=live, other=0.0)
                x_mean = x_mean.to(tl.float64)
                square = variance.to(tl.float64) + x_mean * x_mean
                found = scale * of_x + n * (level * x_mean + slant * times * square)
                tl.store(of_factor + c, found, mask=live)
    at = FULL * channels + c
    tl.store(lines + at, along, mask=live)
    tl.store(lines + (FULL + 1) * channels + at, still, mask=live)
    tl.store(lines + 2 * (FULL + 1) * channels + at, back, mask=live)


@kernel("rows", "pairs", *of_maps("grad", "out", "y", "x", "dy", "dx", "more"))
def slopes(
    grad: tl.tensor,
    out: tl.tensor,
    y: tl.tensor,
    x: tl.tensor,
    lines: tl.tensor,
    dy: tl.tensor,
    dx: tl.tensor,
    more: tl.tensor,
    rows: tl.tensor,
    pairs: tl.tensor,
    grad_offset: tl.tensor,
    grad_stride: tl.tensor,
    out_offset: tl.tensor,
    out_stride: tl.tensor,
    y_offset: tl.tensor,
    y_stride: tl.tensor,
    x_offset: tl.tensor,
    x_stride: tl.tensor,
    dy_offset: tl.tensor,
    dy_stride: tl.tensor,
    dx_offset: tl.tensor,
    dx_stride: tl.tensor,
    more_offset: tl.tensor,
    more_stride: tl.tensor,
    FULL: tl.constexpr,
    HAS_X: tl.constexpr,
    RELU: tl.constexpr,
    HAS_MORE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Fill gradients ``dy`` of the parts, and ``dx`` of ``x`` through its norms plus ``more``."""
    REAL = lines.dtype.element_ty
    channels = pairs * 2
    begin, c, _ = tile_of(channels, ROWS, COLUMNS)
    r = (begin + tl.arange(0, ROWS))[:, None]
    there = c < channels
    live = (r < rows) & there
    g = _slope(grad, out, r, c, live, grad_offset, grad_stride, out_offset, out_stride, REAL, RELU)
    next_line = (FULL + 1) * channels
    for b in tl.static_range(FULL):
        line = lines + b * channels + c
        part = tl.load(y + place(r, b * channels + c, y_offset, y_stride), mask=live, other=0.0)
        value = (
            tl.load(line, mask=there, other=0.0) * g
            + tl.load(line + next_line, mask=there, other=0.0)
            + tl.load(line + 2 * next_line, mask=there, other=0.0) * part.to(REAL)
        )
        tl.store(dy + place(r, b * channels + c, dy_offset, dy_stride), value, mask=live)
    if HAS_X:
        line = lines + FULL * channels + c
        part = tl.load(x + place(r, c, x_offset, x_stride), mask=live, other=0.0)
        value = (
            tl.load(line, mask=there, other=0.0) * g
            + tl.load(line + next_line, mask=there, other=0.0)
            + tl.load(line + 2 * next_line, mask=there, other=0.0) * part.to(REAL)
        )
        if HAS_MORE:
            at = place(r, c, more_offset, more_stride)
            value += tl.load(more + at, mask=live, other=0.0).to(REAL)
        tl.store(dx + place(r, c, dx_offset, dx_stride), value, mask=live)
