"""The one in-memory form of a data set: whole splits as uint8 tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ghostnet_small.errors import InputError


@dataclass(frozen=True)
class Split:
    """Pictures and labels of one split.

    Shapes: ``images`` uint8 ``(N, C, H, W)``, ``labels`` int64 ``(N,)`` in ``0 .. K - 1``,
    ``index`` int64 ``(N,)``: the row that each picture has in its source's split. The index
    survives hold-outs and limits, so a picture's augmented view does not depend on them.
    """

    images: Tensor
    labels: Tensor
    index: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: Tensor) -> Split:
        """The rows given by ``rows`` (int64 ``(M,)``), in that order."""
        return Split(self.images[rows], self.labels[rows], self.index[rows])

    def to(self, device: torch.device | str) -> Split:
        """A copy on ``device``."""
        return Split(self.images.to(device), self.labels.to(device), self.index.to(device))

    def digest(self) -> str:
        """SHA-256 over the pixels (uint8, ``N x H x W x C``), then the labels (int64, ``<i8``)."""
        sha = hashlib.sha256()
        for part in self.images.cpu().split(4096):
            sha.update(part.permute(0, 2, 3, 1).contiguous().numpy().tobytes())
        sha.update(self.labels.cpu().numpy().astype("<i8").tobytes())
        return sha.hexdigest()


@dataclass(frozen=True)
class ImageData:
    """A data set, ready to train on.

    ``mean`` and ``std`` are a channel's mean and standard deviation over the training split,
    for pixels scaled to 0 .. 1. ``fingerprint`` is a SHA-256 that changes with any pixel,
    label, class name or cut of the splits.
    """

    train: Split
    validation: Split | None
    test: Split | None
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str

    @property
    def channels(self) -> int:
        return self.train.images.shape[1]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a picture, in pixels."""
        return self.train.images.shape[2], self.train.images.shape[3]

    def split(self, name: str) -> Split:
        """The split called ``train``, ``validation`` or ``test``.

        Raises ``InputError`` where the data set has no such split.
        """
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        if name not in splits:
            raise InputError(f"split {name!r} is not known; choose one of {', '.join(splits)}")
        found = splits[name]
        if found is None:
            have = ", ".join(key for key, value in splits.items() if value is not None)
            raise InputError(f"this data set has no {name} split; it has {have}")
        return found


def size_text(size: Sequence[int]) -> str:
    """``32x28`` of a (height, width) of (28, 32): width first, as picture programs say it."""
    return f"{size[1]}x{size[0]}"


def normalize(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """uint8 ``(N, C, H, W)`` to float32 with the channels' means taken off, in units of ``std``."""
    scale = torch.tensor([1 / (255 * s) for s in std], device=images.device)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=images.device)
    return images.float() * scale[:, None, None] + shift[:, None, None]
