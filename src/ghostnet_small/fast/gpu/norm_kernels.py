"""Triton kernels of summed batch norms, launched by ``norms``.

A tile is ``(ROWS, COLUMNS)`` of a map: pixels by channels. Strides, offsets and counts of columns
are in units of two, so that Triton knows that it may load two at once. Nothing is specialised: one
compiled kernel is used for all layers of a network.
"""

# Triton has no types, and its tuples grow, so every step would have another type.
# mypy: disable-error-code="import-untyped, import-not-found, assignment, var-annotated, misc"

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl


def kernel(*names: str) -> Any:
    """Return a decorator for a Triton kernel that is not specialised on arguments ``names``."""

    def made(function: Any) -> Any:
        there = [name for name in function.__code__.co_varnames if name in names]
        return triton.jit(do_not_specialize=there)(function)

    return made


_MAP = ("offset", "stride")
# Parts of packed tensors, which may have any alignment.
SLICES = (
    *("weights", "biases", "factor", "running_means", "running_variances"),
    *("of_weights", "of_biases", "of_factor"),
)


def of_maps(*maps: str) -> list[str]:
    """Return the names of the offsets and strides of ``maps``."""
    return [f"{name}_{part}" for name in maps for part in _MAP]


@triton.jit
def place(rows: tl.tensor, columns: tl.tensor, offset: tl.tensor, stride: tl.tensor) -> Any:
    """Return positions in a map; ``offset`` and ``stride`` are in units of two."""
    return rows.to(tl.int64) * (stride * 2) + (columns + offset * 2)


@triton.jit
def tile_of(columns: tl.tensor, ROWS: tl.constexpr, COLUMNS: tl.constexpr) -> Any:
    """Return the first row of this program's tile, its columns ``(1, COLUMNS)``, and tiles a row.

    Neighbours in a row run at the same time: they share sectors of memory.
    """
    blocks = tl.cdiv(columns, COLUMNS)
    program = tl.program_id(0)
    c = program % blocks * COLUMNS + tl.arange(0, COLUMNS)
    return program // blocks * ROWS, c[None, :], blocks


