"""IDX files, the form of MNIST and of the sets made like it, plain or gzipped."""

from __future__ import annotations

import glob
import gzip
import math
import os
import re
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from ghostnet_small.data.formats.numbered import number_labels
from ghostnet_small.data.formats.unzipped import Allowance, Readable, read_at_most
from ghostnet_small.data.listing import ListedSplit, Listing, RowNames, known_splits, main_split
from ghostnet_small.errors import InputError, os_error_text

# train-images-idx3-ubyte, t10k-images.idx3-ubyte.gz, emnist-letters-train-images-idx3-ubyte.gz
_IMAGES = re.compile(
    r"(.*?)(train|t10k|test|validation|valid|val)-images[-.]idx([34])-ubyte(\.gz)?"
)
_SPLITS = {"t10k": "test"}
# EMNIST's publisher wrote each image with its rows and columns exchanged.
_ON_ITS_SIDE = "emnist-"
_UNSIGNED_BYTE = 8


def has_idx(root: Path) -> bool:
    """Return whether ``root`` holds IDX files of images."""
    return any(_IMAGES.fullmatch(entry.name) and entry.is_file() for entry in root.iterdir())


def is_idx(file: Path) -> bool:
    """Return whether ``file`` is called as the training images of IDX sets are."""
    match = _IMAGES.fullmatch(file.name)
    return match is not None and match[2] == "train" and file.is_file()


def list_idx(path: Path) -> Listing:
    """The images of ``SPLIT-images-idx3-ubyte[.gz]`` with ``SPLIT-labels-idx1-ubyte[.gz]``.

    ``path`` is the directory, or the file of the training images where that holds several sets.
    ``SPLIT`` is ``train``, ``t10k`` (or ``test``) or ``validation``. Images are ``(N, H, W)``, or
    ``(N, H, W, C)`` with C = 1 or 3 (``idx4``). The files have no class names, so that classes
    are called by the numbers that the training labels have. Files that are not zipped are
    mapped, so that their pixels take no memory.

    Raises ``InputError`` for files that are damaged, missing or contradict each other.

    Source: the format's description at yann.lecun.com/exdb/mnist (MNIST database).
    """
    found = _find(path)
    allowance = Allowance()
    pictures: dict[str, np.ndarray] = {}
    values: dict[str, np.ndarray] = {}
    names: dict[str, RowNames] = {}
    for ours, theirs in known_splits(found, str(path)).items():
        file = found[theirs]
        pictures[ours] = _read(file, _check_pictures, allowance)
        names[ours] = RowNames(str(file), len(pictures[ours]))
        values[ours] = _read(
            _labels_file(file), partial(_check_labels, file, len(names[ours])), allowance
        )
    labels, classes = number_labels(values, names)
    splits = {
        split: ListedSplit(
            pixels[..., 0] if pixels.ndim == 4 and pixels.shape[3] == 1 else pixels,
            names[split],
            labels[split],
        )
        for split, pixels in pictures.items()
    }
    remarks: tuple[str, ...] = ()
    main = found[main_split(found)]
    if main.name.startswith(_ON_ITS_SIDE):
        remarks = (
            f"{main}: EMNIST is published with rows and columns of each image exchanged; "
            "a model trained on it classifies upright images wrongly (docs/data.md shows how to "
            "turn the set)",
        )
    return Listing(splits, tuple(map(str, classes)), remarks, origin={"form": "idx"})


def _find(path: Path) -> dict[str, Path]:
    """The images' file of each split of the set at ``path``."""
    sets: dict[tuple[str, str], dict[str, Path]] = {}
    chosen = None
    for file in sorted((path.parent if path.is_file() else path).iterdir()):
        match = _IMAGES.fullmatch(file.name)
        # Beside a file that was unzipped lies the zipped one; a folder may have a file's name.
        if match is None or not file.is_file() or (match[4] and file.with_suffix("").is_file()):
            continue
        begin, split, axes, _ = match.groups()
        found = sets.setdefault((begin, axes), {})
        split = _SPLITS.get(split, split)
        if split in found:
            raise InputError(
                f"{path} has both {found[split].name} and {file.name}; rename the one that is not "
                "to be read"
            )
        found[split] = file
        if file == path or file == path.with_suffix(""):
            chosen = found
    if chosen is not None:
        return chosen
    if len(sets) > 1:
        files = [found["train"] for found in sets.values() if "train" in found]
        if files:
            raise InputError(
                f"{path} holds several data sets in IDX form "
                f"({', '.join(file.name for file in files)}); give the images file of one as "
                f"data.root, such as {files[0]}"
            )
    return next(iter(sets.values()), {})


