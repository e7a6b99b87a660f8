"""A signature of images that shows, without decoding any, whether they have changed."""

from __future__ import annotations

import hashlib
import os
import pkgutil
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import PIL
from PIL import features

_SAMPLE_FILES, _SAMPLE_BYTES = 64, 1 << 15


def signature(pictures: Sequence[Path] | Sequence[bytes] | np.ndarray) -> str:
    """Return text that changes when the images may have, if possible without reading all.

    Lazy sequences have a ``signature`` of their own; files count as ``files_signature`` says.
    """
    own = getattr(pictures, "signature", None)
    if own is not None:
        return str(own)
    sha = hashlib.sha256()
    if isinstance(pictures, np.ndarray):
        sha.update(str(pictures.shape).encode())
        for start in range(0, len(pictures), 1024):
            sha.update(np.ascontiguousarray(pictures[start : start + 1024]).data)
        return f"pixels {sha.hexdigest()}"
    if len(pictures) and isinstance(pictures[0], Path):
        return f"files {files_signature([str(picture) for picture in pictures])}"
    for picture in pictures:
        assert isinstance(picture, bytes)
        sha.update(len(picture).to_bytes(8, "little") + picture)
    return f"contents {sha.hexdigest()}"


def files_signature(files: Sequence[str]) -> str:
    """Return a digest that changes when a file is added, removed, replaced or written.

    A file counts by its path below the folder that all lie in, its size, its inode, and the times
    of change of content (mtime) and of the file (ctime). A sample of the files also counts by
    their first and last bytes.
    """
    # Size and mtime are not enough: archives, git and build tools give all files one time, and
    # BMP, PPM and plain TIFF images of one height and width have one size. No program can set
    # ctime, and a rename changes it; moving the folder of the set changes neither that nor an
    # inode. The device is left out: of a network drive its number differs between machines and
    # starts. What inodes and times cannot tell (squashfs images, FUSE), the sample does.
    base = len(os.path.commonpath({os.path.dirname(file) for file in files})) if files else 0
    sha = hashlib.sha256()
    for file in files:
        try:
            status = os.stat(file)
            seen = f"{status.st_size} {status.st_ino} {status.st_mtime_ns} {status.st_ctime_ns}"
        except OSError:
            seen = "gone"
        sha.update(os.fsencode(f"{file[base:]}\0{seen}\0"))
    for file in files[:: -(-len(files) // _SAMPLE_FILES) or 1]:
        with suppress(OSError), open(file, "rb") as opened:
            sha.update(opened.read(_SAMPLE_BYTES))
            opened.seek(-min(_SAMPLE_BYTES, os.fstat(opened.fileno()).st_size), os.SEEK_END)
            sha.update(opened.read(_SAMPLE_BYTES))
    return sha.hexdigest()


@cache
def decoder_version() -> list[str]:
    """Return what pixels depend on beside the files: the code that decodes, and its libraries."""
    code = hashlib.sha256()
    for name in ("pictures.py", "decoded/decode.py"):
        code.update(pkgutil.get_data("ghostnet_small.data", name) or b"")
    libraries = [str(features.version(name)) for name in ("jpg", "jpg_2000", "webp", "avif")]
    return [code.hexdigest(), PIL.__version__, *libraries]
