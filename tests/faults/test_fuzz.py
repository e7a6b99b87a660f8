"""Every reader under some changed inputs; ``tools/reliability/fuzz.py`` does it for hours."""

from __future__ import annotations

import os
import warnings
from itertools import islice
from pathlib import Path

import pytest

import fuzz as fuzz_program
from fuzz import fuzz, judged, mutated
from readers import READERS
from tally import resident
from trees import pack, unpack

SLOW = ("weights", "state", "parquet", "recipe", "study", "card", "c")


@pytest.mark.parametrize("name", READERS)
def test_a_reader_reads_or_refuses(name: str, tmp_path: Path) -> None:
    reader, scratch = READERS[name], tmp_path / "scratch"
    scratch.mkdir()
    (tmp_path / "seeds").mkdir()
    seeds = reader.seeds(tmp_path / "seeds")
    inputs = [*seeds, *islice(mutated(seeds, reader.words, reader.longest), 300)]
    with warnings.catch_warnings():
        # PIL says a good deal about damaged pictures, and reads them or does not.
        warnings.simplefilter("ignore")
        for data in inputs[: len(seeds) + (15 if name in SLOW else 300)]:
            place, told = judged(reader.read, data, scratch)
            assert not place, (data[:2000], told)


def test_a_seed_is_read_at_all(tmp_path: Path) -> None:
    """Else the fuzzer would only ever see refusals."""
    for name, reader in READERS.items():
        scratch, seeds = tmp_path / name / "scratch", tmp_path / name / "seeds"
        scratch.mkdir(parents=True)
        seeds.mkdir()
        reader.read(reader.seeds(seeds)[0], scratch)


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds a reader's memory by what this process has, which the reader is forked from, and
    1 GiB."""
    held, _ = resident(os.getpid())
    monkeypatch.setattr(fuzz_program, "MOST_BYTES", held + (1 << 30))


@pytest.mark.usefixtures("bounded")
def test_findings_are_counted_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that raises, and one that ends its process: the count survives both."""
    import ctypes

    def read(data: bytes, scratch: Path) -> None:
        if len(data) % 3 == 1:
            raise KeyError("no such key")
        if len(data) % 500 == 2:
            ctypes.string_at(0)

    from dataclasses import replace

    broken = replace(READERS["pickle"], read=read)
    monkeypatch.setitem(READERS, "pickle", broken)
    row = fuzz("pickle", seconds=60, inputs=20_000, keep=tmp_path / "keep")
    assert row["inputs"] >= 20_000
    told = [file.read_text().split("\n")[0] for file in (tmp_path / "keep").glob("*.txt")]
    assert row["findings"] == len(told) == 2
    assert any(line.startswith("KeyError") for line in told)
    assert any("signal 11" in line for line in told)
    assert len(list((tmp_path / "keep").glob("*.bin"))) == 2


@pytest.mark.usefixtures("bounded")
def test_a_reader_that_takes_memory_or_hangs_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    def hang(data: bytes, scratch: Path) -> None:
        while True:
            pass

    def fill(data: bytes, scratch: Path) -> None:
        bytes(bytearray(b"x") * (64 << 30))

    monkeypatch.setattr(fuzz_program, "MOST_SECONDS", 0.5)
    for read, said in ((hang, "no answer in 0.5 s"), (fill, "MemoryError")):
        monkeypatch.setitem(READERS, "pickle", replace(READERS["pickle"], read=read))
        keep = tmp_path / said
        row = fuzz("pickle", seconds=3, inputs=0, keep=keep)
        assert row["findings"] == 1
        (told,) = keep.glob("*.txt")
        assert said in told.read_text()


def test_no_folder_is_made_outside_its_own(tmp_path: Path) -> None:
    parts = [
        ("f", "../../out", b"x"),
        ("f", "/etc/out", b"x"),
        ("l", "link", b"../../.."),
        ("f", "link/out", b"x"),
        ("z9", "zeros", b"abc"),
    ]
    root = tmp_path / "a" / "root"
    root.mkdir(parents=True)
    unpack(pack(parts), root)
    inside = {str(path.relative_to(root)) for path in root.rglob("*")}
    assert inside == {"out", "etc", "etc/out", "link", "zeros"}
    assert (root / "zeros").read_bytes() == b"abc" + bytes(6)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (root / "link").resolve().is_relative_to(root)
