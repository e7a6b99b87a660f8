"""Decoded pictures in files: the second start, cuts of them, and more than memory may hold."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from cache_kit import decoded, folders, kept, load_set, same_data
from ghostnet_small.data.decoded import available_memory, job
from ghostnet_small.data.decoded.cache import CacheLayout
from ghostnet_small.data.decoded.signature import files_signature
from ghostnet_small.data.sources import DataSettings, load_data
from ghostnet_small.errors import InputError
from ghostnet_small.files import cache_root
from makers import make_folder, make_parquet, png_bytes

__all__ = ["decoded", "kept"]  # fixtures

PICTURES = 3 * (12 + 4)  # of make_folder's set


# -- where, and how much -----------------------------------------------------------------------


def test_cache_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GHOSTNET_CACHE", "/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_root("/b") == Path("/b")
    assert cache_root("off") is None
    assert cache_root(None) == Path("/a")
    monkeypatch.setenv("GHOSTNET_CACHE", "off")
    assert cache_root(None) is None
    monkeypatch.delenv("GHOSTNET_CACHE")
    assert cache_root(None) == Path("/x/ghostnet-small")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root(None) == Path.home() / ".cache/ghostnet-small"


def test_the_tightest_limit_on_memory_counts(tmp_path: Path) -> None:
    def write(path: str, text: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    assert available_memory.free_memory(tmp_path) == float("inf")
    write("proc/meminfo", "MemTotal: 99 kB\nMemAvailable:    2000 kB\n")
    assert available_memory.free_memory(tmp_path) == 2_048_000
    write("proc/self/cgroup", "0::/a/b\n")
    write("sys/fs/cgroup/a/b/memory.max", "max\n")
    write("sys/fs/cgroup/a/b/memory.current", "1000\n")
    write("sys/fs/cgroup/a/memory.max", "50000\n")
    write("sys/fs/cgroup/a/memory.current", "30000\n")
    write("sys/fs/cgroup/a/memory.stat", "anon 5\ninactive_file 700\n")
    assert available_memory.free_memory(tmp_path) == 50_000 - 30_000 + 700
    write("proc/self/cgroup", "4:memory:/job\n0::/\n")
    write("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "6000\n")
    write("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "1000\n")
    assert available_memory.free_memory(tmp_path) == 5000
    # In a container the group's own path is not there, and the mount is the group.
    write("proc/self/cgroup", "4:memory:/elsewhere\n")
    write("sys/fs/cgroup/memory/memory.limit_in_bytes", "900\n")
    write("sys/fs/cgroup/memory/memory.usage_in_bytes", "100\n")
    assert available_memory.free_memory(tmp_path) == 800


def test_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(available_memory, "free_memory", lambda: 1000.0)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert available_memory.memory_budget(2) == 2 * 2**30
    assert available_memory.memory_budget(None) == 500
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert available_memory.memory_budget(None) == 125


# -- the second start --------------------------------------------------------------------------


@pytest.mark.parametrize("make", [make_folder, make_parquet])
def test_the_second_start_decodes_nothing(
    tmp_path: Path, kept: Path, decoded: list[int], make: Any
) -> None:
    root = make(tmp_path / "set")
    first = load_set(root)
    assert decoded
    decoded.clear()
    second = load_set(root)
    assert decoded == []
    assert same_data(first, second)
    assert same_data(first, load_set(root, cache="off"))
    assert decoded
    assert sorted(second.cache.folders) == [str(folder.path) for folder in folders(kept)]
    assert second.cache.size_bytes == sum(
        file.stat().st_size for file in kept.rglob("*") if file.is_file()
    )
    assert load_set(root, cache="off").cache.folders == ()


def test_cuts_are_rows_of_the_same_file(tmp_path: Path, kept: Path, decoded: list[int]) -> None:
    root = make_folder(tmp_path / "set")
    plain = [load_set(root, cache="off", **cut) for cut in CUTS]
    load_set(root)
    decoded.clear()
    assert all(same_data(load_set(root, **cut), one) for cut, one in zip(CUTS, plain, strict=True))
    assert decoded == []


CUTS: list[dict[str, Any]] = [
    {"validation": 0},
    {"validation": 0.25, "split_seed": 3},
    {"limit": 9},
    {"limit": 9, "validation": 0.3},
]


def test_a_part_is_decoded_alone(tmp_path: Path, kept: Path, decoded: list[int]) -> None:
    root = make_folder(tmp_path / "set")
    part = load_set(root, limit=6, validation=0)
    assert [folder.kinds.stat().st_size for folder in folders(kept)].count(6) == 1
    assert len(part.train) == 6
    decoded.clear()
    assert same_data(load_set(root, limit=6, validation=0), part)
    assert decoded == []
    assert same_data(load_set(root, limit=6, validation=0, cache="off"), part)


def test_a_changed_added_or_removed_file_is_noticed(tmp_path: Path, kept: Path) -> None:
    root = make_folder(tmp_path / "set")
    before = load_set(root, validation=0)
    file = root / "train/apple/000.png"
    Image.fromarray(np.full((16, 16, 3), 77, np.uint8)).save(file)
    changed = load_set(root, validation=0)
    assert int(changed.train.images[0].min()) == 77
    assert torch.equal(changed.train.images[1:], before.train.images[1:])
    (root / "train/apple/0000.png").write_bytes(file.read_bytes())
    assert len(load_set(root, validation=0).train) == len(before.train) + 1
    (root / "train/apple/0000.png").unlink()
    file.unlink()
    assert same_data(load_set(root, validation=0), load_set(root, validation=0, cache="off"))


def bmp_set(root: Path, first: int) -> Path:
    """Files of one size and one time of change; values ``first``, ``first`` + 1, ..."""
    for number in range(4):
        file = root / f"train/{'ab'[number // 2]}/{number % 2}.bmp"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), first + number, np.uint8)).save(file)
        os.utime(file, (0, 0))
    return root


def values(root: Path) -> list[int]:
    return load_set(root, validation=0).train.images[:, 0, 0, 0].tolist()


def test_size_and_time_of_change_are_not_enough(tmp_path: Path, kept: Path) -> None:
    root = bmp_set(tmp_path / "set", 10)
    assert values(root) == [10, 11, 12, 13]
    # Two files change places, without a word to any clock.
    one, other = root / "train/a/0.bmp", root / "train/b/0.bmp"
    one.rename(tmp_path / "spare")
    other.rename(one)
    (tmp_path / "spare").rename(other)
    assert values(root) == [12, 11, 10, 13]
    # Their content does, and the clock is put back.
    content = one.read_bytes(), other.read_bytes()
    one.write_bytes(content[1])
    other.write_bytes(content[0])
    for file in (one, other):
        os.utime(file, (0, 0))
    assert values(root) == [10, 11, 12, 13]


def test_two_sets_of_equal_names_sizes_and_times(tmp_path: Path, kept: Path) -> None:
    assert values(bmp_set(tmp_path / "one", 10)) == [10, 11, 12, 13]
    assert values(bmp_set(tmp_path / "other", 50)) == [50, 51, 52, 53]


def test_two_parquet_files_of_equal_names_sizes_and_times(tmp_path: Path, kept: Path) -> None:
    sizes = set()
    for name, first in (("one", 10), ("other", 50)):
        file = tmp_path / name / "train.parquet"
        file.parent.mkdir()
        images = [
            {"bytes": png_bytes(Image.new("L", (8, 8), first + k)), "path": None} for k in range(4)
        ]
        table = pa.table({"image": images, "label": [0, 0, 1, 1]})
        parquet.write_table(table, file, compression="none", write_statistics=False)
        os.utime(file, (0, 0))
        sizes.add(file.stat().st_size)
        assert values(tmp_path / name) == [first + k for k in range(4)]
    assert len(sizes) == 1


def test_content_counts_where_a_file_system_makes_up_inodes_and_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = tmp_path / "one/a.bmp", tmp_path / "other/a.bmp"
    for file in (one, other):
        file.parent.mkdir()
        file.write_bytes(file.parent.name.encode().ljust(9))
    status = os.stat(one)
    monkeypatch.setattr(os, "stat", lambda path: status)
    assert files_signature([str(one)]) != files_signature([str(other)])
    other.write_bytes(one.read_bytes())
    assert files_signature([str(one)]) == files_signature([str(other)])


def test_a_set_that_moved_is_the_same_set(tmp_path: Path, kept: Path, decoded: list[int]) -> None:
    root = make_folder(tmp_path / "set")
    first = load_set(root)
    decoded.clear()
    assert same_data(load_set(root.rename(tmp_path / "moved")), first)
    assert decoded == []


def test_size_and_channels_have_files_of_their_own(tmp_path: Path, kept: Path) -> None:
    root = make_folder(tmp_path / "set")
    assert load_set(root).size == (16, 16)
    assert load_set(root, size=8).size == (8, 8)
    assert load_set(root, channels=1).channels == 1
    assert len(folders(kept)) == 6


def test_one_coloured_picture_among_grey_ones(tmp_path: Path, kept: Path) -> None:
    root = make_folder(tmp_path / "set", grey=True)
    Image.new("RGB", (16, 16), (9, 0, 0)).save(root / "train/plum/011.png")
    data = load_set(root, validation=0)
    assert data.channels == 3
    assert same_data(data, load_set(root, validation=0, cache="off"))
    assert same_data(data, load_set(root, validation=0, memory_gib=0))
    # The same file serves a part without the coloured one, which is grey.
    for limit in range(3, 12):
        part = load_set(root, limit=limit, validation=0)
        assert same_data(part, load_set(root, limit=limit, validation=0, cache="off"))
    assert part.channels == 1


def test_pixels_that_need_work_are_cached_too(kept: Path, decoded: list[int]) -> None:
    load_data(DataSettings())
    assert decoded == []
    first = load_data(DataSettings(size=12))
    assert decoded
    decoded.clear()
    assert same_data(load_data(DataSettings(size=12)), first)
    assert decoded == []


# -- above the budget --------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"validation": 0.25}, {"limit": 9}, {"channels": 1}])
def test_mapped_pictures_are_those_in_memory(
    tmp_path: Path, kept: Path, settings: dict[str, Any]
) -> None:
    root = make_folder(tmp_path / "set")
    here, there = load_set(root, **settings), load_set(root, memory_gib=0, **settings)
    assert here.train.in_memory and not there.train.in_memory
    assert there.test is not None and not there.test.in_memory
    assert same_data(here, there)
    # Nothing was written that the first start has not: it is one file for both.
    assert there.cache.folders == here.cache.folders


def test_the_budget_is_for_all_splits_together(tmp_path: Path, kept: Path) -> None:
    root = make_folder(tmp_path / "set")
    needed = PICTURES * (16 * 16 * 3 + 1)
    assert load_set(root, memory_gib=needed / 2**30).train.in_memory
    assert not load_set(root, memory_gib=(needed - 1) / 2**30).train.in_memory


def test_pixels_of_a_source_above_the_budget(kept: Path) -> None:
    there = load_data(DataSettings(memory_gib=0))
    assert not there.train.in_memory
    assert same_data(there, load_data(DataSettings()))


def test_above_the_budget_without_a_cache(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set")
    with pytest.raises(InputError, match=r"more than the 0\.00 GiB .* --data\.memory_gib"):
        load_set(root, memory_gib=0, cache="off")


def test_layout_cuts_large_pictures_into_small_blocks() -> None:
    assert CacheLayout(10, 3, 32, 32, 4).block(2) == slice(8, 10)
    form = job.Format(None, None, 3, 1000, 1000)
    assert CacheLayout.of(10, form).block_rows == 1
    assert CacheLayout.of(10_000, job.Format(None, None, 3, 32, 32)).block_rows == 512
