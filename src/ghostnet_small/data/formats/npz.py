"""Data sets in .npz files: Keras' and MedMNIST's names of arrays, or a file for each split."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ghostnet_small.data.formats.npy import ArrayHeader, NpzFile, open_npz
from ghostnet_small.data.formats.npz_cures import labels_cure, shape_cure, values_cure
from ghostnet_small.data.formats.numbered import MOST_CLASSES, check_class_names, number_labels
from ghostnet_small.data.formats.unzipped import Allowance
from ghostnet_small.data.listing import (
    SPLIT_NAMES,
    ListedSplit,
    Listing,
    RowNames,
    known_splits,
    used_classes,
)
from ghostnet_small.errors import InputError

ENDING = ".npz"
_SPLIT = "|".join(SPLIT_NAMES)
# x_train and y_train (Keras), train_images and train_labels (MedMNIST)
_LETTER_FIRST = re.compile(rf"([xy])_({_SPLIT})", re.IGNORECASE)
_SPLIT_FIRST = re.compile(rf"({_SPLIT})_(images|labels|x|y)", re.IGNORECASE)
_WITHOUT_SPLIT = re.compile(r"(images|labels|x|y)", re.IGNORECASE)
_CLASSES = ("classes", "class_names")
_LABEL_KINDS = ("b", "i", "u", "U", "S")


def has_npz(root: Path) -> bool:
    """Return whether ``root`` holds .npz files that are its data set."""
    # Beside a folder of images they hold something else, statistics or embeddings.
    return not (root / "train").is_dir() and any(map(is_npz, root.iterdir()))


def is_npz(file: Path) -> bool:
    """Return whether ``file`` has the ending of .npz files."""
    return file.suffix == ENDING and file.is_file()


def list_npz(path: Path) -> Listing:
    """The images of the .npz file ``path``, or of those in the directory ``path``.

    A file has arrays ``x_SPLIT`` and ``y_SPLIT``, or ``SPLIT_images`` and ``SPLIT_labels``;
    ``train.npz``, ``test.npz`` ... in a directory have ``images`` and ``labels``. Images are
    uint8 ``(N, H, W)`` or ``(N, H, W, C)`` with C = 1 or 3, labels integers or text, ``(N,)`` or
    ``(N, 1)``. Classes are the names in the array ``classes``, else the training labels in
    order. Arrays that are not compressed are mapped.

    Raises ``InputError`` for arrays of another kind, and files that are damaged or incomplete.
    """
    allowance = Allowance()
    pictures: dict[str, np.ndarray] = {}
    values: dict[str, np.ndarray] = {}
    names: dict[str, RowNames] = {}
    classes: tuple[str, ...] | None = None
    for file, split in _files(path):
        with open_npz(file, allowance) as npz:
            for ours, (images, labels) in _arrays(npz, split).items():
                pictures[ours], values[ours] = _read(npz, images, labels)
                names[ours] = RowNames(f"{file} {images}", len(values[ours]))
            classes = classes or _class_names(npz)
    kinds = {found.dtype.kind for found in values.values()}
    if len(kinds) > 1:
        raise InputError(f"{path} has labels of several kinds in its splits; save them as one")
    labels_of, keys = number_labels(values, names)
    shown = check_class_names([_shown(key, str(path)) for key in keys], f"{path}, in its labels,")
    if classes is not None:
        labels_of = _by_classes(labels_of, keys, shown, classes, path)
    splits = {
        split: ListedSplit(pictures[split], names[split], labels_of[split]) for split in pictures
    }
    listing = Listing(splits, classes or shown, origin={"form": "npz"})
    return used_classes(listing, str(path))


def _files(path: Path) -> list[tuple[Path, str | None]]:
    """The files to read; with the split that each holds, or None where one has all of them."""
    if not path.is_dir():
        return [(path, None)]
    files = {file.stem: file for file in sorted(path.iterdir()) if is_npz(file)}
    if not SPLIT_NAMES.keys().isdisjoint(files):
        return [(files[theirs], ours) for ours, theirs in known_splits(files, str(path)).items()]
    if len(files) > 1:
        names = ", ".join(file.name for file in files.values())
        if any(map(_is_one_array, files.values())):
            raise InputError(
                f"{path} holds arrays in files of their own ({names}), a form that is not read; "
                "save each split's as one file: np.savez('train.npz', "
                "images=np.load(...)['arr_0'], labels=np.load(...)['arr_0']), and so test.npz"
            )
        raise InputError(f"{path} holds several data sets: {names}; give one of the files")
    return [(file, None) for file in files.values()]


def _is_one_array(file: Path) -> bool:
    """Return whether ``file`` holds one array without a name, as KMNIST's files do."""
    with open_npz(file, Allowance()) as npz:
        return npz.names() == ["arr_0"]


