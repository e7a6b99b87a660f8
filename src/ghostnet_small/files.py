"""Files that are whole or absent, whenever the program dies."""

from __future__ import annotations

import os
from pathlib import Path


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


def _sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
