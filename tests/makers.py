"""Tiny made data sets in the layouts that users have, with classes told apart by colour."""

from __future__ import annotations

import colorsys
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from pyarrow import parquet
from torch import Tensor

CIFAR10_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)


def uneven_pictures(n: int, channels: int = 3, height: int = 20, width: int = 24) -> Tensor:
    """The same uneven pictures everywhere, without a random generator; some are darker."""
    count = torch.arange(n * channels * height * width)
    values = ((count * count * 2654435761 >> 20) % 251).view(n, channels, height, width)
    return (values // (1 + torch.arange(1, n + 1) % 3)[:, None, None, None]).to(torch.uint8)


def sha256(tensor: Tensor) -> str:
    """The digest of a tensor's values."""
    return hashlib.sha256(tensor.cpu().contiguous().numpy().tobytes()).hexdigest()


def make_picture(
    label: int, classes: int, *, size: int, random: np.random.Generator, grey: bool = False
) -> Image.Image:
    """A noisy picture in its class's hue, with a stripe whose place is the class's too."""
    share = label / classes
    base = np.array(colorsys.hsv_to_rgb(share, 0.8, 0.7)) * 255
    pixels = np.tile(base, (size, size, 1))
    top = int(share * (size - 2))
    pixels[top : top + max(2, size // 8)] = 240
    pixels = np.clip(pixels + random.normal(0, 20, pixels.shape), 0, 255).astype(np.uint8)
    image = Image.fromarray(pixels)
    return image.convert("L") if grey else image


def png_bytes(image: Image.Image) -> bytes:
    """The picture as the bytes of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def write_parquet(
    file: Path,
    pictures: Sequence[bytes | None],
    columns: dict[str, Sequence[Any]],
    features: dict[str, Any] | None,
    picture_column: str = "img",
) -> None:
    """One parquet file; ``features`` is the Hugging Face metadata, None for a bare file."""
    table = pa.table(
        {
            picture_column: pa.array(
                [{"bytes": content, "path": None} for content in pictures],
                type=pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
            ),
            **{name: pa.array(values) for name, values in columns.items()},
        }
    )
    if features is not None:
        metadata = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": metadata})
    file.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, file)


def class_label(names: Sequence[str]) -> dict[str, Any]:
    """Hugging Face's metadata of a label column with these class names."""
    return {"names": list(names), "_type": "ClassLabel"}


def make_parquet(
    root: Path,
    *,
    train: int = 256,
    test: int = 64,
    validation: int = 0,
    classes: Sequence[str] = CIFAR10_CLASSES,
    size: int = 32,
    grey: bool = False,
    shards: int = 1,
    seed: int = 0,
) -> Path:
    """A data set in CIFAR-10's layout below ``root``; a split of 0 pictures is left out.

    Labels are balanced and in random order; ``shards`` cuts the training split into files.
    """
    random = np.random.default_rng(seed)
    features = {"img": {"_type": "Image"}, "label": class_label(classes)}
    for split, count in (("train", train), ("validation", validation), ("test", test)):
        if not count:
            continue
        labels = random.permutation(np.arange(count) % len(classes))
        parts = np.array_split(labels, shards if split == "train" else 1)
        for number, part in enumerate(parts):
            pictures = [
                png_bytes(make_picture(k, len(classes), size=size, random=random, grey=grey))
                for k in part.tolist()
            ]
            name = f"{split}-{number:05d}-of-{len(parts):05d}.parquet"
            write_parquet(root / "plain_text" / name, pictures, {"label": part.tolist()}, features)
    return root


def make_folder(
    root: Path,
    *,
    train: int = 12,
    test: int = 4,
    validation: int = 0,
    classes: Sequence[str] = ("apple", "leaf", "plum"),
    size: int = 16,
    grey: bool = False,
    extension: str = "png",
    seed: int = 0,
) -> Path:
    """``root/<split>/<class>/NNN.png``, so many pictures of each class; 0 leaves a split out."""
    random = np.random.default_rng(seed)
    for split, count in (("train", train), ("val", validation), ("test", test)):
        for label, name in enumerate(classes if count else ()):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                image = make_picture(label, len(classes), size=size, random=random, grey=grey)
                image.save(folder / f"{number:03d}.{extension}")
    return root


def summary(seed: int = 0, top1: float = 83.5, **changes: Any) -> dict[str, Any]:
    """The summary of a finished run, as ``summary.json`` holds it."""
    return {
        "recipe": {
            "name": "small",
            "data": {"root": "/somewhere", "validation": 0.1},
            "train": {"epochs": 2, "seed": seed, "ema_decay": 0.99},
        },
        "recipe_hash": "0123456789abcdef",
        "seed": seed,
        "commit": "fedcba9876543210",
        "dirty": False,
        "data": {"fingerprint": "f", "train_images": 45000, "classes": ["a", "b"]},
        "device": {"kind": "cpu", "name": "A CPU", "threads": 2},
        "libraries": {"torch": "2"},
        "wall_seconds": 2465.0 + seed,
        "images_per_s": 1234.4,
        "model": {
            "params": {"training": 483554, "deployed": 374174},
            "macs": {"training": 19634560, "deployed": 8962176},
        },
        "last": {"test_top1": top1, "test_correct": round(top1 * 100), "test_total": 10000},
        "epochs": [{"epoch": 1}, {"epoch": 2}],
    } | changes
