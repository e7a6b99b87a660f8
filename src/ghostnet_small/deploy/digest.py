"""A digest behind a file's content, for runtimes that do not check what they read."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ghostnet_small.deploy.description import KEY
from ghostnet_small.errors import InputError
from ghostnet_small.files import read_bytes

# Behind the content, where runtimes have stopped reading: this, and a SHA-256 in hexadecimal.
DIGEST = f"\n# {KEY} digest ".encode()


def signed(content: bytes) -> bytes:
    """Return a file's bytes: ``content`` and its digest."""
    return content + DIGEST + hashlib.sha256(content).hexdigest().encode() + b"\n"


def checked_content(path: Path, largest: int) -> bytes:
    """Return the content of ``path``, of at most ``largest`` bytes, without its digest.

    Raises ``InputError`` where there is no digest, or that of another content.
    """
    content, found, digest = read_bytes(path, largest).rpartition(DIGEST)
    if not found:
        raise InputError(
            f"{path} was not written by ghostnet-small export, or is cut short; export the run "
            "again"
        )
    if hashlib.sha256(content).hexdigest().encode() != digest.rstrip(b"\n"):
        raise InputError(f"{path} is damaged; copy it again, or export the run again")
    return content
