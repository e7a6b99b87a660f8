"""Decoded pixels of a split's rows, and checks of their sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ghostnet_small.data.dataset import size_text
from ghostnet_small.data.decoded.cache import CacheFolder, CacheLayout, Decoded
from ghostnet_small.data.decoded.decode import COLOUR, GREY, Format
from ghostnet_small.data.decoded.mapped import MappedImages
from ghostnet_small.data.listing import ListedSplit
from ghostnet_small.errors import InputError

MIN_SIZE = 8  # pixels; below it the network's strides leave nothing
Size = int | tuple[int, int]  # the side of a square, or (height, width)


class SizesDiffer(InputError):
    """Images of one set are of several sizes, and no size is given to bring them to."""


@dataclass(frozen=True)
class Pixels:
    """The pixels of some rows of a split; ``rows`` int64, ascending, None: of all.

    ``folder`` is where they are cached.
    """

    split: ListedSplit
    rows: Tensor | None
    decoded: Decoded
    folder: CacheFolder | None

    def kinds(self, rows: Tensor) -> Tensor:
        """Each image's channels, uint8; 0: it cannot be read."""
        return torch.from_numpy(self.decoded.kinds)[self._places(rows)]

    def unreadable(self, rows: Tensor) -> list[str]:
        """Return the messages for those of ``rows`` that cannot be read."""
        places = self._places(rows)[self.kinds(rows) == 0]
        return [self.decoded.unreadable[place] for place in places.tolist()]

    def images(self, rows: Tensor, channels: int) -> Tensor | MappedImages:
        """The images in ``rows`` as uint8 ``(N, channels, H, W)``."""
        places = self._places(rows)
        layout = self.decoded.layout
        whole = len(places) == layout.rows  # rows are ascending and differ, so it is all of them
        if self.decoded.pixels is None:
            assert self.folder is not None
            return MappedImages(
                self.folder.pixels, layout.shape, None if whole else places, channels
            )
        pixels = self.decoded.pixels
        # NumPy copies whole images where torch's indexing goes value by value.
        if not whole or not pixels.flags.writeable:
            pixels = np.take(pixels, places.numpy(), axis=0)
        chosen = torch.from_numpy(pixels)
        return chosen[:, :channels].expand(-1, channels, -1, -1).contiguous()

    def first_name(self) -> str:
        """The name of the first image that can be read."""
        place = int(np.flatnonzero(self.decoded.kinds)[0])
        return self.split.names[place if self.rows is None else int(self.rows[place])]

    def _places(self, rows: Tensor) -> Tensor:
        return rows if self.rows is None else torch.searchsorted(self.rows, rows)


def plain_pixels(split: ListedSplit, channels: int | None, size: Size | None) -> Pixels | None:
    """The pixels of images that a source gives as pixels in the wanted form, else None."""
    array = split.pictures
    if not isinstance(array, np.ndarray):
        return None
    planes = COLOUR if array.ndim == 4 else GREY
    if channels not in (None, planes) or not len(array):
        return None
    if size is not None and array.shape[1:3] != ((size, size) if isinstance(size, int) else size):
        return None
    pixels = array[:, None] if array.ndim == 3 else array.transpose(0, 3, 1, 2)
    check_size(array.shape[1:3], split.names[0])
    layout = CacheLayout.of(len(array), Format(channels, size, planes, *array.shape[1:3]))
    decoded = Decoded(layout, pixels, np.full(len(array), planes, np.uint8))
    return Pixels(split, None, decoded, None)


def sizes_differ(
    first: str, first_size: Sequence[int], other: str, other_size: Sequence[int]
) -> str:
    """The message for two images of different size, (height, width)."""
    return (
        f"images differ in size: {first} is {size_text(first_size)} and {other} is "
        f"{size_text(other_size)}; give --data.size 32 to resize all of them, or another size"
    )


def check_size(size: Sequence[int], name: str) -> None:
    """Raise ``InputError`` for an image of (height, width) ``size`` that is too small."""
    if min(size) < MIN_SIZE:
        raise InputError(
            f"{name} is {size_text(size)} pixels; the network needs "
            f"{MIN_SIZE}x{MIN_SIZE}: give --data.size {MIN_SIZE} or more"
        )
