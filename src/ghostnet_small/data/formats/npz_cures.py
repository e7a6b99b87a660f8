"""Cures for an array that is not read: how to save it as images or labels."""

from __future__ import annotations

import math

import numpy as np

CHANNELS = (1, 3)


def values_cure(dtype: np.dtype, low: float, high: float) -> str:
    """The expression that makes uint8 of images ``x`` whose values run from ``low`` to ``high``."""
    if dtype.kind == "b":
        return "x.astype('uint8') * 255"
    if dtype.kind in "iu":
        if low < 0:
            return "x - x.min(), scaled to 0 to 255, as uint8"
        # Cameras and microscopes write 12 bits into 16, most programs all 16.
        steps = {255: "x", 4095: "(x // 16)", 65535: "(x // 257)"}
        step = next((step for most, step in steps.items() if high <= most), "(x * 255 // x.max())")
        return f"{step}.astype('uint8')"
    if dtype.kind == "f" and low >= 0 and high <= 1:
        return "(x * 255).round().astype('uint8')"
    if dtype.kind == "f" and low >= 0 and high <= 255:
        return "x.round().astype('uint8')"
    if dtype.kind == "f" and -1 <= low < 0 and high <= 1:
        return "((x + 1) * 127.5).round().astype('uint8')"
    return "its values, scaled to 0 to 255, as uint8"


def shape_cure(shape: tuple[int, ...], count: int) -> str | None:
    """The expression that makes ``(N, H, W)`` or ``(N, H, W, C)`` of images ``x`` with ``count``
    labels; None where the shape is right or cannot be understood."""
    if len(shape) == 2 and shape[0] == count:
        return _square(shape[1])
    if len(shape) == 5 and shape[0] == count:
        return "one slice of each volume, such as x[:, x.shape[1] // 2]; volumes are not read"
    if len(shape) not in (3, 4) or count not in shape:
        return None
    images = 0 if shape[0] == count else shape.index(count)
    sides = [axis for axis in range(len(shape)) if axis != images]
    if len(shape) == 4:
        channels = [axis for axis in reversed(sides) if shape[axis] in CHANNELS]
        if not channels and shape[sides[-1]] == 4:
            return "x[..., :3]" if images == 0 else None
        if not channels and images == 0 and min(shape[1:]) > 4:
            return "one slice of each volume, such as x[:, x.shape[1] // 2]; volumes are not read"
        if not channels:
            return None
        sides = [axis for axis in sides if axis != channels[0]] + channels[:1]
    order = (images, *sides)
    return None if order == tuple(range(len(shape))) else f"x.transpose{order}"


def labels_cure(labels: np.ndarray, count: int) -> str | None:
    """The expression that makes integers ``(N,)`` of labels ``y`` for ``count`` images."""
    if labels.ndim == 2 and len(labels) == count and labels.shape[1] > 1:
        one_hot = np.isin(labels, (0, 1)).all() and (labels.sum(1) == 1).all()
        if one_hot:
            return "y.argmax(1)"
        return "one column, such as y[:, 0]; several labels for an image are not read"
    if labels.ndim <= 2 and labels.size == count and labels.dtype.kind == "f":
        if (labels == np.round(labels)).all():
            return "y.astype('int64')"
        return "whole numbers; measured values are not classes"
    return None


def _square(pixels: int) -> str | None:
    for channels in CHANNELS:
        side = math.isqrt(pixels // channels)
        if side * side * channels == pixels:
            return f"x.reshape(-1, {side}, {side}{', 3' if channels == 3 else ''})"
    return None