def _labels_file(images: Path) -> Path:
    """Return the file with the labels for the file ``images``; either may be zipped."""
    begin, images_word, end = images.name.removesuffix(".gz").rpartition("-images")
    name = f"{begin}{images_word.replace('images', 'labels')}{end}"
    plain = images.with_name(re.sub(r"idx[34]-ubyte$", "idx1-ubyte", name))
    for file in (plain, plain.with_name(f"{plain.name}.gz")):
        if file.is_file():
            return file
    stem = re.split(r"[-.]idx", plain.name)[0]
    for file in sorted(images.parent.glob(f"{glob.escape(stem)}[-.]*")):
        raise InputError(
            f"{images} has its labels in {file.name}, a form that is not read; save the classes as "
            f"an IDX file of one unsigned byte for each image, called {plain.name}"
        )
    raise InputError(f"{images} has no labels: {plain}[.gz] is not there; download it too")


def _check_pictures(file: Path, shape: tuple[int, ...]) -> None:
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3)) or 0 in shape:
        raise InputError(
            f"{file} has the shape {shape}; images have (N, H, W), or (N, H, W, C) with C = 1 "
            "or 3, and none of them 0; download it again"
        )


def _check_labels(images: Path, count: int, file: Path, shape: tuple[int, ...]) -> None:
    if shape != (count,):
        raise InputError(
            f"{file} has the shape {shape}, but {images} has {count} images; download both again"
        )


def _read(
    file: Path, check: Callable[[Path, tuple[int, ...]], None], allowance: Allowance
) -> np.ndarray:
    """An IDX file's array of bytes, once ``check`` has passed the shape that it promises."""
    try:
        with file.open("rb") as raw:
            if raw.read(2) != b"\x1f\x8b":
                raw.seek(0)
                shape = _read_shape(raw, file)
                check(file, shape)
                size = os.fstat(raw.fileno()).st_size - raw.tell()
                _check_size(file, shape, size)
                return np.memmap(raw, np.uint8, "r", raw.tell(), shape)
            raw.seek(0)
            stream = gzip.GzipFile(fileobj=raw)
            shape = _read_shape(stream, file)
            check(file, shape)
            size = math.prod(shape)
            cure = f"unzip it (gunzip {file.name}): files that are not zipped are mapped"
            allowance.take(size, shape[0], str(file), cure)
            content = read_at_most(stream, size + 1)
            _check_size(file, shape, len(content))
            return np.frombuffer(content, np.uint8).reshape(shape)
    except OSError as error:
        raise InputError(f"{file} cannot be read ({os_error_text(error)})") from None
    except (EOFError, zlib.error) as error:
        raise InputError(f"{file} cannot be unzipped ({error}); download it again") from None


def _read_shape(stream: Readable, file: Path) -> tuple[int, ...]:
    head = stream.read(4)
    if head[1:] == bytes((_UNSIGNED_BYTE, 0, 0)):
        raise InputError(
            f"{file} has its header in little-endian order (it begins with {head.hex()}); write "
            "the numbers of the header in big-endian order"
        )
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] != _UNSIGNED_BYTE or not 1 <= head[3] <= 4:
        raise InputError(
            f"{file} is not an IDX file of unsigned bytes (it begins with {head.hex()}, not with "
            "000008 and the number of axes); download it again"
        )
    axes = stream.read(4 * head[3])
    if len(axes) < 4 * head[3]:
        raise InputError(f"{file} ends within its header; download it again")
    return tuple(np.frombuffer(axes, ">u4").tolist())


def _check_size(file: Path, shape: tuple[int, ...], found: int) -> None:
    if found != math.prod(shape):
        kind = "more" if found > math.prod(shape) else f"only {found}"
        raise InputError(
            f"{file} promises {'x'.join(map(str, shape))} bytes and holds {kind}; download it again"
        )
