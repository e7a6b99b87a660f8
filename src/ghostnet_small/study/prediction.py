"""Trained weights name a user's pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ghostnet_small.data.dataset import normalize, size_text
from ghostnet_small.data.pictures import find_pictures, read_picture
from ghostnet_small.errors import InputError
from ghostnet_small.models.weights import ModelInfo, load
from ghostnet_small.study.evaluation import check_finite

# Pictures and pixels that are named at once, whichever is reached first.
BATCH, BATCH_PIXELS = 500, 1 << 22


def predict(
    path: Path,
    pictures: Sequence[Path],
    *,
    top: int = 5,
    weights: str = "last",
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """For each picture its ``path``, ``label``, ``probability`` and the ``top`` likeliest classes.

    ``pictures`` are files, and folders that are searched to the bottom. One of another size or
    colour than the model's is converted, and the first of another size is told to ``say``.

    Raises ``InputError`` where the weights cannot be read or are of neither one channel nor
    three, a folder holds no picture, or a picture cannot be read.
    """
    model, info = load(path, weights)
    if len(info.mean) not in (1, 3):
        raise InputError(
            f"{path} takes pictures of {len(info.mean)} channels, and files hold 1 (grey) or 3; "
            "give weights that were trained on those"
        )
    model.check_size(*info.size)
    files = [file for named in pictures for file in find_pictures(named)]
    answers = []
    told = False
    count = max(1, min(BATCH, BATCH_PIXELS // (info.size[0] * info.size[1])))
    for start in range(0, len(files), count):
        part = files[start : start + count]
        images = []
        for file in part:
            picture, size = _fitting(file, info)
            if size != info.size and not told:
                told = True
                say(
                    f"{file} is {size_text(size)} pixels; it and others are resized to the "
                    f"{size_text(info.size)} that the model was trained on"
                )
            images.append(picture)
        with torch.inference_mode():
            logits = model(normalize(torch.stack(images), info.mean, info.std))
        check_finite(logits, path)
        probabilities, rows = logits.double().softmax(1).topk(min(top, len(info.classes)))
        for file, values, labels in zip(part, probabilities.tolist(), rows.tolist(), strict=True):
            topk = [
                {"label": info.classes[label], "probability": value}
                for label, value in zip(labels, values, strict=True)
            ]
            answers.append({"path": str(file), **topk[0], "topk": topk})
    return answers


def _fitting(file: Path, info: ModelInfo) -> tuple[Tensor, tuple[int, int]]:
    """A picture as the model takes it, and the size (height, width) that it had."""
    channels = len(info.mean)
    picture = read_picture(file, channels=channels)
    size = (picture.shape[1], picture.shape[2])
    if size != info.size:
        picture = read_picture(file, channels=channels, size=info.size)
    return picture, size
