"""Systems that the tests do not run on, made up: macOS, and Windows, which is refused."""

from __future__ import annotations

import fcntl
import os
import platform
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from fresh_process import output_of
from ghostnet_small import files, platforms, provenance
from ghostnet_small.data.decoded import available_memory
from ghostnet_small.deploy.c import compiled
from ghostnet_small.errors import InputError
from ghostnet_small.fast.cpu.kernels import library
from ghostnet_small.launcher import available_cores
from ghostnet_small.nn import fold
from ghostnet_small.study.planning import plan_study

SOURCES = Path(__file__).parents[1] / "src/ghostnet_small"


# Windows --------------------------------------------------------------------------------------

# Imported before the system is made up, for Python's own modules ask for it too.
ON_WINDOWS = """
import argparse, ctypes, json, logging, platform, signal, subprocess, sys, tempfile, threading
sys.platform = "win32"
sys.modules["fcntl"] = None
"""


@pytest.mark.parametrize("words", [["--version"], ["train", "--help"], []])
def test_windows_is_refused_in_one_sentence(words: list[str]) -> None:
    program = (
        f"{ON_WINDOWS}\nfrom contextlib import redirect_stderr\nfrom io import StringIO\n"
        "from ghostnet_small.cli import main\nsaid = StringIO()\n"
        f"with redirect_stderr(said):\n    status = main({words!r})\n"
        "print(status, said.getvalue(), end='')"
    )
    (line,) = output_of(program).splitlines()
    assert line.startswith("2 ghostnet-small: error: GhostNet-Small runs on Linux and macOS")
    assert "WSL" in line and "Docker" in line


def test_python_on_windows_gets_the_same_sentence() -> None:
    program = (
        f"{ON_WINDOWS}\nimport ghostnet_small\n"
        "try:\n    ghostnet_small.list_weights\n"
        "except ghostnet_small.InputError as error:\n    print(error)\n"
    )
    assert "not on Windows itself; run it in WSL" in output_of(program)


def test_what_windows_lacks_is_imported_in_one_place() -> None:
    lacking = ("import fcntl", "import pwd", "import grp", "import resource", "import termios")
    found = [
        file.relative_to(SOURCES).as_posix()
        for file in SOURCES.rglob("*.py")
        if any(line.strip().startswith(lacking) for line in file.read_text().splitlines())
    ]
    assert found == ["files.py"]


# macOS ----------------------------------------------------------------------------------------


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A Mac with an M2: no ``/proc``, no affinity, a ``sysctl``."""
    sysctl = tmp_path / "sysctl"
    sysctl.write_text('#!/bin/sh\n[ "$*" = "-n machdep.cpu.brand_string" ] && echo "Apple M2"\n')
    sysctl.chmod(0o755)
    monkeypatch.setattr(platforms, "SYSCTL", str(sysctl))
    monkeypatch.setattr(sys, "platform", "darwin")
    for name, value in (("system", "Darwin"), ("machine", "arm64"), ("processor", "arm")):
        monkeypatch.setattr(platform, name, lambda value=value: value)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    read = Path.read_text

    def without_proc(self: Path, *args: Any, **options: Any) -> str:
        if self.is_relative_to("/proc"):
            raise FileNotFoundError(2, "No such file or directory", str(self))
        return read(self, *args, **options)

    monkeypatch.setattr(Path, "read_text", without_proc)
    platforms.apple_processor.cache_clear()
    yield
    platforms.apple_processor.cache_clear()


@pytest.mark.usefixtures("mac")
def test_a_macs_processor_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert provenance._cpu_name() == "Apple M2"
    # Compiled code is for one kind of processor, and a home folder may serve two.
    assert library.processor() == "Darwin arm64 arm Apple M2"
    platforms.apple_processor.cache_clear()
    monkeypatch.setattr(platforms, "SYSCTL", "/no/such/program")
    assert provenance._cpu_name() == "arm"


def test_only_a_mac_is_asked_for_its_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platforms, "SYSCTL", "/bin/echo")
    platforms.apple_processor.cache_clear()
    assert platforms.apple_processor() == ""


@pytest.mark.usefixtures("mac")
def test_a_mac_tells_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 10)
    assert available_cores() == 10
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores() == 1


def test_memory_has_an_end_where_nothing_tells_what_is_free(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert available_memory.free_memory(tmp_path) == float("inf")
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.setattr(available_memory, "free_memory", lambda: float("inf"))
    sizes = {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 16384}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
    assert available_memory.memory_budget(None) == 0.5 * 1000 * 16384

    def unknown(name: str) -> int:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(os, "sysconf", unknown)
    assert available_memory.memory_budget(None) == float("inf")


# Apple's clang: it knows no -fopenmp, and for an Intel Mac no -mcpu=native.
CLANG = """#!/bin/sh
case " $* " in
    *--version*) echo "Apple clang version 16.0.0"; exit ;;
    *" -fopenmp "*) echo "clang: error: unsupported option '-fopenmp'" >&2; exit 1 ;;
    *" -REFUSED=native "*) echo "clang: error: unsupported argument 'native'" >&2; exit 1 ;;
