"""Triton kernels of operations other than convolutions and norms, launched by ``maps``.

Maps are as in ``norm_kernels``.
"""

# mypy: disable-error-code="import-untyped, import-not-found, assignment, var-annotated"

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from ghostnet_small.fast.gpu.norm_kernels import kernel, place, tile_of


@kernel("pictures", "channels", "height", "width", "s_n", "s_c", "s_h", "s_w", "columns")
def patches(
    x: tl.tensor,
    out: tl.tensor,
    pictures: tl.tensor,
    channels: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    s_n: tl.tensor,
    s_c: tl.tensor,
    s_h: tl.tensor,
    s_w: tl.tensor,
    columns: tl.tensor,
    KERNEL: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Fill ``out (pixels, columns)`` with the window of each pixel: the channels tap by tap, then
    zeros."""
    begin, k, _ = tile_of(columns, ROWS, COLUMNS)
    r = (begin + tl.arange(0, ROWS))[:, None]
    live = (r < pictures * height * width) & (k < columns)
    tap = k // channels
    c = k % channels
    h = r // width % height + tap // KERNEL - KERNEL // 2
    w = r % width + tap % KERNEL - KERNEL // 2
    n = (r // (height * width)).to(tl.int64)
    inside = live & (tap < KERNEL * KERNEL) & (h >= 0) & (h < height) & (w >= 0) & (w < width)
    value = tl.load(x + n * s_n + c * s_c + h * s_h + w * s_w, mask=inside, other=0.0)
    tl.store(out + r.to(tl.int64) * columns + k, value, mask=live)


@kernel("pictures", "pairs", "height", "width")
def pool(
    x: tl.tensor,
    out: tl.tensor,
    pictures: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    pairs: tl.tensor,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Fill ``out`` with means of 2x2 pixels; a last odd row or column is left out."""
    high = height // 2
    wide = width // 2
    channels = pairs * 2
    begin, c, _ = tile_of(channels, ROWS, COLUMNS)
    r = (begin + tl.arange(0, ROWS))[:, None]
    live = (r < pictures * high * wide) & (c < channels)
    n = r // (high * wide)
    at = (n * height + r // wide % high * 2) * width + r % wide * 2
    total = tl.load(x + place(at, c, 0, pairs), mask=live, other=0.0).to(tl.float32)
    total += tl.load(x + place(at + 1, c, 0, pairs), mask=live, other=0.0)
    total += tl.load(x + place(at + width, c, 0, pairs), mask=live, other=0.0)
    total += tl.load(x + place(at + width + 1, c, 0, pairs), mask=live, other=0.0)
    tl.store(out + place(r, c, 0, pairs), total * 0.25, mask=live)


@kernel("pictures", "pairs", "height", "width")
def add_pool_slope(
    grad: tl.tensor,
    dx: tl.tensor,
    pictures: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    pairs: tl.tensor,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Add the gradient through ``pool`` to ``dx``."""
    high = height // 2
    wide = width // 2
    channels = pairs * 2
    begin, c, _ = tile_of(channels, ROWS, COLUMNS)
    r = (begin + tl.arange(0, ROWS))[:, None]
    h = r // width % height
    w = r % width
    live = (r < pictures * height * width) & (h < high * 2) & (w < wide * 2) & (c < channels)
    at = (r // (height * width) * high + h // 2) * wide + w // 2
    g = tl.load(grad + place(at, c, 0, pairs), mask=live, other=0.0).to(tl.float32)
    old = tl.load(dx + place(r, c, 0, pairs), mask=live, other=0.0).to(tl.float32)
    tl.store(dx + place(r, c, 0, pairs), old + g * 0.25, mask=live)


@triton.jit
def _source(position: tl.tensor, size: tl.tensor, of: tl.tensor) -> Any:
    """Return the nearest neighbour's position in a stretched map, by PyTorch's arithmetic."""
    scale = of.to(tl.float32) / size.to(tl.float32)
    return tl.minimum((position.to(tl.float32) * scale).to(tl.int32), of - 1)


@kernel("pictures", "pairs", "height", "width", "high", "wide")
def gate(
    x: tl.tensor,
    z: tl.tensor,
    out: tl.tensor,
    pictures: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    high: tl.tensor,
    wide: tl.tensor,
    pairs: tl.tensor,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Fill ``out`` with ``x`` times the sigmoid of ``z``, which is stretched to its size."""
    channels = pairs * 2
    begin, c, _ = tile_of(channels, ROWS, COLUMNS)
    r = (begin + tl.arange(0, ROWS))[:, None]
    live = (r < pictures * height * width) & (c < channels)
    up = _source(r // width % height, height, high)
    at = (r // (height * width) * high + up) * wide + _source(r % width, width, wide)
    value = tl.load(x + place(r, c, 0, pairs), mask=live, other=0.0).to(tl.float32)
    weight = tl.sigmoid(tl.load(z + place(at, c, 0, pairs), mask=live, other=0.0).to(tl.float32))
    tl.store(out + place(r, c, 0, pairs), value * weight, mask=live)


@kernel("pictures", "pairs", "height", "width", "high", "wide")
def gate_slopes(
    grad: tl.tensor,
    x: tl.tensor,
    z: tl.tensor,
    dx: tl.tensor,
    dz: tl.tensor,
    pictures: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    high: tl.tensor,
    wide: tl.tensor,
    pairs: tl.tensor,
    MOST: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Fill the gradients of ``gate``; a pixel of ``z`` sums those of all pixels it was stretched
    to, at most ``MOST`` in a row."""
    channels = pairs * 2
    begin, c, _ = tile_of(channels, ROWS, COLUMNS)
    r = (begin + tl.arange(0, ROWS))[:, None]
    live = (r < pictures * high * wide) & (c < channels)
    up = r // wide % high
    across = r % wide
    n = r // (high * wide)
    weight = tl.sigmoid(tl.load(z + place(r, c, 0, pairs), mask=live, other=0.0).to(tl.float32))
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for i in tl.static_range(MOST):
        h = up * height // high + i
        for j in tl.static_range(MOST):
            w = across * width // wide + j
            mine = live & (h < height) & (w < width)
            mine = mine & (_source(h, height, high) == up) & (_source(w, width, wide) == across)
            at = place((n * height + h) * width + w, c, 0, pairs)
            g = tl.load(grad + at, mask=mine, other=0.0).to(tl.float32)
            total += g * tl.load(x + at, mask=mine, other=0.0)
            tl.store(dx + at, g * weight, mask=mine)
    tl.store(dz + place(r, c, 0, pairs), total * weight * (1.0 - weight), mask=live)


@kernel("pixels", "pairs")
def means(
    x: tl.tensor,
    out: tl.tensor,
    pixels: tl.tensor,
    pairs: tl.tensor,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Fill ``out (N, C)`` with the means of an image's channels; ``program_id`` 1 is the image."""
    channels = pairs * 2
    c = (tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, pixels, ROWS):
        p = (start + tl.arange(0, ROWS))[:, None]
        at = place(tl.program_id(1) * pixels + p, c, 0, pairs)
        total += tl.load(x + at, mask=(p < pixels) & (c < channels), other=0.0)
    mean = tl.sum(total, axis=0, keep_dims=True) / pixels
    tl.store(out + tl.program_id(1) * channels + c, mean, mask=c < channels)


@triton.jit
def _hard_sigmoid(v: tl.tensor) -> Any:
    return tl.minimum(tl.maximum(v + 3.0, 0.0), 6.0) / 6.0


@kernel("pictures", "pixels", "pairs")
def excite(
    x: tl.tensor,
    v: tl.tensor,
    out: tl.tensor,
    pictures: tl.tensor,
    pixels: tl.tensor,
    pairs: tl.tensor,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Fill ``out`` with ``x`` times the hard sigmoid of ``v (N, C)``."""
    channels = pairs * 2
    begin, c, _ = tile_of(channels, ROWS, COLUMNS)
    r = (begin + tl.arange(0, ROWS))[:, None]
    live = (r < pictures * pixels) & (c < channels)
    weight = _hard_sigmoid(tl.load(v + r // pixels * channels + c, mask=live, other=0.0))
    value = tl.load(x + place(r, c, 0, pairs), mask=live, other=0.0).to(tl.float32)
    tl.store(out + place(r, c, 0, pairs), value * weight, mask=live)


@kernel("pixels", "pairs")
def excite_sums(
    grad: tl.tensor,
    x: tl.tensor,
    v: tl.tensor,
    dv: tl.tensor,
    pixels: tl.tensor,
    pairs: tl.tensor,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Fill ``dv (N, C)``, the gradient of ``v`` in ``excite``; ``program_id`` 1 is the image."""
    channels = pairs * 2
    c = (tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, pixels, ROWS):
        p = (start + tl.arange(0, ROWS))[:, None]
        at = place(tl.program_id(1) * pixels + p, c, 0, pairs)
        mask = (p < pixels) & (c < channels)
        g = tl.load(grad + at, mask=mask, other=0.0).to(tl.float32)
        total += g * tl.load(x + at, mask=mask, other=0.0)
    at = tl.program_id(1) * channels + c
    value = tl.load(v + at, mask=c < channels, other=0.0)
    slanted = (value > -3.0) & (value < 3.0)
    found = tl.where(slanted, tl.sum(total, axis=0, keep_dims=True) / 6.0, 0.0)
    tl.store(dv + at, found, mask=c < channels)


@kernel("pictures", "pixels", "pairs")
def excite_slopes(
    grad: tl.tensor,
    v: tl.tensor,
    of_mean: tl.tensor,
    dx: tl.tensor,
    pictures: tl.tensor,
    pixels: tl.tensor,
    pairs: tl.tensor,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Fill ``dx``, through ``excite`` and ``means``, whose gradient is ``of_mean (N, C)``."""
    channels = pairs * 2
    begin, c, _ = tile_of(channels, ROWS, COLUMNS)
    r = (begin + tl.arange(0, ROWS))[:, None]
    live = (r < pictures * pixels) & (c < channels)
    at = r // pixels * channels + c
    weight = _hard_sigmoid(tl.load(v + at, mask=live, other=0.0))
    g = tl.load(grad + place(r, c, 0, pairs), mask=live, other=0.0).to(tl.float32)
    value = g * weight + tl.load(of_mean + at, mask=live, other=0.0) / pixels
    tl.store(dx + place(r, c, 0, pairs), value, mask=live)
