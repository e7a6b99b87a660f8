"""What ``triton_windows`` launches.

A tile is ``(LANES, CHANNELS)``. A lane is one column of one picture and walks down it, the rows
that a window spans in registers, so that every row is read once and no two lanes ever wait for each
other. Tuples of tiles are arrays in registers: their indices are known when the kernel is compiled.
Sizes are not specialised: one compiled kernel serves all layers of a network.
"""

# Triton has no types, and its tuples grow, so that every step would be of another type.
# mypy: disable-error-code="import-untyped, import-not-found, assignment, var-annotated"

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

TAPS: tl.constexpr = tl.constexpr(9)
# What a program sums for a channel: the taps, then the products of each two, then its pivot.
TERMS: tl.constexpr = tl.constexpr(9 + 45)
SLOTS: tl.constexpr = tl.constexpr(9 + 45 + 1)
# One kernel of the gradient: 5x5, and a constant.
SPAN: tl.constexpr = tl.constexpr(5)
WEIGHTS: tl.constexpr = tl.constexpr(25 + 1)
PIVOT_PIXELS: tl.constexpr = tl.constexpr(16)

_SIZES = ["pictures", "channels", "height", "width", "out_height", "out_width"]
_STRIDES = [f"{tensor}stride_{axis}" for tensor in ("", "out_") for axis in ("n", "h", "w")]


def _jit(*names: str) -> Any:
    return triton.jit(do_not_specialize=list(names))


