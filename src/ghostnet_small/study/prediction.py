"""Trained weights, or what was exported of them, name a user's pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ghostnet_small.data.dataset import size_text
from ghostnet_small.data.image_files import find_pictures
from ghostnet_small.data.pictures import picture_form, read_picture
from ghostnet_small.errors import InputError
from ghostnet_small.models.weights import ModelInfo
from ghostnet_small.study.classifier import open_classifier

# Pictures and pixels that are named at once, whichever is reached first.
BATCH, BATCH_PIXELS = 500, 1 << 22
COLOURS = {1: "grey", 3: "colour"}


def predict(
    path: Path,
    pictures: Sequence[Path],
    *,
    top: int = 5,
    weights: str | None = None,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """For each picture its ``path``, ``label``, ``probability`` and the ``top`` likeliest classes.

    ``path`` and ``weights`` as ``open_classifier`` takes them. ``pictures`` are files, and folders
    that are searched to the bottom. One of another size or colour than the model's is converted,
    and the first of each is told to ``say``.

    Raises ``InputError`` where the weights cannot be read or are of neither one channel nor
    three, a folder holds no picture, or a picture cannot be read.
    """
    classifier = open_classifier(path, weights=weights)
    info = classifier.info
    if len(info.mean) not in COLOURS:
        raise InputError(
            f"{path} takes pictures of {len(info.mean)} channels, and files hold 1 (grey) or 3; "
            "give weights that were trained on those"
        )
    classifier.check_size(*info.size)
    files = [file for named in pictures for file in find_pictures(named, say)]
    fit = Fitting(info, say)
    answers = []
    count = max(1, min(BATCH, BATCH_PIXELS // (info.size[0] * info.size[1])))
    for start in range(0, len(files), count):
        part = files[start : start + count]
        logits = classifier.logits(torch.stack([fit(file) for file in part]))
        probabilities, rows = logits.double().softmax(1).topk(min(top, len(info.classes)))
        for file, values, labels in zip(part, probabilities.tolist(), rows.tolist(), strict=True):
            topk = [
                {"label": info.classes[label], "probability": value}
                for label, value in zip(labels, values, strict=True)
            ]
            answers.append({"path": str(file), **topk[0], "topk": topk})
    return answers


class Fitting:
    """Reads pictures as a model takes them, and tells the first that had to be changed for it."""

    def __init__(self, info: ModelInfo, say: Callable[[str], None]) -> None:
        self.size, self.channels, self.say = info.size, len(info.mean), say
        self.told: set[str] = set()

    def __call__(self, file: Path) -> Tensor:
        """uint8 ``(C, H, W)``."""
        channels, *size = picture_form(file)
        if tuple(size) != self.size:
            self._tell("resized", file, f"{size_text(size)} pixels", f"{size_text(self.size)}")
        if channels != self.channels:
            was, becomes = COLOURS[channels], COLOURS[self.channels]
            self._tell("converted", file, f"in {was}", f"{becomes}")
        return read_picture(file, channels=self.channels, size=self.size)

    def _tell(self, done: str, file: Path, was: str, becomes: str) -> None:
        if done not in self.told:
            self.told.add(done)
            self.say(
                f"{file} is {was}; it and others are {done} to the {becomes} that the model was "
                "trained on"
            )
