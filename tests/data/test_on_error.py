"""``data.on_error``: what cannot be read is left out and told, with or without a cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from cache_kit import decoded, folders, kept, load_set, same_data
from ghostnet_small.errors import InputError
from makers import make_folder

__all__ = ["decoded", "kept"]  # fixtures


def broken_set(root: Path) -> list[Path]:
    """A folder set with three broken pictures, the very first one among them."""
    make_folder(root)
    broken = [root / "train/apple/000.png", root / "train/plum/005.png", root / "test/leaf/001.png"]
    for file in broken:
        file.write_bytes(file.read_bytes()[:60])
    return broken


@pytest.mark.parametrize("where", [{}, {"cache": "off"}, {"memory_gib": 0}])
def test_skip_leaves_out_what_cannot_be_read(
    tmp_path: Path, kept: Path, decoded: list[int], where: dict[str, Any]
) -> None:
    whole = load_set(make_folder(tmp_path / "whole"), validation=0)
    broken = broken_set(tmp_path / "set")
    data = load_set(tmp_path / "set", validation=0, on_error="skip", **where)
    assert data.train.index.tolist() == [row for row in range(36) if row not in (0, 29)]
    assert torch.equal(data.train.images[:], whole.train.images[data.train.index])
    assert torch.equal(data.train.labels, whole.train.labels[data.train.index])
    assert data.test is not None and len(data.test) == 11
    assert sorted(message.split(" is not a readable")[0] for message in data.skipped) == sorted(
        map(str, broken)
    )
    decoded.clear()
    assert same_data(load_set(tmp_path / "set", validation=0, on_error="skip", **where), data)
    assert (decoded == []) == (where.get("cache") != "off")
    # The cache that was made while skipping does not hide them from one who wants to know.
    with pytest.raises(InputError, match="is not a readable picture"):
        load_set(tmp_path / "set", validation=0, **where)


def test_an_error_leaves_no_cache_behind(tmp_path: Path, kept: Path) -> None:
    broken_set(tmp_path / "set")
    with pytest.raises(InputError, match=r"leaf/001\.png is not a readable"):
        load_set(tmp_path / "set")
    assert all(folder.finished() for folder in folders(kept))
    assert not list(kept.glob("*.lock"))


def test_skip_does_not_excuse_sizes_or_empty_classes(tmp_path: Path, kept: Path) -> None:
    root = make_folder(tmp_path / "set")
    odd = root / "train/plum/003.png"
    Image.new("RGB", (20, 10)).save(odd)
    with pytest.raises(InputError, match=r"images differ in size: .*003\.png is 20x10"):
        load_set(root, on_error="skip")
    odd.unlink()
    for file in (root / "train/leaf").iterdir():
        file.write_bytes(b"nothing")
    with pytest.raises(InputError, match="class 'leaf' has no training image"):
        load_set(root, on_error="skip")
    for file in (root / "test").rglob("*.png"):
        file.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"none of 12 images can be read: .*test/apple/000"):
        load_set(root, on_error="skip")


def test_the_first_mistake_is_named_whoever_meets_it(tmp_path: Path, kept: Path) -> None:
    root = make_folder(tmp_path / "set")
    for name in ("leaf/004", "leaf/003", "plum/000"):
        (root / f"train/{name}.png").write_bytes(b"nothing")
    for _ in range(3):
        with pytest.raises(InputError, match=r"leaf/003\.png is not"):
            load_set(root)
