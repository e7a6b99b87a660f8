"""A folder of images: ``train/<class>/*.png``, with or without ``val/`` and ``test/``."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ghostnet_small.data.classes import alike, list_classes, same_class
from ghostnet_small.data.image_files import (
    ImageFiles,
    PassedOver,
    first_file,
    holds_image,
    is_image_name,
    is_junk,
    list_images,
)
from ghostnet_small.data.listing import (
    SPLIT_NAMES,
    LazyRows,
    ListedSplit,
    Listing,
    known_splits,
    main_split,
    no_training_split,
)
from ghostnet_small.errors import InputError
from ghostnet_small.files import read_text

_UNSORTED = "images"  # the folder of a split whose images lie in no class folders


class PathNames(LazyRows[str]):
    """The paths of files as text."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def row(self, number: int) -> str:
        return str(self.paths[number])


@dataclass
class _Rows:
    """The rows of a split as they are found; ``refused`` are messages by path."""

    pictures: list[Path] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    refused: dict[Path, str] = field(default_factory=dict)

    def add(self, found: ImageFiles, label: int) -> None:
        self.pictures += found.files
        self.labels += [label] * len(found.files)
        self.refused |= found.refused

    def listed(self) -> ListedSplit:
        """Return the split; refused files come last, so that they do not move the others' rows."""
        pictures = [*self.pictures, *self.refused]
        labels = [*self.labels, *[-1] * len(self.refused)]
        broken = dict(enumerate(self.refused.values(), len(self.pictures)))
        return ListedSplit(
            pictures, PathNames(pictures), torch.tensor(labels, dtype=torch.int64), broken
        )


def has_class_folders(root: Path) -> bool:
    """Return whether images lie in folders of ``root``'s training split."""
    train = root / "train"
    return train.is_dir() and any(holds_image(folder) for folder in _folders(train))


def list_folder(root: Path, only: str | None = None) -> Listing:
    """Return the images below ``root``, a split's in the order of class name, then path.

    A split besides ``train`` whose images lie in no class folders is read with the labels of
    tiny-imagenet's ``<split>_annotations.txt``, or left out with a remark where there are none.
    Folders that are no split and files that are no images are left out with a remark, too. Where
    ``only`` one split is wanted, a folder with only class folders is that split.

    Raises ``InputError`` for a split without class folders, a class folder without images and
    a class that the training split does not have.
    """
    folders = _folders(root)
    inside = [folder.name for folder in folders]
    if only is not None and inside and SPLIT_NAMES.keys().isdisjoint(inside):
        names, remarks = {only: "."}, []
    else:
        try:
            names = known_splits(inside, str(root))
        except InputError as error:
            raise _unsplit(root, folders) or error from None
        if only is None and "train" not in names:
            raise no_training_split(str(root), inside)
        remarks = _beside(root, folders)
    passed = PassedOver()
    for theirs in names.values():
        _check_link(root / theirs)
    main = main_split(names)
    main_path = root / names[main]
    _check_depth(main_path, _folders(main_path))
    classes = tuple(folder.name for folder in _folders(main_path))
    splits: dict[str, ListedSplit] = {}
    for ours, theirs in names.items():
        path = root / theirs
        below = _folders(path)
        if ours == main or not _in_no_class(path, below, classes):
            rows = _in_classes(path, below, main_path, classes, passed)
        elif (file := path / f"{theirs}_annotations.txt").is_file():
            rows = _annotated(path, file, classes, passed)
        else:
            remarks.append(
                f"the {ours} split is left out: its images in {path} lie in no class folders "
                "and have no labels"
            )
            continue
        splits[ours] = rows.listed()
    return Listing(splits, classes, (*remarks, *passed.remarks()), origin={"form": "folder"})


def _folders(path: Path) -> list[Path]:
    """The folders in ``path``, and links that should lead to one, by name."""
    entries = (entry for entry in path.iterdir() if not is_junk(entry.name))
    found = [entry for entry in entries if entry.is_dir() or _leads_nowhere(entry)]
    return sorted(found, key=lambda entry: entry.name)


def _leads_nowhere(entry: Path) -> bool:
    return entry.is_symlink() and not entry.exists()


def _check_link(folder: Path) -> None:
    """Raise ``InputError`` where a folder that is needed is a link to nothing."""
    if _leads_nowhere(folder):
        raise InputError(
            f"{folder} is a link to {os.readlink(folder)}, which is not there; correct or remove it"
        )


