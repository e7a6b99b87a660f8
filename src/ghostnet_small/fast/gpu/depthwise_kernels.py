"""Triton kernels of depth-wise convolutions with several kernels, launched by ``layers``.

Maps are as in ``norm_kernels``; a map of images has height times width rows for each image.
"""

# mypy: disable-error-code="import-untyped, import-not-found, assignment, var-annotated"

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from ghostnet_small.fast.gpu.norm_kernels import kernel, place, tile_of

# With the kernels, a part of a packed tensor, which may have any alignment.
_SIZES = ("height", "width", "out_height", "out_width", "weights")


@triton.jit
def _tap(
    picture: tl.tensor,
    top: tl.tensor,
    left: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    live: tl.tensor,
) -> Any:
    """Return the row of a pixel, and whether it lies within the image."""
    inside = live & (top >= 0) & (top < height) & (left >= 0) & (left < width)
    return (picture * height + top) * width + left, inside


@kernel("pictures", "pairs", "x_offset", "x_stride", "y_stride", *_SIZES)
def convolve(
    x: tl.tensor,
    weights: tl.tensor,
    y: tl.tensor,
    pictures: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    out_height: tl.tensor,
    out_width: tl.tensor,
    pairs: tl.tensor,
    x_offset: tl.tensor,
    x_stride: tl.tensor,
    y_stride: tl.tensor,
    FULL: tl.constexpr,
    CENTRE: tl.constexpr,
    HIGH: tl.constexpr,
    WIDE: tl.constexpr,
    STRIDE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Fill ``y`` with the images convolved by each of ``FULL`` kernels ``weights (FULL, C, taps)``.

    With ``CENTRE`` the pixels under the kernels' centre follow.
    """
    REAL = weights.dtype.element_ty
    channels = pairs * 2
    begin, c, _ = tile_of(channels, ROWS, COLUMNS)
    r = (begin + tl.arange(0, ROWS))[:, None]
    there = c < channels
    rows = pictures * out_height * out_width
    of_row = r < rows
    live = of_row & there
    picture = r // (out_height * out_width)
    top = r // out_width % out_height * STRIDE - HIGH // 2
    left = r % out_width * STRIDE - WIDE // 2
    total = ()
    for _ in tl.static_range(FULL):
        total += (tl.zeros((ROWS, COLUMNS), REAL),)
    for tap in tl.static_range(HIGH * WIDE):
        at, inside = _tap(picture, top + tap // WIDE, left + tap % WIDE, height, width, of_row)
        value = tl.load(x + place(at, c, x_offset, x_stride), mask=inside & there, other=0.0)
        if CENTRE and tap == HIGH * WIDE // 2:
            tl.store(y + place(r, FULL * channels + c, 0, y_stride), value, mask=live)
        value = value.to(REAL)
        found = ()
        for b in tl.static_range(FULL):
            weight = weights + (b * channels + c) * (HIGH * WIDE) + tap
            found += (total[b] + value * tl.load(weight, mask=there, other=0.0),)
        total = found
    for b in tl.static_range(FULL):
        tl.store(y + place(r, b * channels + c, 0, y_stride), total[b], mask=live)


@kernel("pictures", "pairs", "x_offset", "x_stride", "dy_stride", *_SIZES)
def weight_sums(
    x: tl.tensor,
    dy: tl.tensor,
    sums: tl.tensor,
    pictures: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    out_height: tl.tensor,
    out_width: tl.tensor,
    pairs: tl.tensor,
    x_offset: tl.tensor,
    x_stride: tl.tensor,
    dy_stride: tl.tensor,
    FULL: tl.constexpr,
    HIGH: tl.constexpr,
    WIDE: tl.constexpr,
    STRIDE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Fill ``sums (programs, FULL, C, taps)``: each program's part of the kernels' gradients."""
    REAL = sums.dtype.element_ty
    TAPS: tl.constexpr = HIGH * WIDE
    channels = pairs * 2
    begin, c, blocks = tile_of(channels, ROWS, COLUMNS)
    there = c < channels
    total = ()
    for _ in tl.static_range(FULL * TAPS):
        total += (tl.zeros((ROWS, COLUMNS), REAL),)
    rows = pictures * out_height * out_width
    step = tl.num_programs(0) // blocks * ROWS
    for start in range(begin, rows, step):
        r = (start + tl.arange(0, ROWS))[:, None]
        of_row = r < rows
        picture = r // (out_height * out_width)
        top = r // out_width % out_height * STRIDE - HIGH // 2
        left = r % out_width * STRIDE - WIDE // 2
        taps = ()
        for tap in tl.static_range(TAPS):
            at, inside = _tap(picture, top + tap // WIDE, left + tap % WIDE, height, width, of_row)
            value = tl.load(x + place(at, c, x_offset, x_stride), mask=inside & there, other=0.0)
            taps += (value.to(REAL),)
        found = ()
        for b in tl.static_range(FULL):
            g = tl.load(
                dy + place(r, b * channels + c, 0, dy_stride), mask=of_row & there, other=0.0
            )
            g = g.to(REAL)
            for tap in tl.static_range(TAPS):
                found += (total[b * TAPS + tap] + g * taps[tap],)
        total = found
    sums += (begin // ROWS).to(tl.int64) * FULL * TAPS * channels + c * TAPS
    for b in tl.static_range(FULL):
        for tap in tl.static_range(TAPS):
            column = tl.sum(total[b * TAPS + tap], axis=0, keep_dims=True)
            tl.store(sums + b * channels * TAPS + tap, column, mask=there)


@kernel("programs", "numbers", "out")
def add_programs(
    sums: tl.tensor,
    out: tl.tensor,
    programs: tl.tensor,
    numbers: tl.tensor,
    LANES: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Fill ``out (numbers)`` with the sums over ``programs`` of ``sums (programs, numbers)``."""
    c = (tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    total = tl.zeros((LANES, COLUMNS), tl.float64)
    for start in range(0, programs, LANES):
        p = (start + tl.arange(0, LANES))[:, None]
        mask = (p < programs) & (c < numbers)
        total += tl.load(sums + p.to(tl.int64) * numbers + c, mask=mask, other=0.0)
    tl.store(out + c, tl.sum(total, axis=0, keep_dims=True), mask=c < numbers)


@kernel("pictures", "pairs", "dy_stride", "dx_stride", "more_offset", "more_stride", *_SIZES)
def input_slopes(
    dy: tl.tensor,
    weights: tl.tensor,
    dx: tl.tensor,
    more: tl.tensor,
    pictures: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    out_height: tl.tensor,
    out_width: tl.tensor,
    pairs: tl.tensor,
    dy_stride: tl.tensor,
    dx_stride: tl.tensor,
    more_offset: tl.tensor,
    more_stride: tl.tensor,
    FULL: tl.constexpr,
    CENTRE: tl.constexpr,
    HIGH: tl.constexpr,
    WIDE: tl.constexpr,
    STRIDE: tl.constexpr,
    HAS_MORE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Fill ``dx`` with the gradient of the input of ``convolve``, from ``dy``, plus ``more``."""
    REAL = weights.dtype.element_ty
    channels = pairs * 2
    begin, c, _ = tile_of(channels, ROWS, COLUMNS)
    r = (begin + tl.arange(0, ROWS))[:, None]
    there = c < channels
    of_row = r < pictures * height * width
    live = of_row & there
    picture = r // (height * width)
    bottom = r // width % height + HIGH // 2
    right = r % width + WIDE // 2
    total = tl.zeros((ROWS, COLUMNS), REAL)
    if HAS_MORE:
        at = place(r, c, more_offset, more_stride)
        total += tl.load(more + at, mask=live, other=0.0).to(REAL)
    for tap in tl.static_range(HIGH * WIDE):
        down = bottom - tap // WIDE
        across = right - tap % WIDE
        # Windows are STRIDE pixels apart: not every position around this pixel has one.
        seen = of_row & (down >= 0) & (across >= 0)
        if STRIDE > 1:
            seen &= (down % STRIDE == 0) & (across % STRIDE == 0)
        at, inside = _tap(picture, down // STRIDE, across // STRIDE, out_height, out_width, seen)
        inside = inside & there
        for b in tl.static_range(FULL):
            g = tl.load(dy + place(at, b * channels + c, 0, dy_stride), mask=inside, other=0.0)
            weight = weights + (b * channels + c) * (HIGH * WIDE) + tap
            total += g.to(REAL) * tl.load(weight, mask=there, other=0.0)
        if CENTRE and tap == HIGH * WIDE // 2:
            g = tl.load(dy + place(at, FULL * channels + c, 0, dy_stride), mask=inside, other=0.0)
            total += g.to(REAL)
    tl.store(dx + place(r, c, 0, dx_stride), total, mask=live)
