"""The result of a source's reader: images not yet decoded, with their labels."""

from __future__ import annotations

import bisect
from abc import abstractmethod
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, compress
from pathlib import Path
from typing import TypeVar, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ghostnet_small.data.classes import first_names
from ghostnet_small.errors import InputError

SPLIT_NAMES = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}

Row = TypeVar("Row", covariant=True)


class BrokenSource(InputError):
    """A file that holds many images cannot be read."""


@dataclass(frozen=True)
class ListedSplit:
    """``N`` images of a split, each with the name that messages give it.

    ``pictures`` are files, files' contents, or pixels: uint8 ``(N, H, W)`` or ``(N, H, W, 3)``.
    A sequence may read an item when it is asked for; it raises ``InputError`` for an image that
    cannot be read, ``BrokenSource`` where none can. A sequence's attribute ``signature`` shows
    whether its content has changed; without one, the content or the files' sizes and times of
    change do.

    ``labels``: int64 ``(N,)`` in ``0 .. K - 1``, and -1 for the rows in ``broken``, which have no
    label; ``broken`` holds the message for each.
    """

    pictures: Sequence[Path] | Sequence[bytes] | np.ndarray
    names: Sequence[str]
    labels: Tensor
    broken: Mapping[int, str] = field(default_factory=dict)

    def picture(self, row: int) -> Path | bytes | Image.Image:
        """Return the image in ``row`` in a form that ``read_picture`` takes."""
        if isinstance(self.pictures, np.ndarray):
            return Image.fromarray(self.pictures[row])
        return self.pictures[row]


class LazyRows(Sequence[Row]):
    """Rows that are made when they are asked for: a subclass gives their number and each one."""

    @abstractmethod
    def row(self, number: int) -> Row:
        """The row ``number`` in ``0 .. len(self) - 1``."""

    @overload
    def __getitem__(self, row: int) -> Row: ...
    @overload
    def __getitem__(self, row: slice) -> list[Row]: ...
    def __getitem__(self, row: int | slice) -> Row | list[Row]:
        numbers = range(len(self))[row]
        if isinstance(numbers, range):
            return [self.row(number) for number in numbers]
        return self.row(numbers)


class RowNames(LazyRows[str]):
    """``WHERE row R`` for each row."""

    def __init__(self, where: str, count: int) -> None:
        self.where = where
        self.rows = count

    def __len__(self) -> int:
        return self.rows

    def row(self, number: int) -> str:
        return f"{self.where} row {number}"


class FileRowNames(LazyRows[str]):
    """``FILE row R`` for each row of ``files``, which have ``counts`` rows."""

    def __init__(self, files: Sequence[str], counts: Sequence[int]) -> None:
        self.files = files
        self.ends = list(accumulate(counts))

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def place(self, row: int) -> tuple[int, int]:
        """The number of the file that a row lies in, and its row there."""
        number = bisect.bisect_right(self.ends, row)
        return number, row - (self.ends[number - 1] if number else 0)

    def row(self, number: int) -> str:
        file, inside = self.place(number)
        return f"{self.files[file]} row {inside}"


@dataclass(frozen=True)
class Listing:
    """The splits of a source, and its class names.

    ``remarks`` are for the user. ``origin`` is for the record: the ``form``, the columns of image
    and label where there are columns, and the source of a fetched set.
    """

    splits: dict[str, ListedSplit]
    classes: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    origin: dict[str, str] = field(default_factory=dict)


def used_classes(listing: Listing, where: str) -> Listing:
    """Return ``listing`` without the classes that have no image in any split, with a remark.

    A filtered set may keep the names of classes whose images were removed.
    """
    counts = torch.zeros(len(listing.classes), dtype=torch.int64)
    for split in listing.splits.values():
        known = split.labels[split.labels >= 0]
        counts += torch.bincount(known, minlength=len(counts))
    if counts.all():
        return listing
    # Rows without a label keep their -1, which is the index of the last place.
    number = torch.cat((counts.sign().cumsum(0) - 1, torch.tensor([-1])))
    splits = {
        name: replace(split, labels=number[split.labels]) for name, split in listing.splits.items()
    }
    used = counts.bool().tolist()
    unused = [name for name, there in zip(listing.classes, used, strict=True) if not there]
    remark = f"{where}: {len(unused)} of {len(listing.classes)} classes have no image"
    return replace(
        listing,
        splits=splits,
        classes=tuple(compress(listing.classes, used)),
        remarks=(*listing.remarks, f"{remark} and are left out: {first_names(unused)}"),
    )


def known_splits(found: Iterable[str], where: str) -> dict[str, str]:
    """Those of ``train``, ``validation`` and ``test`` that are there, with the source's own names.

    Raises ``InputError`` where there is none of them or a split under two names.
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
    if not names:
        raise no_training_split(where, found)
    return names


def no_training_split(where: str, found: Iterable[str]) -> InputError:
    """Return the error for a source that has the splits ``found`` and not ``train``."""
    return InputError(
        f"{where} has no training split: found {', '.join(sorted(found)) or 'nothing'}; "
        f"name the splits train, validation (or valid, val) and test"
    )


def main_split(names: Container[str]) -> str:
    """Return the split whose labels say which classes there are: ``train``, where it is there."""
    return next(name for name in ("train", "validation", "test") if name in names)