def _arrays(npz: NpzFile, split: str | None) -> dict[str, tuple[str, str]]:
    """For each split, the names of the arrays of its images and of its labels."""
    found: dict[str, dict[str, str]] = {}
    single: dict[str, str] = {}
    for name in npz.names():
        if match := _WITHOUT_SPLIT.fullmatch(name):
            single[_kind(match[1])] = name
        elif match := _LETTER_FIRST.fullmatch(name):
            found.setdefault(match[2].lower(), {})[_kind(match[1])] = name
        elif match := _SPLIT_FIRST.fullmatch(name):
            found.setdefault(match[1].lower(), {})[_kind(match[2])] = name
    if split is not None or not found:
        found, splits = {split or "train": single}, {split or "train": split or "train"}
    else:
        splits = known_splits(found, str(npz.path))
    for theirs in splits.values():
        if set(found[theirs]) != {"pictures", "labels"}:
            raise InputError(
                f"{npz.path} has the arrays {', '.join(npz.names()[:20]) or 'none'}, which are not "
                f"images and labels of its {theirs} split; call them x_train and y_train, or "
                "train_images and train_labels; where a file is a split, images and labels"
            )
    return {ours: (found[name]["pictures"], found[name]["labels"]) for ours, name in splits.items()}


def _kind(word: str) -> str:
    return "pictures" if word.lower() in ("x", "images") else "labels"


def _read(npz: NpzFile, images: str, labels: str) -> tuple[np.ndarray, np.ndarray]:
    """Images ``(N, H, W)`` or ``(N, H, W, 3)`` and labels ``(N,)``."""
    pictures, numbers = npz.header(images), npz.header(labels)
    where, shape = f"{npz.path} {images}", pictures.shape
    if pictures.dtype != np.uint8:
        low, high = npz.value_range(pictures)
        raise InputError(
            f"{where} holds {pictures.dtype} from {low:g} to {high:g}; images are uint8, 0 to 255: "
            f"save {values_cure(pictures.dtype, low, high)}"
        )
    count = numbers.shape[0] if numbers.shape else 0
    cure = shape_cure(shape, count)
    fits = len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3))
    if not fits or 0 in shape or (cure and count != shape[0]):
        raise InputError(
            f"{where} has the shape {shape}; images have (N, H, W), or (N, H, W, C) with C = 1 "
            f"or 3, and none of them 0{f': save {cure}' if cure else ''}"
        )
    if numbers.kind not in _LABEL_KINDS or numbers.shape not in (shape[:1], (shape[0], 1)):
        cure = None
        if numbers.kind in "biuf" and numbers.shape[:1] == shape[:1] and len(numbers.shape) <= 2:
            cure = labels_cure(npz.values(numbers), shape[0])
        raise InputError(
            f"{npz.path} {labels} holds {numbers.dtype} of shape {numbers.shape}; the labels of "
            f"{images} are integers or text of shape ({shape[0]},) or ({shape[0]}, 1)"
            f"{f': save {cure}' if cure else ''}"
        )
    values = _label_values(npz, numbers)
    pixels = npz.values(pictures)
    return (pixels[..., 0] if shape[3:] == (1,) else pixels), values


def _label_values(npz: NpzFile, header: ArrayHeader) -> np.ndarray:
    # Numbering the classes sorts a copy.
    values = npz.values(header, copies=4).reshape(-1)
    if header.kind == "U":
        # NumPy accepts any number as a character; Python does not.
        letters = values.view(header.dtype.byteorder.replace("|", "=") + "u4")
        if letters.max(initial=0) > 0x10FFFF:
            raise InputError(f"{npz.path} {header.name} is damaged; save it again")
    return values if header.kind in "US" else values.astype(np.int64)


def _class_names(npz: NpzFile) -> tuple[str, ...] | None:
    """The names in the array ``classes``, where there is one."""
    for name in npz.names():
        if name not in _CLASSES:
            continue
        header, where = npz.header(name), f"{npz.path} {name}"
        if header.kind not in "US" or len(header.shape) != 1 or header.shape[0] > MOST_CLASSES:
            raise InputError(f"{where} holds {header.dtype}; class names are text of shape (K,)")
        return check_class_names(
            [_shown(v, where) for v in _label_values(npz, header).tolist()], where
        )
    return None


def _shown(value: int | str | bytes, where: str) -> str:
    """A label as the class's name."""
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise InputError(f"{where}: {value[:40]!r} is not UTF-8 text; save it as str") from None


def _by_classes(
    labels: dict[str, Tensor],
    keys: Sequence[int | str | bytes],
    shown: tuple[str, ...],
    classes: tuple[str, ...],
    path: Path,
) -> dict[str, Tensor]:
    """``labels`` as places in ``classes``, which integers give and text is looked up in."""
    places = {name: place for place, name in enumerate(classes)}
    numbers = []
    for key, name in zip(keys, shown, strict=True):
        place = key if isinstance(key, int) else places.get(name, -1)
        if not 0 <= place < len(classes):
            raise InputError(
                f"{path} has the label {name!r}, but its {len(classes)} classes are "
                f"{', '.join(classes[:10])}{', ...' if len(classes) > 10 else ''}"
            )
        numbers.append(place)
    number = torch.tensor(numbers)
    return {split: number[found] for split, found in labels.items()}
