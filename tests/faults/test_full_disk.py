"""A full disk is told in one line, harms no checkpoint, and a run goes on once there is room."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ghostnet_small.tensorfile import read_tensors
from small_run import resume, train, weights_of

pytestmark = pytest.mark.usefixtures("quick_pictures")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB; a test that needs one is skipped where none may be mounted."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(path)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def fill(disk: Path, left: int) -> Path:
    """A file that leaves ``left`` bytes of the disk."""
    ballast = disk / "ballast"
    room = os.statvfs(disk)
    with ballast.open("wb") as file:
        file.write(bytes(max(0, room.f_bavail * room.f_bsize - left)))
    return ballast


def assert_unharmed(out: Path) -> None:
    """Every state and every weight that is there can be read."""
    for file in out.rglob("*.safetensors"):
        read_tensors(file)


@pytest.mark.parametrize("left", [200_000, 500_000, 900_000, 1_200_000])
def test_a_disk_that_is_full(
    left: int, small_disk: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = small_disk / "run"
    ballast = fill(small_disk, left)
    assert train(out) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert "No space left on device" in line and "make room" in line and str(small_disk) in line
    assert_unharmed(out)
    ballast.unlink()
    assert resume(out) == 0
    assert weights_of(out) == weights_of(whole)


@pytest.mark.parametrize("number", [0, 1, 2, 5, 6, 9, 12])
def test_a_disk_that_says_so_late(
    number: int,
    tmp_path: Path,
    whole: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Some file systems take all bytes and complain when they are to be kept."""
    out, left, real = tmp_path / "run", [number], os.fsync

    def fsync(handle: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        assert train(out) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert not list(tmp_path.rglob(".*.partial"))
    if out.exists():
        assert_unharmed(out)
        assert resume(out) == 0
    else:
        assert train(out) == 0
    assert weights_of(out) == weights_of(whole)
