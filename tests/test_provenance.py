from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch

from ghostnet_small.provenance import provenance, source_commit
from ghostnet_small.version import __version__


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=A", "-c", "user.email=a@b.c")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package's folder in a repository of its own, committed."""
    folder = tmp_path / "src" / "package"
    folder.mkdir(parents=True)
    (folder / "version.py").write_text("1\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    return folder


def test_names_what_a_record_needs_as_json() -> None:
    found = json.loads(json.dumps(provenance(torch.device("cpu"))))
    assert found["version"] == __version__
    assert found["libraries"]["torch"] == torch.__version__
    assert found["device"]["kind"] == "cpu"
    assert found["device"]["name"]
    assert found["device"]["threads"] == torch.get_num_threads()


def test_commit_is_that_of_the_package_and_dirty_tells_of_its_files(package: Path) -> None:
    head = git(package, "rev-parse", "HEAD")
    assert source_commit(package) == (head, False)
    (package.parent.parent / "notes.txt").write_text("beside the package\n")
    assert source_commit(package) == (head, False)
    (package / "version.py").write_text("2\n")
    assert source_commit(package) == (head, True)


def test_an_untracked_module_makes_the_package_dirty(package: Path) -> None:
    (package / "new.py").write_text("1\n")
    assert source_commit(package)[1] is True


def test_a_package_installed_inside_another_checkout_has_no_commit(package: Path) -> None:
    installed = package.parent.parent / ".venv" / "package"
    installed.mkdir(parents=True)
    (installed / "version.py").write_text("1\n")
    assert source_commit(installed) == (None, None)


def test_the_repository_of_the_working_directory_does_not_matter(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = source_commit()
    monkeypatch.chdir(package)
    monkeypatch.setenv("GIT_DIR", str(package.parent.parent / ".git"))
    assert source_commit() == here


def test_no_git_means_no_commit(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert source_commit(package) == (None, None)


def test_settings_of_a_strangers_repository_run_nothing(package: Path) -> None:
    """The program may be installed in a folder of the repository, which its index knows of."""
    root = package.parent.parent
    program = root / "run"
    program.write_text(f"#!/bin/sh\ntouch {root}/sprung-$1\ncat\n")
    program.chmod(0o755)
    for key in ("core.fsmonitor", "filter.f.clean", "filter.f.process", "core.sshCommand"):
        git(root, "config", key, f"{program} {key.rpartition('.')[2]}")
    (root / ".gitattributes").write_text("*.py filter=f\n")
    (package / "version.py").write_text("2\n")
    assert source_commit(package)[1] is True
    assert not list(root.glob("sprung*"))
