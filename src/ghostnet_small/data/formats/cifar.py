"""The original archives of CIFAR-10 and CIFAR-100, in their Python and their binary form."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ghostnet_small.data.formats.numbered import check_class_names
from ghostnet_small.data.formats.tar import MOST_ARCHIVE, MOST_FILE, read_tar
from ghostnet_small.data.formats.unpickle import unpickle
from ghostnet_small.data.listing import FileRowNames, ListedSplit, Listing
from ghostnet_small.errors import InputError, os_error_text

ARCHIVE_ENDINGS = (".tar.gz", ".tgz", ".tar")
_SIDE = 32
_PIXELS = 3 * _SIDE * _SIDE


@dataclass(frozen=True)
class _Layout:
    """The files of one form.

    ``columns``: for each kind of label, the default first, its place in a binary record, the
    file with the classes' names and, in a pickle, their key.
    """

    folder: str
    train: tuple[str, ...]
    test: str
    columns: dict[str, tuple[int, str, str]]
    pickled: bool

    @property
    def files(self) -> set[str]:
        return {*self.train, self.test, *(names for _, names, _ in self.columns.values())}

    def found(self, folder: Path) -> bool:
        names = next(iter(self.columns.values()))[1]
        return (folder / names).is_file() and any((folder / file).is_file() for file in self.train)


_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
_LAYOUTS = (
    _Layout(
        "cifar-10-batches-py",
        _BATCHES,
        "test_batch",
        {"labels": (0, "batches.meta", "label_names")},
        pickled=True,
    ),
    _Layout(
        "cifar-10-batches-bin",
        tuple(f"{batch}.bin" for batch in _BATCHES),
        "test_batch.bin",
        {"labels": (0, "batches.meta.txt", "")},
        pickled=False,
    ),
    _Layout(
        "cifar-100-python",
        ("train",),
        "test",
        {
            "fine_labels": (1, "meta", "fine_label_names"),
            "coarse_labels": (0, "meta", "coarse_label_names"),
        },
        pickled=True,
    ),
    _Layout(
        "cifar-100-binary",
        ("train.bin",),
        "test.bin",
        {
            "fine_labels": (1, "fine_label_names.txt", ""),
            "coarse_labels": (0, "coarse_label_names.txt", ""),
        },
        pickled=False,
    ),
)
# No two forms have a file's name in common, so that a file says which form it is of.
_OWNERS = {file: layout for layout in _LAYOUTS for file in layout.files}

Content = bytes | bytearray
Part = tuple[np.ndarray, dict[str, np.ndarray]]  # (N, 3072), and the labels of each kind


def has_cifar(root: Path) -> bool:
    """Return whether ``root``, or a folder in it named as in the archives, holds CIFAR's files."""
    return bool(_folders(root))


def is_cifar_archive(file: Path) -> bool:
    """Return whether ``file`` is named as an archive."""
    return file.name.endswith(ARCHIVE_ENDINGS) and file.is_file()


def list_cifar(path: Path, label_column: str | None = None) -> Listing:
    """CIFAR-10 or CIFAR-100 from the archive ``path`` or the directory that it was unpacked to.

    Pixels come as uint8 ``(N, 32, 32, 3)``. ``label_column`` is ``fine_labels`` (the default) or
    ``coarse_labels`` for CIFAR-100. Pickles are read by ``unpickle``, which runs nothing.

    Raises ``InputError`` for files that are missing, damaged or contradict each other.

    Source: the description at www.cs.toronto.edu/~kriz/cifar.html.
    """
    if path.is_dir():
        folders = _folders(path)
        if len(folders) > 1:
            raise InputError(
                f"{path} holds several data sets: {', '.join(folder.name for folder in folders)}; "
                "give the folder of one of them"
            )
        path = folders[0]
        files: Iterator[tuple[str, Content]] = _read_folder(path, _OWNERS)
    else:
        files = read_tar(path, _OWNERS)
    parts: dict[str, Part] = {}
    names: dict[str, tuple[str, ...]] = {}  # of the classes, for each kind of label
    layouts: list[_Layout] = []
    for file, content in files:
        layout, where = _OWNERS[file], str(path / file)
        if layout not in layouts:
            layouts.append(layout)
        if file in (*layout.train, layout.test):
            if file in parts:
                raise InputError(f"{path} has {file} twice; download it again")
            parts[file] = _read_part(content, layout, where)
        else:
            names |= _read_names(content, layout, file, where)
    if len(layouts) != 1:
        raise InputError(
            f"{path} is not an archive of CIFAR-10 or CIFAR-100: it has the files of "
            f"{' and '.join(layout.folder for layout in layouts) or 'neither'}; unpack it and give "
            "the directory of one data set"
        )
    return _listing(path, layouts[0], parts, names, label_column)


def _folders(root: Path) -> list[Path]:
    """The folders with CIFAR's files: ``root`` or some in it."""
    if any(layout.found(root) for layout in _LAYOUTS):
        return [root]
    return [root / layout.folder for layout in _LAYOUTS if layout.found(root / layout.folder)]