esac
echo "$*" >> CALLS
while [ "$1" != -o ]; do shift; done
echo library > "$2"
"""


def apple_clang(folder: Path, refused: str) -> str:
    """A compiler that takes all but ``-fopenmp`` and ``-<refused>=native``."""
    clang = folder / "clang"
    text = CLANG.replace("REFUSED", refused).replace("CALLS", str(folder / "calls"))
    clang.write_text(text)
    clang.chmod(clang.stat().st_mode | stat.S_IXUSR)
    return str(clang)


@pytest.mark.usefixtures("mac")
@pytest.mark.parametrize(("refused", "taken"), [("march", "mcpu"), ("mcpu", "march")])
def test_apples_clang_compiles_for_its_processor(tmp_path: Path, refused: str, taken: str) -> None:
    clang = apple_clang(tmp_path, refused)
    assert library._compile([clang], "float") == b"library\n"
    found = compiled._compile(Path("model.c"), "int x;", [clang], compiled.FLAGS)
    assert found == b"library\n"
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == 2 and all(f" -{taken}=native " in call for call in calls)


@pytest.mark.usefixtures("mac")
def test_no_second_openmp_comes_into_a_process_on_a_mac() -> None:
    assert not any("-fopenmp" in choice for choice in library._choices())
    assert library._choices()[-1] == []


def test_a_macs_file_is_on_the_disk_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    def full(handle: int, command: int) -> None:
        asked.append(("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file", command))

    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", full)
    monkeypatch.setattr(os, "fsync", lambda handle: asked.append(("fsync", 0)))
    files.write_atomic(tmp_path / "a", "new")
    assert asked == [("file", 51), ("folder", 51)]

    def refuse(handle: int, command: int) -> None:
        raise OSError(45, "Operation not supported")

    asked.clear()
    monkeypatch.setattr(fcntl, "fcntl", refuse)
    files.write_atomic(tmp_path / "a", "newer")
    assert asked == [("fsync", 0)] * 2


def test_weights_on_apples_gpu_are_folded_on_the_cpu() -> None:
    def refuse() -> Tensor:
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype")

    there = SimpleNamespace(device=torch.device("mps"), cpu=lambda: torch.ones(2), double=refuse)
    assert fold.double(cast(Tensor, there)).equal(torch.ones(2, dtype=torch.float64))


def test_a_fold_lies_where_its_convolution_lies() -> None:
    """Also where the algebra ran on another device, as for weights on Apple's GPU."""
    like = torch.nn.Conv2d(1, 1, 1, device="meta")
    found = fold.plain_conv(like, torch.ones(1, 1, 1, 1), torch.zeros(1))
    assert found.weight.device.type == "meta"


# A file system that takes a and A for one ------------------------------------------------------


def test_runs_of_a_study_differ_by_more_than_case(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("name: s\nrecipe: quickstart-digits\nruns: {Base: {}, base: {}}\n")
    with pytest.raises(InputError, match="two runs called Base and base; give one of them"):
        plan_study(file, [], tmp_path / "out")
