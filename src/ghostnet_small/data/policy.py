"""TrivialAugment and RandAugment for whole batches, in integer arithmetic only.

Every operation takes uint8 images ``(n, C, H, W)``, one whole-number level per image, int64
``(n,)``, and the fill ``(C,)`` for pixels that come from outside, and returns new images of the
same shape. Fractions are fixed-point numbers with 16 bits behind the point (Q16), so a view is
the same bit for bit on every device and in every batch. What an operation does follows Pillow,
whose operations both papers used; where Pillow cuts a fraction off, these round.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ghostnet_small.data.constants import constant
from ghostnet_small.data.counter_rng import below

ONE = 1 << 16  # 1.0 in Q16
STRONGEST = 30  # magnitudes are 0 .. 30
LUMA = (19595, 38470, 7471)  # Q16 weights of red, green and blue, ITU-R 601-2 as in Pillow
SINES = tuple(round(math.sin(math.radians(half / 2)) * ONE) for half in range(720))


def identity(images: Tensor, level: Tensor, fill: Tensor) -> Tensor:
    """The images as they are."""
    return images


def shear_x(images: Tensor, level: Tensor, fill: Tensor) -> Tensor:
    """Row y reads ``level`` (Q16) times y further right; the top left corner stays."""
    one, zero = torch.full_like(level, ONE), torch.zeros_like(level)
    return _affine(images, (one, level, zero), (zero, one, zero), fill)


def shear_y(images: Tensor, level: Tensor, fill: Tensor) -> Tensor:
    """Column x reads ``level`` (Q16) times x further down; the top left corner stays."""
    one, zero = torch.full_like(level, ONE), torch.zeros_like(level)
    return _affine(images, (one, zero, zero), (level, one, zero), fill)


def translate_x(images: Tensor, level: Tensor, fill: Tensor) -> Tensor:
    """Moves an image ``level`` pixels to the right."""
    one, zero = torch.full_like(level, ONE), torch.zeros_like(level)
    return _affine(images, (one, zero, -2 * ONE * level), (zero, one, zero), fill)


def translate_y(images: Tensor, level: Tensor, fill: Tensor) -> Tensor:
    """Moves an image ``level`` pixels down."""
    one, zero = torch.full_like(level, ONE), torch.zeros_like(level)
    return _affine(images, (one, zero, zero), (zero, one, -2 * ONE * level), fill)


def rotate(images: Tensor, level: Tensor, fill: Tensor) -> Tensor:
    """Turns an image ``level`` half degrees counter-clockwise about its middle."""
    height, width = images.shape[2:]
    sines = constant(SINES, torch.int64, images.device)
    sin, cos = sines[level % 720], sines[(level + 180) % 720]
    across = (cos, -sin, width * ONE - cos * width + sin * height)
    down = (sin, cos, height * ONE - sin * width - cos * height)
    return _affine(images, across, down, fill)


def brightness(images: Tensor, level: Tensor, fill: Tensor) -> Tensor:
    """Blends with black; the factor is 1 + ``level`` (Q16)."""
    return _blend(images, torch.zeros_like(images, dtype=torch.int32), level)


def color(images: Tensor, level: Tensor, fill: Tensor) -> Tensor:
    """Blends with the grey image; the factor is 1 + ``level`` (Q16). Grey images stay."""
    return _blend(images, _grey(images), level)


def contrast(images: Tensor, level: Tensor, fill: Tensor) -> Tensor:
    """Blends with the mean of the grey image; the factor is 1 + ``level`` (Q16)."""
    grey = _grey(images).flatten(1)
    count = grey.shape[1]
    mean = (2 * grey.sum(1) + count) // (2 * count)
    return _blend(images, mean.int()[:, None, None, None], level)


def sharpness(images: Tensor, level: Tensor, fill: Tensor) -> Tensor:
    """Blends with a smoothed image; the factor is 1 + ``level`` (Q16). Border pixels stay."""
    height, width = images.shape[2:]
    smooth = images.int()
    if min(height, width) > 2:
        total = 4 * smooth[:, :, 1:-1, 1:-1]
        for y in range(3):
            for x in range(3):
                total = total + smooth[:, :, y : height - 2 + y, x : width - 2 + x]
        smooth[:, :, 1:-1, 1:-1] = (2 * total + 13) // 26
    return _blend(images, smooth, level)


def posterize(images: Tensor, level: Tensor, fill: Tensor) -> Tensor:
    """Keeps the ``level`` highest bits (1 .. 8) of every value."""
    return images & (256 - (1 << (8 - level))).to(torch.uint8)[:, None, None, None]


def solarize(images: Tensor, level: Tensor, fill: Tensor) -> Tensor:
    """Inverts the values from ``level`` (0 .. 256) up."""
    bright = images.to(torch.int16) >= level.to(torch.int16)[:, None, None, None]
    return torch.where(bright, 255 - images, images)


def autocontrast(images: Tensor, level: Tensor, fill: Tensor) -> Tensor:
    """Stretches each channel to 0 .. 255; a channel of one value stays."""
    values = images.int()
    low = values.amin((2, 3), keepdim=True)
    span = values.amax((2, 3), keepdim=True) - low
    stretched = (510 * (values - low) + span) // (2 * span).clamp(min=1)
    return torch.where(span > 0, stretched, values).to(torch.uint8)


def equalize(images: Tensor, level: Tensor, fill: Tensor) -> Tensor:
    """Makes each channel's histogram flat, as far as whole steps of Pillow's table allow.

    A step is a 255th of the pixels, cut to a whole number; channels with fewer than 255 pixels
    below their highest value stay as they are, among them all images under 16 x 16.
    """
    n, channels = images.shape[:2]
    values = images.flatten(2).long()
    rows = 256 * torch.arange(n * channels, device=images.device).view(n, channels, 1)
    histogram = torch.bincount((values + rows).flatten(), minlength=256 * n * channels)
    histogram = histogram.view(n, channels, 256)
    at_highest = histogram.gather(2, values.amax(2, keepdim=True))
    step = (values.shape[2] - at_highest) // 255
    under = histogram.cumsum(2) - histogram
    table = ((under + step // 2) // step.clamp(min=1)).clamp(max=255)
    equalized = table.gather(2, values)
    return torch.where(step > 0, equalized, values).to(torch.uint8).view_as(images)


Operation = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Scaled:
    """An operation with its level at each magnitude 0 .. 30; ``signed``: of either sign."""

    operation: Operation
    levels: tuple[int, ...]
    signed: bool


Space = tuple[Scaled, ...]


@lru_cache
def trivialaugment_space(height: int, width: int) -> Space:
    """The fourteen operations of TrivialAugment's Wide space, for ``height x width`` images.

    Source: arXiv:2103.10158, and its authors' code.
    Differs from the paper: a translation reaches 32 pixels, as there, but never further than the
    image's side, where it empties the image. That changes images under 32 pixels only.
    """
    return _space(
        shear_percent=99,
        reach=(min(32, height), min(32, width)),
        half_degrees=270,
        factor_percent=99,
        fewest_bits=2,
    )


@lru_cache
def randaugment_space(height: int, width: int) -> Space:
    """The fourteen operations of RandAugment, for ``height x width`` images.

    Source: arXiv:1909.13719, section 3.
    Differs from the paper: ranges and directions are torchvision's, in which every operation
    grows stronger with the magnitude: a translation reaches 150/331 of the side, solarize goes
    down from 256, posterize from 8 to 4 bits, and colour factors go both ways from 1.
    """
    return _space(
        shear_percent=30,
        reach=(150 * height // 331, 150 * width // 331),
        half_degrees=60,
        factor_percent=90,
        fewest_bits=4,
    )


def trivialaugment(images: Tensor, words: Tensor, fill: tuple[int, ...]) -> Tensor:
    """One operation per image, of uniform kind and magnitude, by random words ``(N, 4)``."""
    space = trivialaugment_space(images.shape[2], images.shape[3])
    return _apply(images, space, words, below(words[:, 1], STRONGEST + 1), fill)


def randaugment(images: Tensor, words: Tensor, magnitude: int, fill: tuple[int, ...]) -> Tensor:
    """One operation per image, of uniform kind, by random words ``(N, 4)``.

    RandAugment calls this as often as it has operations, each time with other words.
    """
    space = randaugment_space(images.shape[2], images.shape[3])
    return _apply(images, space, words, torch.full_like(words[:, 1], magnitude), fill)


def _space(
    *,
    shear_percent: int,
    reach: tuple[int, int],
    half_degrees: int,
    factor_percent: int,
    fewest_bits: int,
) -> Space:
    magnitudes = range(STRONGEST + 1)

    def levels(strongest: int) -> tuple[int, ...]:
        return tuple(strongest * m // STRONGEST for m in magnitudes)

    shear = levels(ONE * shear_percent // 100)
    factor = levels(ONE * factor_percent // 100)
    lost_bits = 8 - fewest_bits
    bits = tuple(8 - (lost_bits * m + STRONGEST // 2) // STRONGEST for m in magnitudes)
    unused = levels(0)
    return (
        Scaled(identity, unused, False),
        Scaled(shear_x, shear, True),
        Scaled(shear_y, shear, True),
        Scaled(translate_x, levels(reach[1]), True),
        Scaled(translate_y, levels(reach[0]), True),
        Scaled(rotate, levels(half_degrees), True),
        Scaled(brightness, factor, True),
        Scaled(color, factor, True),
        Scaled(contrast, factor, True),
        Scaled(sharpness, factor, True),
        Scaled(posterize, bits, False),
        Scaled(solarize, tuple(256 - level for level in levels(256)), False),
        Scaled(autocontrast, unused, False),
        Scaled(equalize, unused, False),
    )


def _apply(
    images: Tensor, space: Space, words: Tensor, magnitude: Tensor, fill: tuple[int, ...]
) -> Tensor:
    """Draws each image's operation and sign, and runs every operation once, on its images."""
    device = images.device
    drawn = below(words[:, 0], len(space))
    table = constant(tuple(scaled.levels for scaled in space), torch.int64, device)
    signed = constant(tuple(scaled.signed for scaled in space), torch.bool, device)
    level = table[drawn, magnitude]
    level = torch.where(signed[drawn] & (below(words[:, 2], 2) == 1), -level, level)
    colour = constant(fill, torch.uint8, device)

    # Sorted by operation, so that one look at the counts (on a GPU: one wait) cuts all groups.
    order = drawn.argsort(stable=True)
    counts = torch.bincount(drawn, minlength=len(space)).tolist()
    out = torch.empty_like(images)
    for scaled, rows in zip(space, torch.split(order, counts), strict=True):
        if len(rows):
            out[rows] = scaled.operation(images[rows], level[rows], colour)
    return out


