"""What may not be written is told in one line, and what lies there stays as it is."""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from small_run import resume, train, weights_of

NOBODY = 65534


def as_nobody(work: Callable[[], int], log: Path) -> int:
    """The status of ``work`` in a child that obeys permissions, as root does not."""
    process = os.fork()
    if process == 0:
        status = 70
        try:
            sys.stdout = sys.stderr = log.open("w", buffering=1)
            if os.getuid() == 0:
                os.setuid(NOBODY)
            status = work()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose end was forgotten, so that a resumed one writes again."""
    out = tmp_path_factory.mktemp("runs") / "run"
    assert train(out) == 0
    (out / "summary.json").unlink()
    # Others may look, as they may not by pytest's choice.
    for folder in out.parents:
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o555)
        if folder.name.startswith("pytest-of"):
            break
    return out


def test_a_run_in_a_folder_that_may_not_be_written(begun: Path, tmp_path: Path) -> None:
    for path in (begun, *begun.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = weights_of(begun)
    assert as_nobody(lambda: resume(begun), tmp_path / "log") == 2
    (line,) = [line for line in (tmp_path / "log").read_text().splitlines() if "error" in line]
    assert str(begun) in line and "Permission denied" in line
    assert weights_of(begun) == before
    for path in (begun, *begun.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    copy = tmp_path / "run"
    shutil.copytree(begun, copy)
    assert resume(copy) == 0 and weights_of(copy) == before


def test_files_that_may_not_be_read(begun: Path, tmp_path: Path) -> None:
    for name in ("recipe.yaml", "state.safetensors"):
        (begun / name).chmod(0)
        status = as_nobody(lambda: resume(begun), tmp_path / "log")
        (begun / name).chmod(0o644)
        said = (tmp_path / "log").read_text()
        assert status == 2 and name in said and "Traceback" not in said


def test_a_new_run_where_nothing_may_be_made(begun: Path, tmp_path: Path) -> None:
    place = begun.parent / "closed"
    place.mkdir(mode=0o555)
    assert as_nobody(lambda: train(place / "run"), tmp_path / "log") == 2
    assert "is not a folder to write to" in (tmp_path / "log").read_text()
    assert not any(place.iterdir())
