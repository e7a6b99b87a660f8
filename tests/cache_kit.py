"""A cache of a test's own, and what is asked of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ghostnet_small.data.dataset import ImageData
from ghostnet_small.data.decoded import cache, job
from ghostnet_small.data.decoded.cache import CacheFolder
from ghostnet_small.data.decoded.decode import decode_blocks
from ghostnet_small.data.sources import DataSettings, load_data


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, with five pictures to a block."""
    monkeypatch.setenv("GHOSTNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "BLOCK_ROWS", 5)
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the blocks that are decoded, as they are."""
    numbers: list[int] = []

    def counted(these: Any, *rest: Any, **options: Any) -> None:
        numbers.extend(these)
        decode_blocks(these, *rest, **options)

    monkeypatch.setattr(job, "decode_blocks", counted)
    return numbers


def load_set(root: Path, **settings: Any) -> ImageData:
    return load_data(DataSettings(root=str(root), **settings))


def same_data(one: ImageData, other: ImageData) -> bool:
    """Whether all that a training sees is the same, to the bit."""
    for name in ("train", "validation", "test"):
        first, second = getattr(one, name), getattr(other, name)
        if (first is None) != (second is None):
            return False
        if first is not None and not (
            torch.equal(first.images[:], second.images[:])
            and torch.equal(first.labels, second.labels)
            and torch.equal(first.index, second.index)
        ):
            return False
    figures = ("mean", "std", "fingerprint", "classes", "channels", "size", "skipped")
    return all(getattr(one, key) == getattr(other, key) for key in figures)


def folders(root: Path) -> list[CacheFolder]:
    return [CacheFolder(path) for path in sorted(root.iterdir()) if path.is_dir()]


def train_folder(root: Path) -> CacheFolder:
    return max(folders(root), key=lambda folder: folder.kinds.stat().st_size)