@kernel("rows", "y_pairs", "x_pairs", *of_maps("y", "x"))
def column_sums(
    y: tl.tensor,
    x: tl.tensor,
    sums: tl.tensor,
    rows: tl.tensor,
    y_pairs: tl.tensor,
    x_pairs: tl.tensor,
    y_offset: tl.tensor,
    y_stride: tl.tensor,
    x_offset: tl.tensor,
    x_stride: tl.tensor,
    HAS_X: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Fill ``sums (programs, 2, columns)`` with each column's sum and its sum of squares.

    The columns are those of ``y``, then those of ``x``.
    """
    REAL = sums.dtype.element_ty
    ys = y_pairs * 2
    xs = x_pairs * 2
    columns = ys + xs
    begin, c, blocks = tile_of(columns, ROWS, COLUMNS)
    first = tl.zeros((ROWS, COLUMNS), REAL)
    second = tl.zeros((ROWS, COLUMNS), REAL)
    step = tl.num_programs(0) // blocks * ROWS
    for start in range(begin, rows, step):
        r = (start + tl.arange(0, ROWS))[:, None]
        live = r < rows
        value = tl.load(y + place(r, c, y_offset, y_stride), mask=live & (c < ys), other=0.0)
        value = value.to(REAL)
        if HAS_X:
            inside = live & (c >= ys) & (c < ys + xs)
            more = tl.load(x + place(r, c - ys, x_offset, x_stride), mask=inside, other=0.0)
            value += more.to(REAL)
        first += value
        second += value * value
    sums += begin // ROWS * 2 * columns + c
    tl.store(sums, tl.sum(first, axis=0, keep_dims=True), mask=c < columns)
    tl.store(sums + columns, tl.sum(second, axis=0, keep_dims=True), mask=c < columns)


@triton.jit
def total_of(
    sums: tl.tensor,
    c: tl.tensor,
    live: tl.tensor,
    programs: tl.tensor,
    stride: tl.tensor,
    LANES: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> Any:
    """Return the sum over all programs, at most ``LANES``, of columns ``c`` ``(1, COLUMNS)``."""
    p = tl.arange(0, LANES)[:, None]
    parts = tl.load(sums + p * stride + c, mask=(p < programs) & live, other=0.0)
    return tl.sum(parts, axis=0, keep_dims=True).to(tl.float64)


@triton.jit
def _track(
    running: tl.tensor,
    square: tl.tensor,
    at: tl.tensor,
    live: tl.tensor,
    mean: tl.tensor,
    variance: tl.tensor,
    momentum: tl.tensor,
    unbiased: tl.tensor,
) -> None:
    old = tl.load(running + at, mask=live, other=0.0).to(tl.float64)
    tl.store(running + at, old + momentum * (mean - old), mask=live)
    old = tl.load(square + at, mask=live, other=0.0).to(tl.float64)
    tl.store(square + at, old + momentum * (variance * unbiased - old), mask=live)


@kernel("programs", "channels", "count", *SLICES)
def normalisers(
    sums: tl.tensor,
    weights: tl.tensor,
    biases: tl.tensor,
    factor: tl.tensor,
    running_means: tl.tensor,
    running_variances: tl.tensor,
    scales: tl.tensor,
    shift: tl.tensor,
    kept: tl.tensor,
    programs: tl.tensor,
    channels: tl.tensor,
    count: tl.tensor,
    epsilon: tl.tensor,
    momentum: tl.tensor,
    FULL: tl.constexpr,
    SCALE: tl.constexpr,
    SKIP: tl.constexpr,
    HAS_X: tl.constexpr,
    TRAINING: tl.constexpr,
    LANES: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Fill ``scales (FULL + 1, Q)`` (last row: ``x``) and ``shift (Q)`` from ``column_sums``.

    ``kept (2, norms, Q)`` gets means and inverse deviations of the norms, followed by mean and
    variance of ``x``. The norms are ``FULL`` ones of ``Q`` columns of ``y`` each, then one of ``x``
    times ``factor`` where ``SCALE``, then one of ``x`` where ``SKIP``. Updates running statistics.
    """
    NORMS: tl.constexpr = FULL + SCALE + SKIP
    PARTS: tl.constexpr = FULL + HAS_X
    c = (tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    live = c < channels
    n = count.to(tl.float64)
    unbiased = n / (n - 1.0)
    total = tl.zeros((1, COLUMNS), tl.float64)
    x_scale = tl.zeros((1, COLUMNS), tl.float64)
    x_mean = tl.zeros((1, COLUMNS), tl.float64)
    x_variance = tl.zeros((1, COLUMNS), tl.float64)
    stride = 2 * PARTS * channels
    if TRAINING and PARTS > FULL:
        column = FULL * channels + c
        x_mean = total_of(sums, column, live, programs, stride, LANES, COLUMNS) / n
        square = total_of(sums, PARTS * channels + column, live, programs, stride, LANES, COLUMNS)
        x_variance = tl.maximum(square / n - x_mean * x_mean, 0.0)
    for b in tl.static_range(NORMS):
        at = b * channels + c
        if TRAINING:
            if b < FULL:
                mean = total_of(sums, at, live, programs, stride, LANES, COLUMNS) / n
                square = total_of(
                    sums, PARTS * channels + at, live, programs, stride, LANES, COLUMNS
                )
                variance = tl.maximum(square / n - mean * mean, 0.0)
            elif SCALE and b == FULL:
                times = tl.load(factor + c, mask=live, other=0.0).to(tl.float64)
                mean = times * x_mean
                variance = times * times * x_variance
            else:
                mean = x_mean
                variance = x_variance
            _track(running_means, running_variances, at, live, mean, variance, momentum, unbiased)
        else:
            mean = tl.load(running_means + at, mask=live, other=0.0).to(tl.float64)
            variance = tl.load(running_variances + at, mask=live, other=0.0).to(tl.float64)
        inverse = 1.0 / tl.sqrt(variance + epsilon)
        scale = tl.load(weights + at, mask=live, other=0.0).to(tl.float64) * inverse
        total += tl.load(biases + at, mask=live, other=0.0).to(tl.float64) - mean * scale
        tl.store(kept + at, mean, mask=live)
        tl.store(kept + NORMS * channels + at, inverse, mask=live)
        if b < FULL:
            tl.store(scales + at, scale, mask=live)
        elif SCALE and b == FULL:
            x_scale += scale * tl.load(factor + c, mask=live, other=0.0).to(tl.float64)
        else:
            x_scale += scale
    tl.store(scales + FULL * channels + c, x_scale, mask=live)
    tl.store(kept + 2 * NORMS * channels + c, x_mean, mask=live)
    tl.store(kept + (2 * NORMS + 1) * channels + c, x_variance, mask=live)
    tl.store(shift + c, total, mask=live)


@kernel("rows", "pairs", *of_maps("y", "x", "out", "more", "sum"))
def combine(
    y: tl.tensor,
    x: tl.tensor,
    scales: tl.tensor,
    shift: tl.tensor,
    out: tl.tensor,
    more: tl.tensor,
    sum: tl.tensor,
    rows: tl.tensor,
    pairs: tl.tensor,
    y_offset: tl.tensor,
    y_stride: tl.tensor,
    x_offset: tl.tensor,
    x_stride: tl.tensor,
    out_offset: tl.tensor,
    out_stride: tl.tensor,
    more_offset: tl.tensor,
    more_stride: tl.tensor,
    sum_offset: tl.tensor,
    sum_stride: tl.tensor,
    FULL: tl.constexpr,
    HAS_X: tl.constexpr,
    RELU: tl.constexpr,
    HAS_OUT: tl.constexpr,
    HAS_SUM: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Fill ``out`` with the sum of the parts of ``y`` and ``x``, scaled, plus the shift.

    With ``RELU`` its ReLU is stored. ``sum`` gets the same plus ``more``.
    """
    channels = pairs * 2
    begin, c, _ = tile_of(channels, ROWS, COLUMNS)
    r = (begin + tl.arange(0, ROWS))[:, None]
    live = (r < rows) & (c < channels)
    value = tl.load(shift + c, mask=c < channels, other=0.0)
    REAL = shift.dtype.element_ty
    value = value + tl.zeros((ROWS, COLUMNS), REAL)
    for b in tl.static_range(FULL):
        part = tl.load(y + place(r, b * channels + c, y_offset, y_stride), mask=live, other=0.0)
        value += part.to(REAL) * tl.load(scales + b * channels + c, mask=c < channels, other=0.0)
    if HAS_X:
        part = tl.load(x + place(r, c, x_offset, x_stride), mask=live, other=0.0)
        value += part.to(REAL) * tl.load(scales + FULL * channels + c, mask=c < channels, other=0.0)
    if RELU:
        value = tl.maximum(value, 0.0)
    if HAS_OUT:
        tl.store(out + place(r, c, out_offset, out_stride), value, mask=live)
    if HAS_SUM:
        part = tl.load(more + place(r, c, more_offset, more_stride), mask=live, other=0.0)
        tl.store(sum + place(r, c, sum_offset, sum_stride), value + part.to(REAL), mask=live)
