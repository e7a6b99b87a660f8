"""The cache of decoded pictures under kills, damage, and where there is no room for it."""

from __future__ import annotations

import fcntl
import logging
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cache_kit import decoded, folders, kept, load_set, same_data, train_folder
from ghostnet_small.data.decoded import cache, job
from ghostnet_small.data.decoded.cache import CacheFolder, locked
from ghostnet_small.errors import InputError
from makers import make_folder

__all__ = ["decoded", "kept"]  # fixtures


# -- kills, and others -------------------------------------------------------------------------

SLOW_LOAD = """
import sys, time
from ghostnet_small.data.decoded import cache, decode
from ghostnet_small.data.sources import DataSettings, load_data
cache.BLOCK_ROWS = 5
read = decode.read_picture
def slow(*args, **options):
    time.sleep(0.02)
    return read(*args, **options)
decode.read_picture = slow
print(load_data(DataSettings(root=sys.argv[1])).fingerprint)
"""


def begin(root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SLOW_LOAD, str(root)], stdout=subprocess.PIPE, text=True
    )


def test_a_killed_decode_goes_on_where_it_was(
    tmp_path: Path, kept: Path, decoded: list[int]
) -> None:
    root = make_folder(tmp_path / "set", train=20)
    expected = load_set(root, cache="off")
    decoded.clear()
    with begin(root) as killed:
        while not (logs := list(kept.glob("*/log"))) or max(map(lines, logs)) < 4:
            assert killed.poll() is None
            time.sleep(0.01)
        killed.kill()
    folder = train_folder(kept)
    log = folder.log.read_bytes()
    assert CacheFolder(folder.path).finished() is None
    # As if it had died within a line, and before the system wrote one block to the disk.
    folder.log.write_bytes(log + b"\n0123abcd {half a li")
    with folder.pixels.open("r+b") as pixels:
        pixels.write(bytes(100))
    assert same_data(load_set(root), expected)
    again = [number for number in decoded if number < 12]
    assert 0 in decoded and 1 not in decoded
    assert len(again) < 12 + 3


def lines(log: Path) -> int:
    return log.read_bytes().count(b'"block"')


def test_two_that_start_at_once_decode_once(tmp_path: Path, kept: Path) -> None:
    root = make_folder(tmp_path / "set", train=20)
    both = [begin(root), begin(root)]
    printed = {process.communicate(timeout=120)[0].strip() for process in both}
    assert printed == {load_set(root, cache="off").fingerprint}
    # Each block has one line: the other process waited.
    assert [lines(folder.log) for folder in folders(kept)] in ([3, 12], [12, 3])
    assert not list(kept.glob("*.lock"))


def test_a_file_that_another_process_renames_meanwhile_is_not_missed(tmp_path: Path) -> None:
    (tmp_path / "pixels").write_bytes(bytes(7))
    # Listed, and gone when it is looked at.
    (tmp_path / ".facts.json.partial").symlink_to(tmp_path / "renamed")
    assert CacheFolder(tmp_path).size_bytes() == 7


def test_a_lock_is_waited_for_and_free_after_a_kill(tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\n"
        "from ghostnet_small.data.decoded.cache import locked\n"
        "with locked(Path(sys.argv[1]), 'key'):\n    print(1, flush=True)\n    time.sleep(99)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"1\n"
        with (tmp_path / "key.lock").open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        holder.kill()
    with locked(tmp_path, "key"):
        assert (tmp_path / "key.lock").exists()
    assert list(tmp_path.iterdir()) == []


# -- damage ------------------------------------------------------------------------------------


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 0x10
    file.write_bytes(content)


@pytest.mark.parametrize("memory_gib", [None, 0])
@pytest.mark.parametrize("name", ["pixels", "kinds"])
def test_a_flipped_bit_costs_one_block(
    tmp_path: Path,
    kept: Path,
    decoded: list[int],
    caplog: pytest.LogCaptureFixture,
    name: str,
    memory_gib: float | None,
) -> None:
    root = make_folder(tmp_path / "set")
    first = load_set(root)
    decoded.clear()
    file = train_folder(kept).path / name
    flip(file, 17 if name == "kinds" else 17 * 16 * 16 * 3)
    with caplog.at_level(logging.WARNING, "ghostnet_small"):
        assert same_data(load_set(root, memory_gib=memory_gib), first)
    assert decoded == [3]
    assert "1 of 8 blocks of the cache" in caplog.text
    decoded.clear()
    assert same_data(load_set(root), first)
    assert decoded == []


def damage(folder: CacheFolder) -> dict[str, Any]:
    return {
        "no pixels": folder.pixels.unlink,
        "no kinds": folder.kinds.unlink,
        "no log": folder.log.unlink,
        "short pixels": lambda: os.truncate(folder.pixels, 1000),
        "long pixels": lambda: os.truncate(folder.pixels, 10**6),
        "short kinds": lambda: os.truncate(folder.kinds, 10),
        "short log": lambda: os.truncate(folder.log, folder.log.stat().st_size // 2),
        "empty log": lambda: os.truncate(folder.log, 0),
        "no layout": lambda: flip(folder.log, 20),
        "no block": lambda: flip(folder.log, folder.log.stat().st_size - 20),
        "noise": lambda: folder.log.write_bytes(os.urandom(5000)),
        "facts": lambda: [flip(file, 40) for file in folder.path.glob("*.json")],
        "empty facts": lambda: [file.write_text("") for file in folder.path.glob("*.json")],
    }


@pytest.mark.parametrize("how", list(damage(CacheFolder(Path("none")))))
def test_any_damage_is_repaired(tmp_path: Path, kept: Path, decoded: list[int], how: str) -> None:
    root = make_folder(tmp_path / "set")
    first = load_set(root)
    damage(train_folder(kept))[how]()
    assert same_data(load_set(root), first)
    decoded.clear()
    assert same_data(load_set(root), first)
    assert same_data(load_set(root, memory_gib=0), first)
    assert decoded == []


# -- no room, no right -------------------------------------------------------------------------


def test_a_cache_that_cannot_be_written(
    tmp_path: Path, decoded: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    root = make_folder(tmp_path / "set")
    file = tmp_path / "file"
    file.touch()
    with caplog.at_level(logging.WARNING, "ghostnet_small"):
        data = load_set(root, cache=str(file / "cache"))
    assert same_data(data, load_set(root, cache="off"))
    assert data.cache.folders == ()
    assert f"the cache {file / 'cache'} cannot be used" in caplog.text
    assert "--data.cache DIR" in caplog.text


def test_a_cache_that_may_only_be_read_serves(
    tmp_path: Path, kept: Path, decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder(tmp_path / "set")
    first = load_set(root)
    decoded.clear()

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(cache, "locked", refuse)
    monkeypatch.setattr(job, "locked", refuse)
    assert same_data(load_set(root), first)
    assert decoded == []


def test_no_room_is_found_out_before_the_work(
    tmp_path: Path, kept: Path, decoded: list[int]
) -> None:
    root = make_folder(tmp_path / "set")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(InputError, match=r"has no room for .* MiB .* --data\.cache DIR"):
            load_set(root)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert decoded == []
    assert list(kept.iterdir()) == []


def test_a_disk_that_fills_up_during_the_work(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder(tmp_path / "set")
    append = CacheFolder._append

    def full(self: CacheFolder, values: dict[str, object]) -> None:
        if values.get("block") == 2:
            raise OSError(28, "No space left on device")
        append(self, values)

    monkeypatch.setattr(CacheFolder, "_append", full)
    with pytest.raises(InputError, match="has no room"):
        load_set(root)
    assert list(kept.iterdir()) == []
