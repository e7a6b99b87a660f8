"""What a source's reader hands over: pictures not yet decoded, with their labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from ghostnet_small.errors import InputError

SPLIT_NAMES = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}


@dataclass(frozen=True)
class ListedSplit:
    """``N`` pictures of a split, each with the name that messages give it.

    ``pictures`` are files, files' contents, or pixels: uint8 ``(N, H, W)`` or ``(N, H, W, 3)``.
    ``labels``: int64 ``(N,)`` in ``0 .. K - 1``.
    """

    pictures: list[Path] | list[bytes] | np.ndarray
    names: list[str]
    labels: Tensor

    def picture(self, row: int) -> Path | bytes | Image.Image:
        """What ``read_picture`` takes for the picture in ``row``."""
        if isinstance(self.pictures, np.ndarray):
            return Image.fromarray(self.pictures[row])
        return self.pictures[row]


@dataclass(frozen=True)
class Listing:
    """The splits of a source, ``train`` among them, and its class names."""

    splits: dict[str, ListedSplit]
    classes: tuple[str, ...]


def known_splits(found: Iterable[str], where: str) -> dict[str, str]:
    """``train``, ``validation`` and ``test``, each with the name that the source has for it.

    Raises ``InputError`` where there is no training split or a split under two names.
    """
    found = list(found)
    names: dict[str, str] = {}
    for theirs in found:
        ours = SPLIT_NAMES.get(theirs)
        if ours is None:
            continue
        if ours in names:
            raise InputError(
                f"{where} has both {names[ours]!r} and {theirs!r} as its {ours} split; keep one"
            )
        names[ours] = theirs
    if "train" not in names:
        raise InputError(
            f"{where} has no training split: found {', '.join(sorted(found)) or 'nothing'}; "
            f"name the splits train, validation (or valid, val) and test"
        )
    return names