def _beside(root: Path, folders: list[Path]) -> list[str]:
    """Remarks on what lies beside the splits and may be meant as data."""
    beside = [folder for folder in folders if folder.name not in SPLIT_NAMES]
    remarks = []
    if others := [folder.name for folder in beside if holds_image(folder)]:
        more = ", ..." if len(others) > 5 else ""
        remarks.append(
            f"passed over in {root}: the folders {', '.join(others[:5])}{more}, which are not "
            "splits; those are called train, validation (or valid, val) and test"
        )
    tables = [entry for entry in root.iterdir() if _is_parquet(entry.name)]
    tables += [found for folder in beside if (found := first_file(folder, _is_parquet))]
    if tables:
        remarks.append(
            f"the folders of images in {root} are read; passed over is {min(tables)}: move it out "
            "to have only one data set there"
        )
    return remarks


def _is_parquet(name: str) -> bool:
    return name.endswith(".parquet")


def _in_no_class(path: Path, folders: list[Path], classes: tuple[str, ...]) -> bool:
    """Return whether a split's images lie in itself, or in a folder ``images`` that is no class."""
    if not folders:
        return any(is_image_name(entry.name) for entry in path.iterdir())
    return [folder.name for folder in folders] == [_UNSORTED] and _UNSORTED not in classes


def _in_classes(
    path: Path, folders: list[Path], train: Path, classes: tuple[str, ...], passed: PassedOver
) -> _Rows:
    """The rows of a split from its class folders."""
    if not folders:
        raise InputError(
            f"{path} has no class folders; put each class's images into {path / '<class>'}"
        )
    if not {folder.name for folder in folders} & set(classes):
        _check_depth(path, folders)
    for entry in path.iterdir():
        if (is_image_name(entry.name) or _is_parquet(entry.name)) and not entry.is_dir():
            passed.add(str(path), f"{entry.suffix.lower()} outside of class folders")
    rows = _Rows()
    for folder in folders:
        _check_link(folder)
        name = same_class(folder.name, classes)
        if name is None:
            near = alike(folder.name, classes)
            hint = "" if near is None else f"; {folder.name!a} looks like {near!a}"
            raise InputError(
                f"{folder} is a class that {train} does not have{hint}; that has "
                f"{list_classes(classes)}; rename or remove the folder"
            )
        found = list_images(folder)
        rows.add(found, classes.index(name))
        passed.update(found.passed)
    return rows


def _check_depth(path: Path, folders: list[Path]) -> None:
    """Raise ``InputError`` where the only folder of a split holds the classes' folders."""
    if len(folders) != 1 or not folders[0].exists():
        return
    inner = _folders(folders[0])
    if len(inner) > 1 and not any(is_image_name(entry.name) for entry in folders[0].iterdir()):
        raise InputError(
            f"the classes of {path} lie one folder deeper, in {folders[0]}: "
            f"{list_classes([one.name for one in inner])}; move them to {path / '<class>'}"
        )


def _annotated(path: Path, file: Path, classes: tuple[str, ...], passed: PassedOver) -> _Rows:
    """The rows of a split from a file with lines ``NAME <tab> CLASS [<tab> ...]``.

    Source: tiny-imagenet-200 (Stanford CS231n), ``val/val_annotations.txt``.
    """
    try:
        lines = [line.split("\t") for line in read_text(file).splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read ({error}); replace or remove it") from None
    numbers = {name: number for number, name in enumerate(classes)}
    labels: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if len(line) < 2 or line[1] not in numbers:
            raise InputError(
                f"{file} line {number} names no class of the training split; it should be an "
                "image's name, a tab, and a class; correct or remove the file"
            )
        labels[line[0]] = numbers[line[1]]
    found = list_images(path / _UNSORTED)
    rows = _Rows(refused=found.refused)
    labelled = [image for image in found.files if image.name in labels]
    for image in sorted(labelled, key=lambda image: labels[image.name]):  # keeps the paths' order
        rows.pictures.append(image)
        rows.labels.append(labels[image.name])
    for image in found.files:
        if image.name not in labels:
            passed.add(str(image.parent), f"without a label in {file.name}")
    missing = sorted(labels.keys() - {image.name for image in labelled})
    if missing:
        raise InputError(
            f"{file} names {len(missing)} images that are not in {path / _UNSORTED}, such as "
            f"{missing[0]}; add them or correct the file"
        )
    passed.update(found.passed)
    return rows


def _unsplit(root: Path, folders: list[Path]) -> InputError | None:
    """The error to raise where the folders of ``root`` seem to be classes and not splits."""
    if any(word in folder.name.lower() for folder in folders for word in ("train", "test")):
        return None
    named = [folder.name for folder in folders if holds_image(folder)]
    if len(named) < 2:
        return None
    move = " ".join(shlex.quote(str(root / name)) for name in named[:3])
    move += " ..." if len(named) > 3 else ""
    train = shlex.quote(str(root / "train"))
    return InputError(
        f"{root} has no training split, but folders with images: {list_classes(named)}; where they "
        f"are the classes: mkdir {train} && mv {move} {train}"
    )
