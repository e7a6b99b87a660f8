"""Files that are whole or absent, whenever the program dies."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ghostnet_small.errors import InputError


def write_atomic(path: Path, data: bytes | str) -> None:
    """Replace ``path`` by ``data`` (text as UTF-8): a crash leaves the old file or the new one.

    The folder must exist. A symbolic link is followed: the file it names is replaced. Two
    writers of one path must not run at a time.
    """
    path = path.resolve()
    # Beside the target, for a rename is atomic within one file system only. The name is fixed,
    # so that what a killed process left is overwritten by the next one rather than piling up.
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def check_free(path: Path, option: str, cure: str = "") -> None:
    """Raises ``InputError`` where ``path``, given as ``option``, exists or cannot be made."""
    if path.exists() or path.is_symlink():
        raise InputError(f"{option} {path} exists; {cure}give another folder")
    parent = path.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise InputError(
            f"{option} {path} cannot be made: {parent} is no folder to write in; give another"
        )


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which becomes ``path`` at the end; after an error there is neither."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    # What a killed process left.
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        os.rename(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