def _read_folder(folder: Path, wanted: Container[str]) -> Iterator[tuple[str, Content]]:
    """Name and content of the files in ``folder`` that are called one of ``wanted``."""
    total = 0
    for file in sorted(folder.iterdir()):
        if file.name not in wanted or not file.is_file():
            continue
        try:
            size = file.stat().st_size
            total += size
            if size > MOST_FILE or total > MOST_ARCHIVE:
                raise InputError(
                    f"{file} has {size} bytes; CIFAR's files are smaller, download it again"
                )
            yield file.name, file.read_bytes()
        except OSError as error:
            raise InputError(f"{file} cannot be read ({os_error_text(error)})") from None


def _read_part(content: Content, layout: _Layout, where: str) -> Part:
    """The pixels ``(N, 3072)`` and labels ``(N,)`` of one file."""
    if not layout.pickled:
        length = len(layout.columns) + _PIXELS
        if not content or len(content) % length:
            raise InputError(
                f"{where} has {len(content)} bytes, which is not a multiple of {length}; "
                "download it again"
            )
        records = np.frombuffer(content, np.uint8).reshape(-1, length)
        labels = {
            column: records[:, place].astype(np.int64)
            for column, (place, _, _) in layout.columns.items()
        }
        return records[:, len(layout.columns) :], labels
    found = unpickle(content, where)
    pixels = found.get("data")
    if (
        not isinstance(pixels, np.ndarray)
        or pixels.dtype != np.uint8
        or pixels.ndim != 2
        or pixels.shape[1] != _PIXELS
        or len(pixels) == 0
    ):
        raise InputError(f"{where} has no 'data' of uint8 (N, {_PIXELS}); download it again")
    return pixels, {
        column: _label_numbers(found.get(column), len(pixels), column, where)
        for column in layout.columns
    }


def _label_numbers(values: Any, count: int, column: str, where: str) -> np.ndarray:
    if isinstance(values, np.ndarray) and values.ndim == 1:
        values = values.tolist()
    if (
        not isinstance(values, list)
        or len(values) != count
        or not all(isinstance(value, int) and 0 <= value < 2**31 for value in values)
    ):
        raise InputError(
            f"{where} has no {column!r} with a number for each of its {count} images; download "
            "it again"
        )
    return np.array(values, np.int64)


def _read_names(
    content: Content, layout: _Layout, file: str, where: str
) -> dict[str, tuple[str, ...]]:
    """The classes' names for the kinds of label that have theirs in ``file``."""
    found = unpickle(content, where) if layout.pickled else {}
    names: dict[str, tuple[str, ...]] = {}
    for column, (_, place, key) in layout.columns.items():
        if place != file:
            continue
        try:
            if layout.pickled:
                values = [
                    value.decode() if isinstance(value, bytes) else str(value)
                    for value in found[key]
                    if isinstance(value, str | bytes)
                ]
            else:
                values = str(content, "utf-8").split("\n")
        except (KeyError, TypeError, UnicodeDecodeError):
            values = []
        found_names = [value.strip() for value in values if value.strip()]
        names[column] = check_class_names(found_names, where)
    return names


def _listing(
    path: Path,
    layout: _Layout,
    parts: dict[str, Part],
    names: dict[str, tuple[str, ...]],
    label_column: str | None,
) -> Listing:
    column = next(iter(layout.columns)) if label_column is None else label_column
    if column not in layout.columns:
        raise InputError(
            f"data.label_column {column!r} is not a label column of {path}; it has "
            f"{', '.join(layout.columns)}"
        )
    lacking = [file for file in layout.train if file not in parts]
    if column not in names:
        lacking.append(layout.columns[column][1])
    if lacking:
        raise InputError(f"{path} lacks {', '.join(lacking)}; download it again")
    splits: dict[str, ListedSplit] = {}
    for split, files in (("train", layout.train), ("test", (layout.test,))):
        chosen = {file: parts[file] for file in files if file in parts}
        if not chosen:
            continue
        rows = FileRowNames(
            [str(path / file) for file in chosen], [len(part) for part, _ in chosen.values()]
        )
        labels = np.concatenate([labels[column] for _, labels in chosen.values()])
        wrong = np.flatnonzero(labels >= len(names[column]))[:1].tolist()
        if wrong:
            raise InputError(
                f"{rows[wrong[0]]} has the label {labels[wrong[0]]}, but there are "
                f"{len(names[column])} classes; download it again"
            )
        # A record has its red, then its green, then its blue pixels.
        pixels = np.empty((len(rows), _SIDE, _SIDE, 3), np.uint8)
        end = 0
        for part, _ in chosen.values():
            end += len(part)
            planes = part.reshape(-1, 3, _SIDE, _SIDE)
            pixels[end - len(part) : end] = planes.transpose(0, 2, 3, 1)
        splits[split] = ListedSplit(pixels, rows, torch.from_numpy(labels))
    origin = {"form": "cifar", "label_column": column}
    return Listing(splits, names[column], origin=origin)
