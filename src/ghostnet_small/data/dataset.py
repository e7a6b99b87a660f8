"""The one form of a data set: whole splits of uint8 images, in memory or mapped from a file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ghostnet_small.data.constants import constant
from ghostnet_small.data.decoded.mapped import MappedImages
from ghostnet_small.errors import InputError


@dataclass(frozen=True)
class Split:
    """Images and labels of one split.

    Shapes: ``images`` uint8 ``(N, C, H, W)``, ``labels`` int64 ``(N,)`` in ``0 .. K - 1``,
    ``index`` int64 ``(N,)``: the row that each image has in its source's split. The index
    survives hold-outs and limits, so an image's augmented view does not depend on them.

    ``images`` of a set above the memory budget stay in their file (``MappedImages``).
    """

    images: Tensor | MappedImages
    labels: Tensor
    index: Tensor

    def __len__(self) -> int:
        return len(self.images)

    @property
    def in_memory(self) -> bool:
        """Return whether the images are a tensor."""
        return isinstance(self.images, Tensor)

    def take(self, rows: Tensor) -> Pictures:
        """The rows given by ``rows`` (int64 ``(M,)``), in that order, in memory."""
        return Pictures(self.images[rows], self.labels[rows], self.index[rows])

    def to(self, device: torch.device | str) -> Split:
        """A copy on ``device``; one that is mapped from a file stays there."""
        if isinstance(self.images, MappedImages):
            return self
        return Split(self.images.to(device), self.labels.to(device), self.index.to(device))

    def digest(self) -> str:
        """SHA-256 over the pixels (uint8, ``N x H x W x C``), then the labels (int64, ``<i8``)."""
        sha = hashlib.sha256()
        for part in self.images.split(4096):
            sha.update(part.cpu().permute(0, 2, 3, 1).contiguous().numpy().data)
        sha.update(self.labels.cpu().numpy().astype("<i8").tobytes())
        return sha.hexdigest()


@dataclass(frozen=True)
class Pictures(Split):
    """Some images of a split, in memory."""

    images: Tensor

    def to(self, device: torch.device | str) -> Pictures:
        """A copy on ``device``."""
        return Pictures(self.images.to(device), self.labels.to(device), self.index.to(device))


@dataclass(frozen=True)
class CacheUse:
    """The cache files that a data set was read from: their folders, and ``size_bytes`` in all."""

    folders: tuple[str, ...] = ()
    size_bytes: int = 0


@dataclass(frozen=True)
class ImageData:
    """A data set, ready to train on.

    ``mean`` and ``std`` are a channel's mean and standard deviation over the training split,
    for pixels scaled to 0 .. 1. ``fingerprint`` is a SHA-256 that changes with any pixel,
    label, class name or cut of the splits. ``skipped`` gives the reason for each image that
    ``data.on_error skip`` left out. ``origin`` describes what was found: the form, the columns of
    image and label where there are columns, and the repository and the commit of a fetched set.
    ``fingerprints`` are those of single splits, as ``load_split`` gives them. ``changed`` lists
    the conversions to the size, channels and classes of a network.
    """

    train: Split
    validation: Split | None
    test: Split | None
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    skipped: tuple[str, ...] = ()
    origin: dict[str, str] = field(default_factory=dict)
    cache: CacheUse = CacheUse()
    fingerprints: dict[str, str] = field(default_factory=dict)
    changed: tuple[str, ...] = ()

    @property
    def left_out(self) -> str | None:
        """``left_out_text`` of all splits."""
        splits = (self.train, self.validation, self.test)
        return left_out_text(self.skipped, sum(len(split) for split in splits if split is not None))

    @property
    def channels(self) -> int:
        return self.train.images.shape[1]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of an image, in pixels."""
        return self.train.images.shape[2], self.train.images.shape[3]

    def on(self, device: torch.device, *names: str) -> ImageData:
        """Return a copy with those splits of ``names`` that exist moved to ``device``."""
        there = {name: getattr(self, name) for name in names}
        return replace(self, **{k: v.to(device) for k, v in there.items() if v is not None})

    def split(self, name: str) -> Split:
        """The split called ``train``, ``validation`` or ``test``.

        Raises ``InputError`` where the data set has no such split.
        """
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        check_split_name(name)
        found = splits[name]
        if found is None:
            raise no_split(name, [key for key, value in splits.items() if value is not None])
        return found


@dataclass(frozen=True)
class Fit:
    """The images and classes that a network, called ``name`` in messages, was trained for.

    ``size`` is the (height, width) of its images in pixels; ``classes`` are in the order of its
    logits. ``other_data``: the data are not those that the recipe of the network names.
    """

    name: str
    size: tuple[int, int]
    channels: int
    classes: tuple[str, ...]
    other_data: bool = False


def check_split_name(name: str) -> None:
    """Raise ``InputError`` where ``name`` is not the name of a split."""
    known = ("train", "validation", "test")
    if name not in known:
        raise InputError(f"split {name!r} is not known; choose one of {', '.join(known)}")


def no_split(name: str, have: Sequence[str]) -> InputError:
    """Return the error for a data set that has the splits ``have`` and not ``name``."""
    return InputError(f"this data set has no {name} split; it has {', '.join(have)}")


def left_out_text(skipped: Sequence[str], used: int) -> str | None:
    """``left out 2 of 12 images, such as: ...`` where some were ``skipped`` beside those used."""
    if not skipped:
        return None
    return f"left out {len(skipped):,} of {len(skipped) + used:,} images, such as: {skipped[0]}"


def size_text(size: Sequence[int]) -> str:
    """``32x28`` of a (height, width) of (28, 32): width first, as image programs write it."""
    return f"{size[1]}x{size[0]}"


def normalize(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Return uint8 ``(N, C, H, W)`` as float32, less ``mean``, divided by ``std``, by channel."""
    device = images.device
    scale = constant(tuple(1 / (255 * s) for s in std), torch.float32, device)
    shift = constant(tuple(-m / s for m, s in zip(mean, std, strict=True)), torch.float32, device)
    return images.float() * scale[:, None, None] + shift[:, None, None]
