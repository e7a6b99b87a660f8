"""From settings to a whole data set in memory."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ghostnet_small.data.dataset import ImageData, Split, size_text
from ghostnet_small.data.digits import list_digits
from ghostnet_small.data.forms import layouts, list_root, refuse_label_column
from ghostnet_small.data.listing import ListedSplit, Listing
from ghostnet_small.data.pictures import read_picture
from ghostnet_small.data.split import hold_out, limited_rows
from ghostnet_small.errors import InputError

MIN_SIZE = 8  # pixels; below it the network's strides leave nothing


@dataclass(frozen=True)
class DataSettings:
    """Which pictures, and how they are cut and shaped.

    Args:
        root: a directory; overrides ``source``. Parquet files anywhere below make it a Hugging
            Face data set, ``train/<class>/*.png`` a folder set, ``train-images-idx3-ubyte``
            (with or without .gz) one in MNIST's form.
        source: ``digits`` (scikit-learn's, needs no network) or a directory.
        class_names: names for the classes, in their order, in place of the source's own.
        label_column: the label column of a Hugging Face data set that has several.
        limit: take a stratified part of so many pictures of the training split, before
            ``validation``.
        size: resize every picture to ``size x size`` pixels.
        channels: 1 grey, 3 colour; null: grey where all pictures are grey, else colour.
        validation: share of the training split held out, stratified; 0: none. A source with a
            validation split of its own keeps that one, and nothing is held out.
        split_seed: seed of ``limit`` and ``validation``.
        mean: a channel's mean that pixels, scaled to 0 .. 1, are normalised by; null: of the
            training split.
        std: likewise, the standard deviation.
    """

    root: str | None = None
    source: str = "digits"
    class_names: tuple[str, ...] | None = None
    label_column: str | None = None
    limit: int | None = None
    size: int | None = None
    channels: int | None = None
    validation: float = 0.1
    split_seed: int = 0
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def check(self) -> None:
        """Refuse values that no data set allows.

        Raises ``InputError`` with the value and what is allowed.
        """
        if self.limit is not None and self.limit < 1:
            raise InputError(f"data.limit {self.limit} is not allowed; give 1 or more pictures")
        if self.size is not None and self.size < MIN_SIZE:
            raise InputError(f"data.size {self.size} is not allowed; give {MIN_SIZE} or more")
        if self.channels not in (None, 1, 3):
            raise InputError(f"data.channels {self.channels} is not allowed; give 1 (grey) or 3")
        if not 0 <= self.validation < 1:
            raise InputError(
                f"data.validation {self.validation} is not allowed; give a share from 0 to below 1"
            )
        if not 0 <= self.split_seed < 2**32:
            raise InputError(
                f"data.split_seed {self.split_seed} is not allowed; give 0 to {2**32 - 1}"
            )
        if self.mean is not None and not all(0 <= value <= 1 for value in self.mean):
            raise InputError(f"data.mean {list(self.mean)} is not allowed; give values in 0 to 1")
        if self.std is not None and not all(0 < value < math.inf for value in self.std):
            raise InputError(f"data.std {list(self.std)} is not allowed; give values above 0")


def load_data(settings: DataSettings) -> ImageData:
    """Read, decode and cut a data set.

    ``mean`` and ``std`` are of the training split after the hold-out, computed from exact
    integer sums; a channel that has one value everywhere gets the std 1/255, one grey step.

    Raises ``InputError`` for settings that the source cannot meet and for pictures that cannot
    be read.
    """
    settings.check()
    listing, where = _list(settings)
    listing = _renamed(listing, settings.class_names, where)
    train_labels = listing.splits["train"].labels
    _check_classes(train_labels, listing.classes, where)
    rows = {name: torch.arange(len(split.labels)) for name, split in listing.splits.items()}
    # The cut needs labels only, so it is made first: what a limit leaves out is never decoded.
    if settings.limit is not None:
        rows["train"] = limited_rows(train_labels, settings.limit, seed=settings.split_seed)
    held = None
    if "validation" not in listing.splits and settings.validation > 0:
        kept, out = hold_out(
            train_labels[rows["train"]], settings.validation, seed=settings.split_seed
        )
        held, rows["train"] = rows["train"][out], rows["train"][kept]
    cuts = [(name, listing.splits[name], rows[name]) for name in listing.splits]
    if held is not None:
        cuts.append(("validation", listing.splits["train"], held))
    images = _decode([(split, index) for _, split, index in cuts], settings)
    splits = {
        name: Split(pixels, split.labels[index], index)
        for (name, split, index), pixels in zip(cuts, images, strict=True)
    }
    mean, std = _mean_std(splits["train"].images)
    return ImageData(
        train=splits["train"],
        validation=splits.get("validation"),
        test=splits.get("test"),
        classes=listing.classes,
        mean=_override("mean", settings.mean, mean),
        std=_override("std", settings.std, std),
        fingerprint=_fingerprint(listing.classes, splits),
    )


def _list(settings: DataSettings) -> tuple[Listing, str]:
    """The source's listing, and its name for messages."""
    if settings.root is not None:
        root = Path(settings.root).expanduser()
        return list_root(root, settings.label_column, "data.root"), settings.root
    if settings.source == "digits":
        refuse_label_column(settings.label_column, "the digits")
        return list_digits(), "the digits"
    root = Path(settings.source).expanduser()
    if not settings.source or not root.exists():
        raise InputError(
            f"data.source {settings.source!r} does not exist; give 'digits', or --data.root DIR "
            f"with {layouts()}"
        )
    return list_root(root, settings.label_column, "data.source"), settings.source


def _renamed(listing: Listing, names: tuple[str, ...] | None, where: str) -> Listing:
    if names is None:
        return listing
    if len(names) != len(listing.classes) or len(set(names)) != len(names):
        raise InputError(
            f"data.class_names gives {len(set(names))} different names, but {where} has "
            f"{len(listing.classes)} classes; give one for each"
        )
    return replace(listing, classes=tuple(names))


def _check_classes(labels: Tensor, classes: tuple[str, ...], where: str) -> None:
    counts = torch.bincount(labels, minlength=len(classes)).tolist()
    present = [name for name, count in zip(classes, counts, strict=True) if count]
    if len(present) < 2:
        raise InputError(
            f"{where} has {len(present)} class with training pictures "
            f"({', '.join(present) or 'none'}); at least two are needed"
        )
    absent = [name for name, count in zip(classes, counts, strict=True) if not count]
    if absent:
        raise InputError(
            f"{where}: class {absent[0]!r} has no training picture; add some or remove the class"
        )


def _decode(parts: list[tuple[ListedSplit, Tensor]], settings: DataSettings) -> list[Tensor]:
    """The chosen rows of each part as uint8 ``(N, C, H, W)``, of one C, H and W throughout."""
    decoded: list[list[Tensor]] = []
    first: tuple[str, torch.Size] | None = None
    for split, index in parts:
        pictures = []
        for row in index.tolist():
            name = split.names[row]
            picture = read_picture(
                split.picture(row), channels=settings.channels, size=settings.size, name=name
            )
            shape = picture.shape[1:]
            if first is None:
                first = (name, shape)
            if shape != first[1]:
                raise InputError(
                    f"pictures differ in size: {first[0]} is {size_text(first[1])} and {name} is "
                    f"{size_text(shape)}; give --data.size 32 to resize all of them, or "
                    "another size"
                )
            if min(shape) < MIN_SIZE:
                raise InputError(
                    f"{name} is {size_text(shape)} pixels; the network needs "
                    f"{MIN_SIZE}x{MIN_SIZE}: give --data.size {MIN_SIZE} or more"
                )
            pictures.append(picture)
        decoded.append(pictures)
    channels = max((len(picture) for pictures in decoded for picture in pictures), default=1)
    # One coloured picture makes the whole set coloured: its grey ones are repeated.
    return [
        torch.stack([picture.expand(channels, -1, -1) for picture in pictures])
        for pictures in decoded
    ]


def _mean_std(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """A channel's mean and (population) standard deviation, pixels scaled to 0 .. 1."""
    means, stds = [], []
    for channel in range(images.shape[1]):
        histogram = torch.bincount(images[:, channel].flatten(), minlength=256).tolist()
        count = sum(histogram)
        total = sum(value * times for value, times in enumerate(histogram))
        squares = sum(value * value * times for value, times in enumerate(histogram))
        means.append(total / (255 * count))
        # Integers up to here, so that the difference of two large sums loses nothing.
        variance = (count * squares - total * total) / (count * count)
        stds.append(math.sqrt(variance) / 255 if variance else 1 / 255)
    return tuple(means), tuple(stds)


def _override(
    name: str, wanted: tuple[float, ...] | None, computed: tuple[float, ...]
) -> tuple[float, ...]:
    if wanted is None:
        return computed
    if len(wanted) != len(computed):
        raise InputError(
            f"data.{name} {list(wanted)} has {len(wanted)} values, but the pictures have "
            f"{len(computed)} channels; give {len(computed)}"
        )
    return tuple(wanted)


def _fingerprint(classes: tuple[str, ...], splits: dict[str, Split]) -> str:
    sha = hashlib.sha256(json.dumps(classes).encode())
    for name in sorted(splits):
        sha.update(f"\n{name} {splits[name].digest()} ".encode())
        sha.update(splits[name].index.numpy().astype("<i8").tobytes())
    return sha.hexdigest()
