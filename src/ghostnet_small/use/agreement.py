"""The images on which two forms of a network are compared, and their allowed difference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ghostnet_small.data.dataset import ImageData
from ghostnet_small.errors import InputError
from ghostnet_small.models.weights import ModelInfo

# A network after few steps magnifies the rounding of float32 past any fixed bound; another form of
# it may have so many times the error of its own form in float32.
ROUNDINGS = 8
PICTURES = 500


class CheckFailed(Exception):
    """The result failed its check; nothing of it is kept."""


@dataclass(frozen=True)
class Shown:
    """uint8 ``images`` ``(N, C, H, W)`` to compare on, and their source in words."""

    images: Tensor
    source: str


def shown(data: ImageData | None, info: ModelInfo) -> Shown:
    """Return images of ``data``, of the test split if there is one; for None, random pixels."""
    if data is None:
        seeded = torch.Generator().manual_seed(0)
        shape = (PICTURES, len(info.mean), *info.size)
        pixels = torch.randint(256, shape, generator=seeded, dtype=torch.uint8)
        return Shown(pixels, "random pixels")
    name = first_split(data, ("test", "validation", "train"))
    return Shown(data.split(name).images[:PICTURES], f"the {name} split")


def first_split(data: ImageData, names: Sequence[str]) -> str:
    """Return the first of ``names`` of which ``data`` has a split."""
    return next(name for name in names if getattr(data, name) is not None)


def data_if_there(read: Callable[[], ImageData], say: Callable[[str], None]) -> ImageData | None:
    """Return what ``read`` reads; None, with a remark, if it raises ``InputError``: the data may
    be gone."""
    try:
        return read()
    except InputError as error:
        say(f"random pixels are compared in place of the training data: {error}")
        return None


def allowance(bound: float, rounding: float) -> float:
    """Return the allowed relative error where that of float32 itself is ``rounding``."""
    return max(bound, ROUNDINGS * rounding)
