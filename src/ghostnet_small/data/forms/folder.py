"""A folder of pictures: ``train/<class>/*.png``, with or without ``val/`` and ``test/``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from ghostnet_small.data.listing import (
    SPLIT_NAMES,
    LazyRows,
    ListedSplit,
    Listing,
    known_splits,
    main_split,
)
from ghostnet_small.data.pictures import find_pictures
from ghostnet_small.errors import InputError


def _folders(path: Path) -> list[Path]:
    return sorted(
        (entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")),
        key=lambda entry: entry.name,
    )


class PathNames(LazyRows[str]):
    """The paths of files as text."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def row(self, number: int) -> str:
        return str(self.paths[number])


def list_folder(root: Path, only: str | None = None) -> Listing:
    """The pictures below ``root``, a split's in the order of class name, then path.

    Where ``only`` one split is wanted, class folders alone are that split.

    Raises ``InputError`` for a split without class folders, a class folder without pictures and
    a class that the training split does not have.
    """
    inside = [folder.name for folder in _folders(root)]
    if only is not None and inside and SPLIT_NAMES.keys().isdisjoint(inside):
        names = {only: "."}
    else:
        names = known_splits(inside, str(root))
    main = names[main_split(names)]
    classes = tuple(folder.name for folder in _folders(root / main))
    splits: dict[str, ListedSplit] = {}
    for ours, theirs in names.items():
        folders = _folders(root / theirs)
        if not folders:
            raise InputError(
                f"{root / theirs} has no class folders; put each class's pictures into "
                f"{root / theirs / '<class>'}"
            )
        pictures: list[Path] = []
        labels: list[int] = []
        for folder in folders:
            if folder.name not in classes:
                raise InputError(
                    f"{folder} is a class that {root / main} does not have; its "
                    f"classes are {', '.join(classes)}; rename or remove the folder"
                )
            found = find_pictures(folder)
            pictures += found
            labels += [classes.index(folder.name)] * len(found)
        splits[ours] = ListedSplit(
            pictures, PathNames(pictures), torch.tensor(labels, dtype=torch.int64)
        )
    return Listing(splits, classes)
