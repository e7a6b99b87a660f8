"""The origin of a result: code, device and libraries."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from ghostnet_small.errors import InputError
from ghostnet_small.files import read_bytes
from ghostnet_small.platforms import apple_processor
from ghostnet_small.version import __version__

LIBRARIES = ("torchvision", "timm", "datasets", "numpy", "pillow", "scikit-learn")


def provenance(device: torch.device) -> dict[str, Any]:
    """Return what a record needs so that its run can be repeated.

    Keys: ``version``, ``commit`` (None outside of a checkout), ``dirty`` (None likewise),
    ``device``, ``libraries`` (absent ones left out), ``python``, ``platform``.
    """
    commit, dirty = source_commit()
    return {
        "version": __version__,
        "commit": commit,
        "dirty": dirty,
        "device": describe_device(device),
        # torch's own version names the build (CPU, CUDA), its distribution's does not.
        "libraries": {"torch": str(torch.__version__), **versions_of(LIBRARIES)},
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def versions_of(distributions: Sequence[str]) -> dict[str, str]:
    """Return the versions of those ``distributions`` that are installed."""
    return {name: found for name in distributions if (found := _version(name)) is not None}


def provenance_row() -> dict[str, str]:
    """``device`` and ``commit`` of a measurement on the CPU, as a table shows them."""
    return {
        "device": f"{_cpu_name()}, {os.cpu_count()} cores",
        "commit": commit_text(*source_commit()),
    }


def commit_text(commit: str | None, dirty: Any) -> str:
    """A commit, shortened, and whether the checkout had changes."""
    return f"{(commit or 'none')[:8]}{' with changes' if dirty else ''}"


def describe_device(device: torch.device) -> dict[str, Any]:
    """Kind and name of ``device``, and the CPU threads that torch uses."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()
    return {"kind": device.type, "name": name, "threads": torch.get_num_threads()}


def source_commit(package: Path | None = None) -> tuple[str | None, bool | None]:
    """Commit of the checkout that the package runs from, and whether its own files differ from it.

    ``package`` is the package's folder, by default this one's. Both are None where that folder
    is not tracked by git, as in an installed wheel, even one inside some other repository.
    """
    folder = package or Path(__file__).resolve().parent
    # An environment inside another project's checkout must not pass for that project's commit.
    if _git(folder, "ls-files", "--error-unmatch", "version.py") is None:
        return None, None
    commit = _git(folder, "rev-parse", "HEAD")
    changed = _changed(folder)
    if commit is None or changed is None:
        return None, None
    return commit, changed


def _changed(folder: Path) -> bool | None:
    """Return whether the files of ``folder`` differ from those of its commit; None where git fails.

    ``git status`` says it too, and runs the filters that the repository's settings name.
    """
    committed = _git(folder, "ls-tree", "-r", "-z", "HEAD", ".")
    present = _git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard", ".")
    if committed is None or present is None:
        return None
    # "MODE blob HASH\tNAME"
    entries = [entry.partition("\t") for entry in committed.split("\0") if entry]
    hashes = {name: about.split()[-1] for about, _, name in entries}
    if set(present.split("\0")) - {""} != set(hashes):
        return True
    return any(_blob(folder / name, len(found)) != found for name, found in hashes.items())


def _blob(file: Path, digits: int) -> str | None:
    """Return git's name for the content of ``file``, a hash of ``digits`` digits."""
    try:
        content = read_bytes(file)
    except (OSError, InputError):
        return None
    kind = hashlib.sha1 if digits == 40 else hashlib.sha256
    return kind(b"blob %d\0" % len(content) + content).hexdigest()


def _git(folder: Path, *arguments: str) -> str | None:
    """Return the output of git in ``folder``, or None where it fails or is missing."""
    # Within a git hook these name the repository that was committed to, whatever the folder.
    unset = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
    environment = {key: value for key, value in os.environ.items() if key not in unset}
    # This program may be installed inside an untrusted repository: programs that its settings name
    # must not run, neither to monitor files nor to fetch a missing object.
    environment["GIT_ALLOW_PROTOCOL"] = "none"
    try:
        done = subprocess.run(
            ["git", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=30,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _cpu_name() -> str:
    """The processor's model name, or the best that the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return value.strip()
    return apple_processor() or platform.processor() or platform.machine()


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
