from __future__ import annotations

import errno
import os
import stat
import tempfile
import time
from pathlib import Path

import pytest

from ghostnet_small import files
from ghostnet_small.errors import InputError
from ghostnet_small.files import (
    cache_root,
    cached_file,
    inner_folder,
    new_folder,
    only_ours,
    open_log,
    temporary_folder,
    trim_folder,
    work_folder,
    write_atomic,
)


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


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    """A folder that was unpacked holds links to files of whoever unpacked it."""
    mine = tmp_path / "mine"
    mine.write_text("old")
    mine.chmod(0o600)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for name in ("report.md", ".a.partial", "run.log", ".new.partial", ".partial"):
        (theirs / name).symlink_to(mine)
    (theirs / "pictures").symlink_to(tmp_path)
    for write in (
        lambda: write_atomic(theirs / "report.md", "new"),
        lambda: open_log(theirs / "run.log"),
        lambda: inner_folder(theirs / "pictures"),
    ):
        with pytest.raises(InputError, match=r"theirs/.* is a link to .*; remove it, or give"):
            write()
    # The names that parts of files and of folders have are taken, and not followed.
    write_atomic(theirs / "a", "new")
    with new_folder(theirs / "new") as partial, work_folder(theirs) as work:
        (partial / "b").touch()
        (work / "b").touch()
    assert (theirs / "a").read_text() == "new" and not (theirs / "a").is_symlink()
    assert (theirs / "new" / "b").exists() and not (theirs / "new").is_symlink()
    assert mine.read_text() == "old" and mine.stat().st_mode & 0o777 == 0o600
    assert sorted(os.listdir(tmp_path)) == ["mine", "theirs"]


def test_a_folder_may_be_reached_through_a_link(tmp_path: Path) -> None:
    """Such as one that the user typed."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write_atomic(tmp_path / "link" / "a", "new")
    assert (tmp_path / "real" / "a").read_text() == "new" and (tmp_path / "link").is_symlink()


@pytest.mark.timeout(30)
def test_a_log_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run.log")
    with pytest.raises(OSError, match=r"run\.log"):
        open_log(tmp_path / "run.log")


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


# -- the cache, and where there is none ---------------------------------------------------------


@pytest.fixture
def no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without HOME and without an entry in /etc/passwd."""

    def missing() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("GHOSTNET_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", missing)
    files._say_no_home.cache_clear()


@pytest.mark.usefixtures("no_home")
def test_without_a_home_there_is_no_cache_which_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert cache_root() is None and cache_root() is None
    (record,) = caplog.records
    assert "no home folder" in record.message and "GHOSTNET_CACHE" in record.message
    assert cache_root("somewhere") == Path("somewhere")


def test_a_cached_file_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GHOSTNET_CACHE", str(tmp_path))
    made = []

    def make() -> bytes:
        made.append(1)
        return b"content"

    for _ in range(2):
        with cached_file("deep/a.so", make) as file:
            assert file == tmp_path / "deep/a.so" and file.read_bytes() == b"content"
    assert len(made) == 1


@pytest.mark.parametrize("cache", ["off", "a file", "no home"])
def test_a_cache_that_is_not_there_is_done_without(
    cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if cache == "no home":
        request.getfixturevalue("no_home")
    else:
        (tmp_path / "a file").touch()
        where = "off" if cache == "off" else str(tmp_path / cache / "below")
        monkeypatch.setenv("GHOSTNET_CACHE", where)
    with cached_file("deep/a.so", lambda: b"content") as file:
        assert file.read_bytes() == b"content"
    assert not file.exists()


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make ``path`` another user's, as far as this one can."""
    if os.geteuid() == 0:
        os.chown(path, 4242, -1, follow_symlinks=False)
        return
    found = Path.lstat

    def lstat(self: Path) -> os.stat_result:
        values = list(found(self))
        if self == path:
            values[stat.ST_UID] = 4242
        return os.stat_result(values)

    monkeypatch.setattr(Path, "lstat", lstat)


def test_what_others_cannot_change_is_only_ours(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    file = tmp_path / "folder" / "file"
    file.touch(0o644)
    (tmp_path / "link").symlink_to("folder")
    assert only_ours(file) and only_ours(tmp_path / "link/file") and only_ours(tmp_path / "link")
    # As /tmp: only their owner moves what lies in it.
    (tmp_path / "folder").chmod(0o1777)
    assert only_ours(file) and only_ours(tmp_path / "link/file")
    # But anyone can put something into it.
    assert not only_ours(tmp_path / "folder") and not only_ours(tmp_path / "link")


@pytest.mark.parametrize(
    ("name", "mode"),
    [("", 0o777), ("", 0o770), ("folder", 0o702), ("folder/file", 0o666), ("folder/file", 0o620)],
)
def test_what_others_can_write_is_not_only_ours(name: str, mode: int, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    file = tmp_path / "folder" / "file"
    file.touch()
    (tmp_path / "folder" / "link").symlink_to(file)
    (tmp_path / name).chmod(mode)
    assert not only_ours(file) and not only_ours(tmp_path / "folder" / "link")


@pytest.mark.parametrize("name", ["folder", "folder/file", "link"])
def test_what_another_owns_is_not_only_ours(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    (tmp_path / "link").symlink_to("folder")
    give_away(tmp_path / name, monkeypatch)
    assert not only_ours(tmp_path / "link" / "file")


@pytest.mark.parametrize("name", ["", "deep", "deep/a.so"])
def test_nothing_is_taken_from_a_cache_that_others_can_write(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    files._say_not_only_ours.cache_clear()
    root = tmp_path / "cache"
    monkeypatch.setenv("GHOSTNET_CACHE", str(root))
    (root / "deep").mkdir(parents=True)
    (root / "deep/a.so").write_bytes(b"planted")
    (root / name).chmod(0o777)
    for _ in range(2):
        with cached_file("deep/a.so", lambda: b"content") as file:
            assert file.read_bytes() == b"content" and only_ours(file)
    # A file is replaced; a folder stays theirs, which is said once.
    kept = (root / "deep/a.so").read_bytes()
    assert kept == (b"content" if name == "deep/a.so" else b"planted")
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == (name != "deep/a.so")
    assert all("chmod go-w" in line and "GHOSTNET_CACHE" in line for line in said)


def test_a_cache_is_made_for_its_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GHOSTNET_CACHE", str(tmp_path / "a/cache"))
    before = os.umask(0)
    try:
        with cached_file("deep/a.so", lambda: b"content") as file:
            assert only_ours(file)
    finally:
        os.umask(before)
    for name in ("a", "a/cache", "a/cache/deep"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o700


def test_a_relative_xdg_folder_counts_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GHOSTNET_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for relative in ("cache", "./cache", "../cache", ""):
        monkeypatch.setenv("XDG_CACHE_HOME", relative)
        assert cache_root() == tmp_path / ".cache" / "ghostnet-small"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "xdg" / "ghostnet-small"


def test_a_full_folder_for_temporary_files_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(InputError, match=r"has no room; .*TMPDIR"), temporary_folder():
        raise full
    with pytest.raises(OSError, match="not permitted"), temporary_folder():
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    def none() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    with pytest.raises(InputError, match=r"No usable .*'/tmp'.*; name one in TMPDIR"):
        temporary_folder().__enter__()


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
