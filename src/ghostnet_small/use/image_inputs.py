"""Convert images of a Python caller to a network's input, and its logits to predictions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ghostnet_small.data.pictures import read_picture
from ghostnet_small.errors import InputError
from ghostnet_small.files import expanded

# Most images in one batch, and most of their pixels, whichever is reached first.
BATCH, BATCH_PIXELS = 500, 1 << 22

ImageInput: TypeAlias = str | os.PathLike[str] | Image.Image | np.ndarray | Tensor
_TAKEN = (
    "a path, a PIL image, a uint8 array (H, W) or (H, W, 3), or a uint8 tensor (1, H, W) or "
    "(3, H, W)"
)


@dataclass(frozen=True)
class Prediction:
    """The answer to one image: the likeliest class and its probability (0 to 1).

    ``top`` has the likeliest classes, the first included, each with its probability.
    """

    label: str
    probability: float
    top: tuple[tuple[str, float], ...]


def batch_of(size: tuple[int, int]) -> int:
    """Return how many images of ``size`` (height, width) are classified at once."""
    return max(1, min(BATCH, BATCH_PIXELS // (size[0] * size[1])))


def likeliest(logits: Tensor, classes: Sequence[str], top: int) -> list[Prediction]:
    """Return the ``top`` likeliest of ``classes`` by ``logits`` ``(N, K)``."""
    probabilities, rows = logits.double().softmax(1).topk(min(top, len(classes)))
    found = []
    for values, labels in zip(probabilities.tolist(), rows.tolist(), strict=True):
        best = tuple((classes[k], value) for k, value in zip(labels, values, strict=True))
        found.append(Prediction(*best[0], best))
    return found


def list_inputs(images: ImageInput | Sequence[ImageInput]) -> list[ImageInput]:
    """Return ``images`` as a list; a single image becomes a list of one."""
    if isinstance(images, str | bytes | os.PathLike | Image.Image | np.ndarray | Tensor):
        return [images]
    return list(images)


def image_tensor(image: ImageInput, number: int, channels: int, size: tuple[int, int]) -> Tensor:
    """Return ``image`` as uint8 ``(C, H, W)`` of so many ``channels`` and of ``size``.

    It is read, converted and resized as the command ``predict`` does with a file. ``number``
    counts from 0 and names the image in messages.

    Raises ``InputError`` where it cannot be read, or is of another type or shape than those that
    are taken.
    """
    if isinstance(image, str | os.PathLike):
        file = expanded(image)
        if file.is_dir():
            raise InputError(f"{file} is a folder; give its files, as a list")
        return read_picture(file, channels=channels, size=size)
    name = f"image {number}"
    if isinstance(image, np.ndarray | Tensor):
        image = Image.fromarray(_pixels(image, name))
    if not isinstance(image, Image.Image):
        raise InputError(f"{name} is of type {type(image).__name__}; give {_TAKEN}")
    try:
        # An image that PIL has opened is read from its file only now.
        return read_picture(_upright(image), channels=channels, size=size, name=name)
    except InputError:
        raise
    except Exception as error:  # PIL's decoders raise almost any type on damaged bytes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{name} cannot be read ({reason}); replace or remove it") from error


def _upright(image: Image.Image) -> Image.Image:
    """Return the image turned by its EXIF orientation, like one that is read from a file."""
    return ImageOps.exif_transpose(image) if "exif" in image.info else image


def _pixels(image: np.ndarray | Tensor, name: str) -> np.ndarray:
    """Return uint8 ``(H, W)`` or ``(H, W, 3)``, contiguous."""
    kind, shape = str(image.dtype).removeprefix("torch."), tuple(image.shape)
    if kind != "uint8":
        scaled = "; multiply values from 0 to 1 by 255 and round them" if "float" in kind else ""
        raise InputError(
            f"{name} holds {kind} values; give uint8 pixels from 0 to 255, not normalised{scaled}"
        )
    if isinstance(image, Tensor):
        fits = len(shape) == 3 and shape[0] in (1, 3)
        array = image.detach().cpu().numpy()
        array = (array[0] if shape[0] == 1 else array.transpose(1, 2, 0)) if fits else array
    else:
        fits = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
        array = image
    if not fits or 0 in shape:
        batch = "; of a batch give list(batch)" if len(shape) == 4 else ""
        what = "a tensor" if isinstance(image, Tensor) else "an array"
        raise InputError(f"{name} is {what} of shape {shape}; give {_TAKEN}{batch}")
    return np.ascontiguousarray(array)


def stacked(
    images: Sequence[ImageInput], first: int, channels: int, size: tuple[int, int]
) -> Tensor:
    """Return uint8 ``(N, C, H, W)`` of ``images``, of which the first has the number ``first``."""
    numbered = enumerate(images, first)
    return torch.stack([image_tensor(one, number, channels, size) for number, one in numbered])
