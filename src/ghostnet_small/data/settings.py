"""The settings of a recipe that say which images."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ghostnet_small.data.decoded.job import OnError
from ghostnet_small.data.decoded.pixels import MIN_SIZE
from ghostnet_small.errors import InputError
from ghostnet_small.fields import LATER, PLACE


@dataclass(frozen=True)
class DataSettings:
    """The images, their splits and their shape.

    Args:
        root: a directory, or a file; overrides ``source``. Parquet files anywhere below make it a
            Hugging Face data set, ``train/<class>/*.png`` a folder set,
            ``train-images-idx3-ubyte`` (with or without .gz) one in MNIST's form; CIFAR's own
            archives, packed or not, and .npz files are read too.
        source: ``digits`` (scikit-learn's, needs no network), a data set of the Hugging Face hub
            (``cifar10``, ``cifar100``, ``fashion_mnist``, ``mnist``, ``svhn``, ``tiny-imagenet`` or
            ``owner/name``), or a directory.
        subset: which of a named source's data sets, where it holds several.
        revision: branch, tag or commit of a named source; null: the newest.
        class_names: names for the classes, in their order, in place of the source's own.
        label_column: the label column of a Hugging Face data set that has several; for CIFAR-100's
            archives ``fine_labels`` or ``coarse_labels``.
        limit: take a stratified part of so many images of the training split, before
            ``validation``.
        size: resize every image to ``size x size`` pixels.
        channels: 1 grey, 3 colour; null: grey where all images are grey, else colour.
        validation: share of the training split held out, stratified; 0: none. A source with a
            validation split of its own keeps that one, and nothing is held out.
        fold: hold out this part, from 0, of the ``1 / validation`` parts of a cross-validation,
            in which each image is held out once; null: the share is drawn by itself.
        split_seed: seed of ``limit``, ``validation`` and ``fold``.
        mean: a channel's mean that pixels, scaled to 0 .. 1, are normalised by; null: of the
            training split.
        std: likewise, the standard deviation.
        on_error: "stop" at an image that cannot be read or a row without a known label, or
            "skip" it and say so.
        cache: the directory that keeps decoded images, or "off"; null: ``GHOSTNET_CACHE``, else
            ``~/.cache/ghostnet-small``.
        memory_gib: a set whose pixels take more GiB than this is not read into memory but from
            the cache as it is needed; null: half of the free memory.
    """

    root: str | None = field(default=None, metadata=PLACE)
    source: str = field(default="digits", metadata=PLACE)
    subset: str | None = field(default=None, metadata=LATER)
    revision: str | None = field(default=None, metadata=LATER)
    class_names: tuple[str, ...] | None = field(default=None, metadata=LATER)
    label_column: str | None = None
    limit: int | None = None
    size: int | None = None
    channels: int | None = None
    validation: float = 0.1
    fold: int | None = field(default=None, metadata=LATER)
    split_seed: int = 0
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    on_error: OnError = field(default="stop", metadata=LATER)
    cache: str | None = field(default=None, metadata=PLACE)
    memory_gib: float | None = field(default=None, metadata=PLACE)

    def check(self) -> None:
        """Refuse values that no data set allows.

        Raises ``InputError`` with the value and what is allowed.
        """
        if self.limit is not None and self.limit < 1:
            raise InputError(f"data.limit {self.limit} is not allowed; give 1 or more images")
        if self.size is not None and self.size < MIN_SIZE:
            raise InputError(f"data.size {self.size} is not allowed; give {MIN_SIZE} or more")
        if self.channels not in (None, 1, 3):
            raise InputError(f"data.channels {self.channels} is not allowed; give 1 (grey) or 3")
        if not 0 <= self.validation < 1:
            raise InputError(
                f"data.validation {self.validation} is not allowed; give a share from 0 to below 1"
            )
        if self.fold is not None:
            parts = round(1 / self.validation) if self.validation else 0
            if parts < 2 or abs(parts * self.validation - 1) > 1e-6:
                raise InputError(
                    f"data.fold {self.fold} needs a validation share that is one part of several, "
                    f"such as 0.2; data.validation is {self.validation}"
                )
            if not 0 <= self.fold < parts:
                raise InputError(
                    f"data.fold {self.fold} is not allowed; with data.validation "
                    f"{self.validation:g} give 0 to {parts - 1}"
                )
        if not 0 <= self.split_seed < 2**32:
            raise InputError(
                f"data.split_seed {self.split_seed} is not allowed; give 0 to {2**32 - 1}"
            )
        if self.mean is not None and not all(0 <= value <= 1 for value in self.mean):
            raise InputError(f"data.mean {list(self.mean)} is not allowed; give values in 0 to 1")
        if self.std is not None and not all(0 < value < math.inf for value in self.std):
            raise InputError(f"data.std {list(self.std)} is not allowed; give values above 0")
        if self.cache == "":
            raise InputError("data.cache '' is not allowed; give a directory, or off")
        if self.memory_gib is not None and not self.memory_gib >= 0:
            raise InputError(
                f"data.memory_gib {self.memory_gib} is not allowed; give 0 or more GiB"
            )
