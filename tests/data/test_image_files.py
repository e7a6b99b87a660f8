"""Files below a folder are read as images, refused, or passed over with a remark."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ghostnet_small.data.image_files import find_pictures, list_images
from ghostnet_small.errors import InputError


def test_find_pictures(tmp_path: Path) -> None:
    for name in ("b.png", "a/z.JPG", "a/y.webp", ".hidden/x.png", "notes.txt", "a/.DS_Store"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_pictures(tmp_path)
    assert [file.relative_to(tmp_path).as_posix() for file in found] == [
        "a/y.webp",
        "a/z.JPG",
        "b.png",
    ]
    assert find_pictures(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]
    with pytest.raises(InputError, match="missing does not exist"):
        find_pictures(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty holds no image"):
        find_pictures(tmp_path / "empty")


def names(root: Path) -> list[str]:
    return [file.relative_to(root).as_posix() for file in list_images(root).files]


def test_what_is_passed_over_is_counted(tmp_path: Path) -> None:
    (tmp_path / "set/more").mkdir(parents=True)
    for name in ("a.png", "b.HEIC", "more/c.heic", "more/hash", "more/IMG 1.by me"):
        (tmp_path / "set" / name).touch()
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "more/._a.png"):
        (tmp_path / "set" / name).touch()
    (tmp_path / "set/__MACOSX").mkdir()
    (tmp_path / "set/__MACOSX/c.png").touch()
    said: list[str] = []
    assert find_pictures(tmp_path / "set", said.append) == [tmp_path / "set/a.png"]
    assert said == [
        f"passed over in {tmp_path / 'set'}: 2 .heic, 2 without an ending; images need an ending "
        "such as .png or .jpg"
    ]
    (tmp_path / "set/a.png").unlink()
    with pytest.raises(InputError, match=r"set holds no image \(passed over: 2 \.heic, 2 without"):
        find_pictures(tmp_path / "set")


def test_links_to_folders_are_followed_and_each_folder_is_read_once(tmp_path: Path) -> None:
    root = tmp_path / "set"
    (root / "b").mkdir(parents=True)
    (tmp_path / "elsewhere/deep").mkdir(parents=True)
    for file in (root / "b/1.png", tmp_path / "elsewhere/2.png", tmp_path / "elsewhere/deep/3.png"):
        file.touch()
    (root / "a").symlink_to(tmp_path / "elsewhere")
    (root / "4.png").symlink_to(root / "b/1.png")
    assert names(root) == ["4.png", "a/2.png", "a/deep/3.png", "b/1.png"]
    # To itself, to a folder above, and to one that has its own place: nothing is read twice.
    (tmp_path / "elsewhere/loop").symlink_to(root)
    (root / "b/up").symlink_to(tmp_path)
    (root / "aa").symlink_to(root / "b")
    assert names(root) == ["4.png", "a/2.png", "a/deep/3.png", "b/1.png"]
    assert str(list_images(root).passed) == "3 leading to a folder that is read already"


def test_what_should_be_read_and_cannot_be_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    for name in ("b.png", "batch2", "notes.txt"):
        (tmp_path / name).symlink_to("/gone/x")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    found = list_images(tmp_path)
    assert found.files == [tmp_path / "a.png"]
    assert sorted(path.name for path in found.refused) == ["b.png", "batch2", "circle"]
    assert found.refused[tmp_path / "b.png"] == (
        f"{tmp_path / 'b.png'} is a link to /gone/x, which is not there; correct or remove it"
    )
    assert str(found.passed) == "1 .txt"
    with pytest.raises(InputError, match="is a link to /gone/x"):
        find_pictures(tmp_path)


def test_a_folder_without_read_right_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.png").touch()
    real = os.scandir

    def scandir(path: str) -> Any:  # root may read everything
        if path.endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert list(list_images(tmp_path).refused.values()) == [
        f"{tmp_path / 'closed'} cannot be read (Permission denied); make it readable, or remove it"
    ]
