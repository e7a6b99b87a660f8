"""IDX files, the form of MNIST and of the sets made like it, plain or gzipped."""

from __future__ import annotations

import gzip
import math
import re
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import torch

from ghostnet_small.data.listing import ListedSplit, Listing, known_splits
from ghostnet_small.errors import InputError

# train-images-idx3-ubyte, t10k-images.idx3-ubyte.gz, emnist-letters-train-images-idx3-ubyte.gz
_IMAGES = re.compile(r"(.*?)(train|t10k|test|validation|valid|val)-images[-.]idx[34]-ubyte(\.gz)?")
_SPLITS = {"t10k": "test"}
_UNSIGNED_BYTE = 8


def has_idx(root: Path) -> bool:
    """Whether ``root`` holds IDX files of pictures."""
    return any(_IMAGES.fullmatch(entry.name) for entry in root.iterdir())


def list_idx(root: Path) -> Listing:
    """The pictures of ``SPLIT-images-idx3-ubyte[.gz]`` with ``SPLIT-labels-idx1-ubyte[.gz]``.

    ``SPLIT`` is ``train``, ``t10k`` (or ``test``) or ``validation``. Pictures are ``(N, H, W)``, or
    ``(N, H, W, C)`` with C = 1 or 3 (``idx4``). The files have no class names, so that classes
    are called by their numbers.

    Raises ``InputError`` for files that are damaged, missing or contradict each other.

    Source: the format's description at yann.lecun.com/exdb/mnist (MNIST database).
    """
    found: dict[str, Path] = {}
    begins = set()
    for file in sorted(root.iterdir()):
        match = _IMAGES.fullmatch(file.name)
        if match is None:
            continue
        split = _SPLITS.get(match[2], match[2])
        if split in found and match[1] in begins:
            raise InputError(f"{root} has both {found[split].name} and {file.name}; keep one")
        begins.add(match[1])
        found[split] = file
    if len(begins) > 1:
        raise InputError(
            f"{root} holds several data sets in IDX form ({', '.join(sorted(begins))}...); give a "
            "directory with one of them"
        )
    splits: dict[str, ListedSplit] = {}
    numbers: dict[str, np.ndarray] = {}
    for ours, theirs in known_splits(found, str(root)).items():
        file = found[theirs]
        pictures = _read_pictures(file)
        numbers[ours] = labels = _read_labels(_labels_file(file))
        if len(labels) != len(pictures):
            raise InputError(
                f"{file} has {len(pictures)} pictures and {_labels_file(file)} {len(labels)} "
                "labels; download both again"
            )
        names = [f"{file} row {row}" for row in range(len(labels))]
        splits[ours] = ListedSplit(pictures, names, torch.from_numpy(labels))
    classes = range(max(int(labels.max(initial=0)) for labels in numbers.values()) + 1)
    return Listing(splits, tuple(map(str, classes)))


def _labels_file(images: Path) -> Path:
    """Where the labels of the pictures in ``images`` lie; zipped or not, whatever these are."""
    name = images.name.removesuffix(".gz").replace("-images", "-labels")
    plain = images.with_name(re.sub(r"idx[34]-ubyte$", "idx1-ubyte", name))
    for file in (plain, plain.with_name(f"{plain.name}.gz")):
        if file.is_file():
            return file
    raise InputError(f"{images} has no labels: {plain}[.gz] is not there; download it too")


def _read_pictures(file: Path) -> np.ndarray:
    values = _read(file)
    if values.ndim not in (3, 4) or (values.ndim == 4 and values.shape[3] not in (1, 3)):
        raise InputError(
            f"{file} has the shape {values.shape}; pictures have (N, H, W), or (N, H, W, C) with "
            "C = 1 or 3"
        )
    return values[..., 0] if values.ndim == 4 and values.shape[3] == 1 else values


def _read_labels(file: Path) -> np.ndarray:
    values = _read(file)
    if values.ndim != 1:
        raise InputError(f"{file} has the shape {values.shape}; labels have (N,)")
    return values.astype(np.int64)


def _read(file: Path) -> np.ndarray:
    """An IDX file's array of bytes; what it asks for is bounded by what it holds."""
    try:
        with file.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if zipped else raw
            return _parse(stream, file)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{file} cannot be read ({error}); download it again") from None


def _parse(stream: BinaryIO, file: Path) -> np.ndarray:
    head = stream.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] != _UNSIGNED_BYTE or not 1 <= head[3] <= 4:
        raise InputError(
            f"{file} is no IDX file of unsigned bytes (it begins with {head.hex()}, not with "
            "000008 and the number of axes); download it again"
        )
    axes = stream.read(4 * head[3])
    if len(axes) < 4 * head[3]:
        raise InputError(f"{file} ends within its header; download it again")
    shape = tuple(np.frombuffer(axes, ">u4").tolist())
    size = math.prod(shape)
    content = _read_at_most(stream, size + 1)
    if len(content) != size:
        kind = "more" if len(content) > size else f"only {len(content)}"
        raise InputError(
            f"{file} promises {'x'.join(map(str, shape))} bytes and holds {kind}; download it again"
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def _read_at_most(stream: BinaryIO, size: int) -> bytearray:
    """Up to ``size`` bytes, in parts: a header's promise alone takes no memory."""
    content = bytearray()
    while len(content) < size and (part := stream.read(min(1 << 20, size - len(content)))):
        content += part
    return content