def _affine(
    images: Tensor,
    across: tuple[Tensor, Tensor, Tensor],
    down: tuple[Tensor, Tensor, Tensor],
    fill: Tensor,
) -> Tensor:
    """Each pixel of the result reads the nearest one at an affine map of its own middle.

    ``across`` and ``down`` hold the factors (Q16) of x, y and 1 for the column and the row to
    read, in half pixels: the middles of pixels are then the odd whole numbers.
    """
    n, channels, height, width = images.shape
    x = 2 * torch.arange(width, device=images.device) + 1
    y = 2 * torch.arange(height, device=images.device)[:, None] + 1

    def read(factors: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        of_x, of_y, offset = (factor[:, None, None] for factor in factors)
        return (of_x * x + (of_y * y + offset)) >> 17

    column, row = read(across), read(down)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    pixels = torch.where(inside, row * width + column, 0).flatten(1)[:, None]
    moved = images.flatten(2).gather(2, pixels.expand(n, channels, -1)).view_as(images)
    return torch.where(inside[:, None], moved, fill[:, None, None])


def _blend(images: Tensor, base: Tensor, level: Tensor) -> Tensor:
    """``base + (1 + level) (images - base)``, rounded and cut to 0 .. 255; ``level`` is Q16."""
    factor = (ONE + level).int()[:, None, None, None]
    change = ((images.int() - base) * factor + ONE // 2) >> 16
    return (base + change).clamp_(0, 255).to(torch.uint8)


def _grey(images: Tensor) -> Tensor:
    """Luma of images with three channels, int32 ``(n, 1, H, W)``; others as they are."""
    values = images.int()
    if values.shape[1] != 3:
        return values
    red, green, blue = values.unbind(1)
    luma = (red * LUMA[0] + green * LUMA[1] + blue * LUMA[2] + ONE // 2) >> 16
    return luma[:, None]
