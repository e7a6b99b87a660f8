"""What another form of a network is compared on, and how far off it may be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ghostnet_small.data.dataset import ImageData
from ghostnet_small.errors import InputError
from ghostnet_small.models.weights import ModelInfo

# A network after few steps magnifies the rounding of float32 itself past any fixed bound; another
# form of it may be off by so many times of what its own form in float32 is.
ROUNDINGS = 8
PICTURES = 500


class CheckFailed(Exception):
    """What was made is not what it must be; nothing of it is kept."""


@dataclass(frozen=True)
class Shown:
    """uint8 ``images`` ``(N, C, H, W)`` to compare on, and in words where they come from."""

    images: Tensor
    source: str


def shown(data: ImageData | None, info: ModelInfo) -> Shown:
    """Pictures of ``data``, of the test split if there is one; of None, random pixels."""
    if data is None:
        seeded = torch.Generator().manual_seed(0)
        shape = (PICTURES, len(info.mean), *info.size)
        pixels = torch.randint(256, shape, generator=seeded, dtype=torch.uint8)
        return Shown(pixels, "random pixels")
    name = first_split(data, ("test", "validation", "train"))
    return Shown(data.split(name).images[:PICTURES], f"the {name} split")


def first_split(data: ImageData, names: Sequence[str]) -> str:
    """The first of ``names`` of which ``data`` has a split."""
    return next(name for name in names if getattr(data, name) is not None)


def data_if_there(read: Callable[[], ImageData], say: Callable[[str], None]) -> ImageData | None:
    """What ``read`` reads; None, and a remark, where it raises ``InputError``: weights outlive
    their data."""
    try:
        return read()
    except InputError as error:
        say(f"random pixels are compared in place of the training's data: {error}")
        return None


def allowance(bound: float, rounding: float) -> float:
    """The relative error that is allowed where float32 alone makes one of ``rounding``."""
    return max(bound, ROUNDINGS * rounding)
