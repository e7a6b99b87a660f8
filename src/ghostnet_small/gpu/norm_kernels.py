"""Triton kernels of batch norms that are summed: what ``layers`` launches.

A tile is ``(ROWS, COLUMNS)`` of a map: pixels by channels. Strides, offsets and counts of columns
come in units of two, so that Triton knows that it may load two at once. Nothing is specialised:
one compiled kernel serves all layers of a network.
"""

# Triton has no types, and its tuples grow, so that every step would be of another type.
# mypy: disable-error-code="import-untyped, import-not-found, assignment, var-annotated, misc"

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl


def kernel(*names: str) -> Any:
    """A Triton kernel of which one version serves any value, or alignment, of its ``names``."""

    def made(function: Any) -> Any:
        there = [name for name in function.__code__.co_varnames if name in names]
        return triton.jit(do_not_specialize=there)(function)

    return made


_MAP = ("offset", "stride")
# Parts of packed tensors, which may begin anywhere.
_SLICES = (
    *("weights", "biases", "factor", "running_means", "running_variances"),
    *("of_weights", "of_biases", "of_factor"),
)


def _of(*maps: str) -> list[str]:
    return [f"{name}_{part}" for name in maps for part in _MAP]


@triton.jit
def place(rows: tl.tensor, columns: tl.tensor, offset: tl.tensor, stride: tl.tensor) -> Any:
    """Where a map has ``rows`` and ``columns``; ``offset`` and ``stride`` in units of two."""
    return rows.to(tl.int64) * (stride * 2) + (columns + offset * 2)


@triton.jit
def tile_of(columns: tl.tensor, ROWS: tl.constexpr, COLUMNS: tl.constexpr) -> Any:
    """The first row of this program's tile, its columns ``(1, COLUMNS)``, and how many tiles a row
    of them has. Neighbours in a row run at the same time: they share sectors of memory."""
    blocks = tl.cdiv(columns, COLUMNS)
    program = tl.program_id(0)
    c = program % blocks * COLUMNS + tl.arange(0, COLUMNS)
    return program // blocks * ROWS, c[None, :], blocks


@kernel("rows", "y_pairs", "x_pairs", *_of("y", "x"))
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
    """``sums (programs, 2, columns)`` of the numbers in each column, and of their squares: the
    columns of ``y``, then those of ``x``."""
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
def _total(
    sums: tl.tensor,
    c: tl.tensor,
    live: tl.tensor,
    programs: tl.tensor,
    stride: tl.tensor,
    LANES: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> Any:
    """The sum over all programs, at most ``LANES``, of the columns ``c`` ``(1, COLUMNS)``."""
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


@kernel("programs", "channels", "count", *_SLICES)
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
    """From ``column_sums`` to what is multiplied and added: ``scales (FULL + 1, Q)``, the last of
    them ``x``'s, and ``shift (Q)``; means and inverse deviations of the norms stay in
    ``kept (2, norms, Q)``, mean and variance of ``x`` behind them.

    The norms are ``FULL`` ones of a ``Q`` columns of ``y`` each, then one of ``x`` times
    ``factor`` where ``SCALE``, then one of ``x`` where ``SKIP``. Running statistics move on.
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
        x_mean = _total(sums, column, live, programs, stride, LANES, COLUMNS) / n
        square = _total(sums, PARTS * channels + column, live, programs, stride, LANES, COLUMNS)
        x_variance = tl.maximum(square / n - x_mean * x_mean, 0.0)
    for b in tl.static_range(NORMS):
        at = b * channels + c
        if TRAINING:
            if b < FULL:
                mean = _total(sums, at, live, programs, stride, LANES, COLUMNS) / n
                square = _total(sums, PARTS * channels + at, live, programs, stride, LANES, COLUMNS)
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


@kernel("rows", "pairs", *_of("y", "x", "out", "more", "sum"))
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
    """``out``: the parts of ``y``, and ``x``, each times its scale, and the shift; with ``RELU``
    that of it. ``sum``: the same and ``more``."""
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
    """The gradient in front of the ReLU."""
    g = tl.load(grad + place(r, c, grad_offset, grad_stride), mask=live, other=0.0).to(REAL)
    if RELU:
        o = tl.load(out + place(r, c, out_offset, out_stride), mask=live, other=0.0)
        g = tl.where(o > 0, g, 0.0)
    return g


@kernel("rows", "pairs", *_of("grad", "out", "y", "x"))
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
    """``sums (programs, 1 + FULL + HAS_X, Q)`` of the gradient, and of it times each part."""
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


@kernel("programs", "channels", "count", *_SLICES)
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
    """From ``slope_sums`` to the gradients of the norms and of ``factor``, and to ``lines``.

    Those are ``(3, FULL + 1, Q)``: the gradient of a part, the last of them ``x``, is
    ``lines[0] * g + lines[1] + lines[2] * part``.
    """
    NORMS: tl.constexpr = FULL + SCALE + SKIP
    PARTS: tl.constexpr = 1 + FULL + HAS_X
    c = (tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    live = c < channels
    n = count.to(tl.float64)
    stride = PARTS * channels
    of_all = _total(sums, c, live, programs, stride, LANES, COLUMNS)
    of_x = tl.zeros((1, COLUMNS), tl.float64)
    if PARTS > 1 + FULL:
        of_x = _total(sums, (1 + FULL) * channels + c, live, programs, stride, LANES, COLUMNS)
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
            of_part = _total(sums, (1 + b) * channels + c, live, programs, stride, LANES, COLUMNS)
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


@kernel("rows", "pairs", *_of("grad", "out", "y", "x", "dy", "dx", "more"))
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
    """The gradients ``dy`` of the parts, and ``dx`` of ``x`` through its norms, with ``more``."""
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