@triton.jit
def _patch(
    x: tl.tensor,
    shift: tl.tensor,
    live: tl.tensor,
    top: tl.tensor,
    left: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    stride_h: tl.tensor,
    stride_w: tl.tensor,
    REAL: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> Any:
    """``x`` less ``shift`` at ``ROWS * COLUMNS`` pixels of each lane; zeros around a picture."""
    patch = ()
    for row in tl.static_range(ROWS):
        for column in tl.static_range(COLUMNS):
            h = tl.full((1, 1), top + row, tl.int32)
            w = left + column
            inside = live & (h >= 0) & (h < height) & (w >= 0) & (w < width)
            value = tl.load(x + h * stride_h + w * stride_w, mask=inside, other=0.0)
            patch += (value.to(REAL) - shift,)
    return patch


@_jit(*_SIZES, *_STRIDES)
def window_sums(
    x: tl.tensor,
    sums: tl.tensor,
    pictures: tl.tensor,
    channels: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    out_height: tl.tensor,
    out_width: tl.tensor,
    stride_n: tl.tensor,
    stride_c: tl.tensor,
    stride_h: tl.tensor,
    stride_w: tl.tensor,
    STRIDE: tl.constexpr,
    LANES: tl.constexpr,
    CHANNELS: tl.constexpr,
) -> None:
    """``sums (programs, 55, C)`` of the taps and their products, both of ``x`` less a pivot.

    The pivot, a mean of some pixels, keeps the digits of a small variance around a large mean.
    """
    REAL = sums.dtype.element_ty
    c = (tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS))[None, :]
    some = tl.arange(0, PIVOT_PIXELS)[:, None] % width
    pixels = x + c * stride_c + (height // 2) * stride_h + some * stride_w
    pivot = tl.sum(tl.load(pixels, mask=c < channels, other=0.0).to(REAL), axis=0, keep_dims=True)
    pivot = pivot / PIVOT_PIXELS

    total = ()
    for _ in tl.static_range(TERMS):
        total += (tl.zeros((LANES, CHANNELS), REAL),)
    for block in range(tl.program_id(1), tl.cdiv(pictures * out_width, LANES), tl.num_programs(1)):
        lane = (block * LANES + tl.arange(0, LANES))[:, None]
        live = (lane < pictures * out_width) & (c < channels)
        left = lane % out_width * STRIDE - 1
        base = x + (lane // out_width).to(tl.int64) * stride_n + c * stride_c
        shift = tl.where(live, pivot, 0.0)
        taps = _patch(base, shift, live, -1, left, height, width, stride_h, stride_w, REAL, 3, 3)
        for h in range(out_height):
            # Asked for before the sums, so that they hide the wait.
            ahead = _patch(
                base,
                shift,
                live,
                h * STRIDE + 2,
                left,
                height,
                width,
                stride_h,
                stride_w,
                REAL,
                STRIDE,
                3,
            )
            terms = taps
            for i in tl.static_range(TAPS):
                for j in tl.static_range(i, TAPS):
                    terms += (taps[i] * taps[j],)
            more = ()
            for k in tl.static_range(TERMS):
                more += (total[k] + terms[k],)
            total = more
            taps = taps[3 * STRIDE :] + ahead

    sums += tl.program_id(1) * SLOTS * channels + c
    for k in tl.static_range(TERMS):
        column = tl.sum(total[k], axis=0, keep_dims=True)
        tl.store(sums + k * channels, column, mask=c < channels)
    tl.store(sums + TERMS * channels, pivot, mask=c < channels)


@_jit("programs", "channels", "count")
def moments_of_sums(
    sums: tl.tensor,
    first: tl.tensor,
    covariance: tl.tensor,
    programs: tl.tensor,
    channels: tl.tensor,
    count: tl.tensor,
    LANES: tl.constexpr,
    CHANNELS: tl.constexpr,
) -> None:
    """One covariance of each channel, in double precision: of the taps ``i``, ``j`` that
    ``program_id`` 0 and 1 name."""
    i = tl.program_id(0)
    j = tl.program_id(1)
    low = tl.minimum(i, j)
    pair = TAPS + low * (2 * TAPS - 1 - low) // 2 + tl.maximum(i, j)
    c = (tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS))[None, :]
    of_i = tl.zeros((LANES, CHANNELS), tl.float64)
    of_j = tl.zeros((LANES, CHANNELS), tl.float64)
    of_both = tl.zeros((LANES, CHANNELS), tl.float64)
    for start in range(0, programs, LANES):
        program = (start + tl.arange(0, LANES))[:, None]
        there = (program < programs) & (c < channels)
        row = sums + program * SLOTS * channels + c
        of_i += tl.load(row + i * channels, mask=there, other=0.0)
        of_j += tl.load(row + j * channels, mask=there, other=0.0)
        of_both += tl.load(row + pair * channels, mask=there, other=0.0)
    share = 1.0 / count.to(tl.float64)
    mean = tl.sum(of_i, axis=0, keep_dims=True) * share
    other = tl.sum(of_j, axis=0, keep_dims=True) * share
    centred = tl.sum(of_both, axis=0, keep_dims=True) * share - mean * other
    tl.store(covariance + (c * TAPS + i) * TAPS + j, centred, mask=c < channels)
    if i == j:
        pivot = tl.load(sums + TERMS * channels + c, mask=c < channels, other=0.0)
        tl.store(first + c * TAPS + i, mean + pivot, mask=c < channels)


@triton.jit
def _reaches(kind: tl.tensor, tap: tl.constexpr, size: tl.tensor, STRIDE: tl.constexpr) -> Any:
    """Whether a window sees a row (or column) of this kind with its tap ``0 .. 2``.

    Kinds for stride 1: the first, any inner one, the last. For stride 2: even ones, odd ones, and
    an odd one that is the last.
    """
    centre = tl.where(kind == 2, size - 1, kind) + 1 - tap
    return (centre >= 0) & (centre < size) & (centre % STRIDE == 0)


@_jit("channels", "height", "width")
def gradient_kernels(
    first: tl.tensor,
    second: tl.tensor,
    table: tl.tensor,
    channels: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    STRIDE: tl.constexpr,
    CHANNELS: tl.constexpr,
) -> None:
    """``table (3, 3, 26, C)``: the kernel that makes the gradient of a pixel, and its constant.

    A tap that sees the pixel passes on its row of ``second``, a part of a 5x5 kernel; which taps
    there are depends on the kinds of the pixel's row and column.
    """
    kinds = tl.full((CHANNELS,), tl.program_id(1), tl.int32)
    c = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    table += kinds * WEIGHTS * channels + c
    constant = tl.zeros((CHANNELS,), tl.float64)
    seen = ()
    for i in tl.static_range(TAPS):
        reaches = _reaches(kinds // 3, i // 3, height, STRIDE)
        reaches &= _reaches(kinds % 3, i % 3, width, STRIDE)
        seen += (reaches & (c < channels),)
        constant += tl.load(first + c * TAPS + i, mask=seen[i], other=0.0)
    tl.store(table + (WEIGHTS - 1) * channels, constant, mask=c < channels)
    for down in tl.static_range(SPAN):
        for right in tl.static_range(SPAN):
            weight = tl.zeros((CHANNELS,), tl.float64)
            for i in tl.static_range(TAPS):
                # The tap at this distance from tap i, where the window has one.
                row = i // 3 + down - 2
                column = i % 3 + right - 2
                if row >= 0 and row < 3 and column >= 0 and column < 3:
                    entry = second + (c * TAPS + i) * TAPS + 3 * row + column
                    weight += tl.load(entry, mask=seen[i], other=0.0)
            entry = table + (SPAN * down + right) * channels
            tl.store(entry, weight, mask=c < channels)


@_jit(*_SIZES, *_STRIDES)
def add_gradient(
    out: tl.tensor,
    x: tl.tensor,
    table: tl.tensor,
    pictures: tl.tensor,
    channels: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    out_stride_n: tl.tensor,
    out_stride_c: tl.tensor,
    out_stride_h: tl.tensor,
    out_stride_w: tl.tensor,
    stride_n: tl.tensor,
    stride_c: tl.tensor,
    stride_h: tl.tensor,
    stride_w: tl.tensor,
    STRIDE: tl.constexpr,
    LANES: tl.constexpr,
    CHANNELS: tl.constexpr,
) -> None:
    """Add to ``out`` each pixel's 5x5 surroundings times the kernel of its kind.

    A program has the rows of one kind, ``program_id`` 1, and so keeps its weights.
    """
    REAL = table.dtype.element_ty
    blocks = tl.cdiv(channels, CHANNELS)
    c = (tl.program_id(0) % blocks * CHANNELS + tl.arange(0, CHANNELS))[None, :]
    lane = (tl.program_id(0) // blocks * LANES + tl.arange(0, LANES))[:, None]
    live = (lane < pictures * width) & (c < channels)
    n = (lane // width).to(tl.int64)
    w = lane % width

    kind = tl.program_id(1)
    if STRIDE == 1:
        column_kind = tl.where(w == 0, 0, tl.where(w == width - 1, 2, 1))
        start = tl.where(kind == 2, tl.maximum(height - 1, 1), kind)
        stop = tl.where(kind == 0, 1, height - 1 + kind // 2)
    else:
        column_kind = tl.where(w % 2 == 0, 0, tl.where(w == width - 1, 2, 1))
        # An odd height's last row is an even one: then there is none of the third kind.
        start = tl.where(kind == 2, height - 1 + height % 2, kind)
        stop = tl.where(kind == 1, height - 1, height)

    table += (kind * 3 + column_kind) * WEIGHTS * channels + c
    weights = ()
    for k in tl.static_range(WEIGHTS):
        weights += (tl.load(table + k * channels, mask=live, other=0.0),)
    x += n * stride_n + c * stride_c
    out += n * out_stride_n + c * out_stride_c + w * out_stride_w
    around = _patch(
        x, 0.0, live, start - 2, w - 2, height, width, stride_h, stride_w, REAL, SPAN, SPAN
    )
    for h in range(start, stop, STRIDE):
        pixel = out + h * out_stride_h
        old = tl.load(pixel, mask=live, other=0.0)
        ahead = _patch(
            x, 0.0, live, h + 3, w - 2, height, width, stride_h, stride_w, REAL, STRIDE, SPAN
        )
        total = weights[SPAN * SPAN]
        for k in tl.static_range(SPAN * SPAN):
            total += weights[k] * around[k]
        tl.store(pixel, old.to(REAL) + total, mask=live)
        around = around[SPAN * STRIDE :] + ahead
