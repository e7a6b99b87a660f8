"""Describe a data set: its figures, some of its images as files, and a sheet of views."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ghostnet_small.data.augment import Augmentation
from ghostnet_small.data.dataset import ImageData, Split
from ghostnet_small.data.sources import load_data
from ghostnet_small.errors import InputError
from ghostnet_small.files import check_free, write_atomic
from ghostnet_small.recipe.recipe import Recipe

SPLITS = ("train", "validation", "test")
SHEET_PICTURES, SHEET_VIEWS = 8, 8
SHEET_SIDE = 64  # pixels at least that an image of the sheet is enlarged to


def report_data(
    recipe: Recipe, *, save: Path | None = None, count: int = 10, views: Path | None = None
) -> dict[str, Any]:
    """Return ``describe_data`` of a recipe's data; write ``count`` images to the folder ``save``
    and a sheet of augmented ones to the file ``views``.

    Raises ``InputError`` for data that cannot be read and for a ``save`` or ``views`` that
    exists; nothing is written then.
    """
    if save is not None:
        check_free(save, "--save")
    if views is not None:
        check_free(views, "--views")
        if views.suffix.lower() != ".png":
            raise InputError(f"--views {views} is no PNG file; give a name such as views.png")
    data = load_data(recipe.data)
    report = describe_data(data)
    if views is not None:
        draw_views(data, recipe.augment, views)
        report["views"] = str(views)
    if save is not None:
        report["saved"] = save_pictures(data, save, count)
    return report


def describe_data(data: ImageData) -> dict[str, Any]:
    """Return classes, images of each class by split, size (height, width), mean, std, fingerprint.

    ``imbalance`` is the ratio of the training images of the largest and the smallest class, of
    the classes that have any.
    """
    splits: dict[str, Split] = {
        name: split for name in SPLITS if (split := getattr(data, name)) is not None
    }
    counts = {
        name: torch.bincount(split.labels, minlength=len(data.classes)).tolist()
        for name, split in splits.items()
    }
    present = [count for count in counts["train"] if count]
    return {
        "classes": list(data.classes),
        "images": {name: len(split) for name, split in splits.items()},
        "images_by_class": {
            label: {name: counts[name][row] for name in splits}
            for row, label in enumerate(data.classes)
        },
        "imbalance": max(present) / min(present),
        "size": list(data.size),
        "channels": data.channels,
        "mean": list(data.mean),
        "std": list(data.std),
        **data.origin,
        "fingerprint": data.fingerprint,
        "skipped": list(data.skipped),
        "cache": {"folders": list(data.cache.folders), "bytes": data.cache.size_bytes},
    }


def save_pictures(data: ImageData, folder: Path, count: int) -> list[str]:
    """Write ``count`` images, one class after the other, as ``<class>-<row>.png``; return paths.

    They are the test split's if there is one, else the validation's, else the training's;
    the row is that of the source's split. Raises ``InputError`` where the split has fewer
    images.
    """
    name = next(name for name in reversed(SPLITS) if getattr(data, name) is not None)
    split = data.split(name)
    if not 1 <= count <= len(split):
        raise InputError(
            f"--count {count} is not allowed; the {name} split has {len(split)} images, give "
            f"1 to {len(split)}"
        )
    folder.mkdir(parents=True)
    written = []
    for position in _class_after_class(split.labels)[:count].tolist():
        label = data.classes[int(split.labels[position])]
        # A class may have any name; a leading dot would hide its images.
        stem = re.sub(r"[^\w.+-]+", "_", label).strip(".-") or "class"
        path = folder / f"{stem}-{int(split.index[position])}.png"
        write_atomic(path, _png(split.images[position]))
        written.append(str(path))
    return written


def draw_views(data: ImageData, augment: Augmentation, path: Path) -> None:
    """Draw images of the training split, one a line, and beside each its first views, mixed
    with their partners where training mixes them."""
    augment.check(*data.size)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = _class_after_class(data.train.labels)[:SHEET_PICTURES]
    chosen = data.train.take(rows)
    fill = tuple(round(255 * mean) for mean in data.mean)

    def seen(view: int) -> Tensor:
        views = augment(chosen.images, chosen.index, view, fill)
        if not augment.mixes:
            return views
        partners = data.train.take(augment.partner(chosen.index, view, len(data.train)))
        of_partners = augment(partners.images, partners.index, view, fill)
        return augment.mix(views, of_partners, chosen.index, view)[0]

    epochs = range(SHEET_VIEWS)
    columns = [chosen.images, *(seen(augment.view_of_epoch(epoch)) for epoch in epochs)]
    scale = -(-SHEET_SIDE // min(data.size))
    tiles = torch.stack(columns, dim=1)  # (images, columns, C, H, W)
    tiles = tiles.repeat_interleave(scale, -1).repeat_interleave(scale, -2)
    gap = torch.nn.functional.pad(tiles, (2, 2, 2, 2), value=255)
    lines, across, channels, height, width = gap.shape
    sheet = gap.permute(2, 0, 3, 1, 4).reshape(channels, lines * height, across * width)
    write_atomic(path, _png(sheet))


def _class_after_class(labels: Tensor) -> Tensor:
    """Return positions with every class once, then every class a second time, and so on."""
    turn = torch.empty_like(labels)
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        turn[members] = torch.arange(len(members))
    return torch.argsort(turn * (int(labels.max()) + 1) + labels)


def _png(picture: Tensor) -> bytes:
    """Return uint8 ``(C, H, W)``, C = 1 or 3, as the bytes of a PNG file."""
    pixels = np.ascontiguousarray(picture.permute(1, 2, 0).numpy())
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()
