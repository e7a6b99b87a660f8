"""Unzipping with a bound on memory, against false headers and zip bombs."""

from __future__ import annotations

from typing import Protocol

from ghostnet_small.errors import InputError

MOST_UNZIPPED = 5 << 28  # bytes of one data set that are held in memory: 1.25 GiB
_LABEL_BYTES = 64  # what a label takes besides its value while classes are numbered


class Readable(Protocol):
    """A source of bytes."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; none at the end."""


class Allowance:
    """The bytes of a data set that may still be unzipped."""

    def __init__(self) -> None:
        self.left = MOST_UNZIPPED

    def take(self, size: int, rows: int, where: str, cure: str) -> None:
        """Reserve ``size`` bytes for ``rows`` images or labels.

        Raises ``InputError`` with the ``cure`` where fewer are left.
        """
        self.left -= size + rows * _LABEL_BYTES
        if self.left < 0:
            raise InputError(
                f"{where} takes {size} bytes unzipped; with the set's other files that is more "
                f"than the {MOST_UNZIPPED} that are held in memory; {cure}"
            )


def read_at_most(stream: Readable, size: int) -> bytearray:
    """Up to ``size`` bytes, in parts, so that memory grows with what is there."""
    content = bytearray()
    while len(content) < size and (part := stream.read(min(1 << 20, size - len(content)))):
        content += part
    return content
