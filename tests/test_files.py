from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ghostnet_small.files import new_folder, trim_folder, write_atomic


def test_writes_text_and_bytes_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", "é\n")
    write_atomic(tmp_path / "a", b"\x00")
    assert (tmp_path / "a").read_bytes() == b"\x00"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failure_keeps_the_old_file(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_atomic(tmp_path / "a", "old")

    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="no space left"):
        write_atomic(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_what_a_killed_process_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".a.partial").write_text("half of something longer")
    write_atomic(tmp_path / "a", "whole")
    assert (tmp_path / "a").read_text() == "whole"
    assert os.listdir(tmp_path) == ["a"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_atomic(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_new_folder_is_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder"
    leftover = tmp_path / "deep" / ".folder.partial"
    leftover.mkdir(parents=True)
    (leftover / "old").touch()
    with pytest.raises(RuntimeError), new_folder(path) as partial:
        (partial / "new").touch()
        raise RuntimeError
    assert not any((tmp_path / "deep").iterdir())
    with new_folder(path) as partial:
        (partial / "new").touch()
        assert not path.exists()
    assert [p.name for p in path.iterdir()] == ["new"]
    assert list((tmp_path / "deep").iterdir()) == [path]


def test_the_longest_untouched_go_first(tmp_path: Path) -> None:
    now = time.time()
    for name, days, size in (("new", 0, 10), ("old", 3, 10), ("older", 5, 10), ("ancient", 9, 0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"x" * size)
        os.utime(tmp_path / name, (now, now - days * 24 * 3600))
    (tmp_path / "ancient.lock").touch()
    os.utime(tmp_path / "ancient.lock", (0, 0))
    trim_folder(tmp_path, 100, most_days=7)
    assert sorted(os.listdir(tmp_path)) == ["ancient.lock", "new", "old", "older"]
    trim_folder(tmp_path, 20, most_days=7)
    assert sorted(os.listdir(tmp_path)) == ["ancient.lock", "new", "old"]
    trim_folder(tmp_path, 9, most_days=7)
    assert os.listdir(tmp_path) == ["ancient.lock"]
