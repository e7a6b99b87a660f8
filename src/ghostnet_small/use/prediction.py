"""Classify a user's images with trained weights or an exported file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ghostnet_small.data.dataset import size_text
from ghostnet_small.data.fitting import COLOURS, converted, resized
from ghostnet_small.data.image_files import list_images
from ghostnet_small.data.pictures import picture_form, read_picture
from ghostnet_small.errors import InputError
from ghostnet_small.models.weights import ModelInfo
from ghostnet_small.use.classifier import Classifier, open_classifier
from ghostnet_small.use.image_inputs import batch_of, likeliest

MOST_REMARKS = 20  # on images that cannot be read


def predict(
    path: Path,
    pictures: Sequence[Path],
    *,
    top: int = 5,
    weights: str | None = None,
    trust: bool = False,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Return each image's ``path``, ``label``, ``probability`` and the ``top`` likeliest classes.

    One that cannot be read has ``error``, which says why, and neither label nor probability (both
    None): the others are classified all the same.

    ``path``, ``weights`` and ``trust`` as ``open_classifier`` takes them. ``pictures`` are files,
    and folders, which are searched with their subfolders. An image of another size or colour than
    the model's is converted, and the first of each is reported to ``say``.

    Raises ``InputError`` where the weights cannot be read or are of neither one channel nor
    three, a folder holds no image, or none of the images can be read.
    """
    classifier = open_classifier(path, weights=weights, trust=trust)
    info = classifier.info
    classifier.check_input()
    files: list[Path] = []
    refused: dict[Path, str] = {}
    for named in pictures:
        images = list_images(named)
        files += sorted([*images.files, *images.refused])
        refused |= images.refused
        for remark in images.passed.remarks():
            say(remark)
    fit = Fitting(info, say)
    answers: list[dict[str, Any]] = []
    bad: list[str] = []
    count = batch_of(info.size)
    for start in range(0, len(files), count):
        part = [refused.get(file) or _read(file, fit) for file in files[start : start + count]]
        readable = [image for image in part if isinstance(image, Tensor)]
        found = iter(_likeliest(classifier, readable, top) if readable else ())
        for file, image in zip(files[start : start + count], part, strict=True):
            if isinstance(image, Tensor):
                topk = next(found)
                answers.append({"path": str(file), **topk[0], "topk": topk})
                continue
            nothing: dict[str, Any] = {"label": None, "probability": None, "topk": []}
            answers.append({"path": str(file), **nothing, "error": image})
            bad.append(image)
    if len(bad) == len(files):
        more = f"; none of the {len(bad)} images can be read" if len(bad) > 1 else ""
        raise InputError(bad[0] + more)
    for reason in bad[:MOST_REMARKS]:
        say(reason)
    if len(bad) > MOST_REMARKS:
        say(f"{len(bad) - MOST_REMARKS:,} more images cannot be read (--json lists all)")
    return answers


def _read(file: Path, fit: Fitting) -> Tensor | str:
    """Return an image, or the reason why it cannot be read."""
    try:
        return fit(file)
    except InputError as error:
        return str(error)


def _likeliest(
    classifier: Classifier, images: Sequence[Tensor], top: int
) -> list[list[dict[str, Any]]]:
    """Return for each image the likeliest classes, each with its ``label`` and ``probability``."""
    logits = classifier.logits(torch.stack(list(images)))
    return [
        [{"label": label, "probability": value} for label, value in found.top]
        for found in likeliest(logits, classifier.info.classes, top)
    ]


class Fitting:
    """Reads images as a model takes them, and reports the first that had to be converted."""

    def __init__(self, info: ModelInfo, say: Callable[[str], None]) -> None:
        self.size, self.channels, self.say = info.size, len(info.mean), say
        self.told: set[str] = set()

    def __call__(self, file: Path) -> Tensor:
        """Return ``file`` as uint8 ``(C, H, W)``."""
        channels, *size = picture_form(file)
        if tuple(size) != self.size:
            was = f"{file} is {size_text(size)} pixels; it and any others are"
            self._tell("size", resized(was, self.size))
        if channels != self.channels:
            was = f"{file} is in {COLOURS[channels]}; it and any others are"
            self._tell("colour", converted(was, self.channels))
        return read_picture(file, channels=self.channels, size=self.size)

    def _tell(self, what: str, remark: str) -> None:
        if what not in self.told:
            self.told.add(what)
            self.say(remark)
