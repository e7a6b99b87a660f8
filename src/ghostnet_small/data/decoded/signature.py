"""What tells, without decoding anything, whether pictures decoded before are still those."""

from __future__ import annotations

import hashlib
import os
import pkgutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import PIL
from PIL import features


def signature(pictures: Sequence[Path] | Sequence[bytes] | np.ndarray) -> str:
    """What changes when the pictures may have changed: without reading them, where that can be.

    Files count by their path below the folder that all lie in, their size and time of change.
    Lazy sequences have a ``signature`` of their own.
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
        base = len(os.path.commonpath({os.path.dirname(str(picture)) for picture in pictures}))
        for picture in pictures:
            try:
                status = os.stat(picture)
                seen = f"{status.st_size} {status.st_mtime_ns}"
            except FileNotFoundError:
                seen = "gone"
            sha.update(os.fsencode(f"{str(picture)[base:]}\0{seen}\0"))
        return f"files {sha.hexdigest()}"
    for picture in pictures:
        assert isinstance(picture, bytes)
        sha.update(len(picture).to_bytes(8, "little") + picture)
    return f"contents {sha.hexdigest()}"


@cache
def decoder_version() -> list[str]:
    """What pixels depend on beside the files: the code that decodes, and its libraries."""
    code = hashlib.sha256()
    for name in ("pictures.py", "decoded/decode.py"):
        code.update(pkgutil.get_data("ghostnet_small.data", name) or b"")
    libraries = [str(features.version(name)) for name in ("jpg", "jpg_2000", "webp", "avif")]
    return [code.hexdigest(), PIL.__version__, *libraries]
