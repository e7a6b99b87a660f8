"""The C kernels' way onto a user's machine: compiled once, kept, and done without."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ghostnet_small.fast.cpu.kernels import calls, library
from ghostnet_small.fast.cpu.kernels.convolutions import channel_moments


@pytest.fixture(autouse=True)
def anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A cache of its own, and nothing remembered from or for other tests."""
    monkeypatch.setenv("GHOSTNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(library.SWITCH, raising=False)
    # What is compiled is called by other tests, and optimised there: ten times as long.
    monkeypatch.setattr(library, "_FLAGS", ["-O0" if w == "-O3" else w for w in library._FLAGS])
    forget()
    yield
    monkeypatch.undo()
    forget()


def forget() -> None:
    library.library.cache_clear()
    library._say_once.cache_clear()


def compiler(folder: Path, script: str) -> str:
    """A program that is called as a compiler, and says what ``script`` makes it say."""
    path = folder / "mycc"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_is_compiled_once_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    monkeypatch.setenv("CC", compiler(tmp_path, f'echo "$@" >> {calls}; exec cc "$@"'))
    for _ in range(2):
        forget()
        assert library.library(torch.float32) is not None
    compilations = [line for line in calls.read_text().splitlines() if "-o" in line.split()]
    assert len(compilations) == 1
    assert len(list((tmp_path / "cache/kernels").glob("float-*.so"))) == 1


def test_another_compiler_or_processor_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    key = library._key(["cc"])
    assert library._key(["cc"]) == key
    assert library._key(["cc", "-O1"]) != key
    monkeypatch.setattr(library, "processor", lambda: "another")
    assert library._key(["cc"]) != key


def test_a_planted_library_is_not_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Another user of a shared cache has put one where this machine's kernels would lie."""
    monkeypatch.delenv("CC", raising=False)
    (tmp_path / "cache/kernels").mkdir(parents=True)
    (tmp_path / "cache").chmod(0o777)
    planted = tmp_path / f"cache/kernels/float-{library._key(['cc'])}.so"
    mark = tmp_path / "mark"
    (tmp_path / "a.c").write_text(
        "#include <stdlib.h>\n__attribute__((constructor)) static void go(void)\n"
        f'{{ if (system("touch {mark}")) abort(); }}\n'
    )
    words = ["cc", "-shared", "-fPIC", "-o", str(planted), str(tmp_path / "a.c")]
    assert os.spawnvp(os.P_WAIT, "cc", words) == 0
    assert library.library(torch.float32) is not None
    assert not mark.exists()
    assert channel_moments(torch.ones(4, 2)) is not None


def test_needs_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GHOSTNET_CACHE", "off")
    assert library.library(torch.float64) is not None


def test_a_cache_that_cannot_be_written_is_done_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file")
    assert library.library(torch.float64) is not None


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (None, "no compiler"),
        ("echo bad luck >&2; exit 1", "bad luck"),
        ("exit 1", "without a word"),
    ],
)
def test_without_a_compiler_says_so_once(
    script: str | None,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(
        "CC", str(tmp_path / "none") if script is None else compiler(tmp_path, script)
    )
    x = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    with caplog.at_level(logging.WARNING):
        assert not calls.usable(x)
        assert not calls.usable(x.double())
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert words in said[0] and "install a C compiler" in said[0]


def test_can_be_switched_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(library.SWITCH, "off")
    assert library.library(torch.float32) is None
    assert not caplog.records


def test_older_ways_to_name_the_processor_are_tried(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = (
        'for word; do case "$word" in -march=native|-fopenmp) exit 1;; esac; done; exec cc "$@"'
    )
    monkeypatch.setenv("CC", compiler(tmp_path, script))
    assert library.library(torch.float32) is not None


def test_other_numbers_have_no_kernels() -> None:
    assert library.library(torch.bfloat16) is None


def test_the_source_is_free_of_warnings(tmp_path: Path) -> None:
    source = Path(library.__file__).parent / "kernels.c"
    # Some warnings come of optimisation, which is the same for both.
    for real, size, level in (("float", 4, "-O1"), ("double", 8, "-O0")):
        words = ["cc", *library._FLAGS, level, "-fopenmp", "-Wall", "-Wextra", "-Werror"]
        words += [f"-DREAL={real}", f"-DREAL_BYTES={size}", "-o", str(tmp_path / "k.so")]
        assert os.spawnvp(os.P_WAIT, "cc", [*words, str(source)]) == 0


def test_refused_memory_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        def __getattr__(self, name: str) -> object:
            return lambda *arguments: 1

    monkeypatch.setattr(calls, "library", lambda dtype: Refusing())
    with pytest.raises(MemoryError, match="channel_moments"):
        channel_moments(torch.zeros(4, 2))
