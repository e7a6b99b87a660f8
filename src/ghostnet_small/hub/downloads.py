"""Files of the hub in its client's cache, compared with the digests that the server gives."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ghostnet_small.errors import InputError


@dataclass(frozen=True)
class HubFile:
    """A file of a commit: its size in bytes and its digest, ``sha256:...`` or git's ``sha1:...``.

    A mirror may not give them: None, and empty. ``seen``: size and time of change (ns) of a cached
    copy that was compared and matched.
    """

    size: int | None
    digest: str
    seen: tuple[int, int] | None = None


def file_of(entry: Any) -> HubFile:
    """Return a file from its description by ``huggingface_hub``, one of ``siblings``."""
    if entry.lfs:
        return HubFile(entry.size, f"sha256:{entry.lfs['sha256']}")
    return HubFile(entry.size, f"sha1:{entry.blob_id}" if entry.blob_id else "")


def read_files(written: Mapping[str, Mapping[str, Any]]) -> dict[str, HubFile]:
    """Return the files that JSON values name; raise ``KeyError`` or ``TypeError`` if malformed."""
    return {
        path: HubFile(entry["size"], entry["digest"], tuple(entry["seen"]))
        for path, entry in written.items()
    }


def asset_place(kind: str, repository: str, subset: str | None, revision: str | None) -> Path:
    """Return the place in the client's cache for what this program stores about a repository."""
    from huggingface_hub import cached_assets_path

    asked = re.sub(r"[^\w.-]", "-", f"{subset or 'default'}@{revision or 'newest'}")
    folder = cached_assets_path("ghostnet_small", namespace=repository, subfolder=kind)
    # Two names may differ only in the characters that are replaced.
    exact = hashlib.sha256(repr((subset, revision)).encode()).hexdigest()
    return folder / f"{asked}-{exact[:8]}.json"


def checked_file(what: str, path: str, local: Path, wanted: HubFile) -> HubFile:
    """Return ``wanted`` with its copy as ``seen``; raise ``InputError`` where that is damaged.

    ``huggingface_hub`` compares sizes only. A file that matched before and has not changed is not
    read again.
    """
    status = local.stat()
    seen = (status.st_size, status.st_mtime_ns)
    if seen == wanted.seen:
        return wanted
    if wanted.size not in (None, status.st_size):
        different = "size"
    elif wanted.digest and _digest_of(local, wanted.digest) != wanted.digest:
        different = "checksum"
    else:
        different = ""
    if different:
        raise InputError(
            f"{os.path.realpath(local)}, the cached {path} of {what}, is "
            f"damaged: its {different} is not the one that the hub gives; delete it and start again"
        )
    return dataclasses.replace(wanted, seen=seen)


def _digest_of(local: Path, like: str) -> str:
    algorithm = like.partition(":")[0]
    found = hashlib.new(algorithm)
    if algorithm == "sha1":
        found.update(f"blob {local.stat().st_size}\0".encode())  # as git names a file
    with local.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return f"{algorithm}:{found.hexdigest()}"
