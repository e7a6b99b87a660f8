"""Images that stay in a file, read when they are asked for."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

_PAGE = mmap.ALLOCATIONGRANULARITY
# Above this number of pages, asking for each in advance costs more than waiting.
_MOST_HINTS = 16384


class MappedImages:
    """uint8 images ``(N, C, H, W)`` of a file that takes more than the memory budget.

    It has the part of a tensor's interface that splits need: ``shape``, ``len``, indexing by a
    number, a slice or a tensor of rows, and ``split``. Indexing gives a tensor in memory.

    ``shape`` is that of the file, ``rows`` (int64, in this order) are those of its images that
    belong here, None: all. ``channels`` 3 repeats a grey file's one channel, 1 takes the first of
    three. The file is mapped for reading only.
    """

    device = torch.device("cpu")
    dtype = torch.uint8

    def __init__(
        self, file: Path, shape: tuple[int, ...], rows: Tensor | None, channels: int
    ) -> None:
        self.file = file
        with file.open("rb") as opened:
            self._map = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        self._pixels = np.frombuffer(self._map, np.uint8).reshape(shape)
        self._rows = None if rows is None else rows.numpy()
        count = shape[0] if rows is None else len(rows)
        self.shape = torch.Size((count, channels, *shape[2:]))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | slice | Tensor) -> Tensor:
        if isinstance(rows, int):
            return self[torch.tensor([rows])][0]
        if isinstance(rows, slice):
            if self._rows is None and rows.step in (None, 1):
                return self._in_memory(self._pixels[rows].copy())
            rows = torch.arange(len(self))[rows]
        if rows.dtype == torch.bool:
            rows = rows.nonzero().flatten()
        wanted = rows.cpu().numpy()
        if len(wanted) and not -len(self) <= wanted.min() <= wanted.max() < len(self):
            raise IndexError(f"rows must be from {-len(self)} to {len(self) - 1}")
        wanted = np.where(wanted < 0, wanted + len(self), wanted)
        places = wanted if self._rows is None else self._rows[wanted]
        self._announce(places)
        # NumPy and not torch: one thread, beside those of the training.
        return self._in_memory(np.take(self._pixels, places, axis=0))

    def split(self, count: int) -> Iterator[Tensor]:
        """The images in order, ``count`` at a time."""
        return (self[start : start + count] for start in range(0, len(self), count))

    def _announce(self, places: np.ndarray) -> None:
        """Ask the system to read all pages of these images at once, not one by one."""
        size = self._pixels[0].nbytes if len(self._pixels) else 0
        first = places.astype(np.int64) * size // _PAGE
        last = (places.astype(np.int64) * size + size - 1) // _PAGE
        if len(places) > _MOST_HINTS or not hasattr(self._map, "madvise"):
            return
        for start, stop in zip(first.tolist(), last.tolist(), strict=True):
            length = min((stop - start + 1) * _PAGE, len(self._map) - start * _PAGE)
            self._map.madvise(mmap.MADV_WILLNEED, start * _PAGE, length)

    def _in_memory(self, pixels: np.ndarray) -> Tensor:
        channels = self.shape[1]
        if pixels.shape[1] > channels:
            pixels = np.ascontiguousarray(pixels[:, :channels])
        elif pixels.shape[1] < channels:
            pixels = np.repeat(pixels, channels, axis=1)
        return torch.from_numpy(pixels)
