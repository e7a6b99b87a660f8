"""Unzipping within bounds: neither a header's promise nor a zip bomb takes more than is allowed."""

from __future__ import annotations

from typing import Protocol

from ghostnet_small.errors import InputError

MOST_UNZIPPED = 5 << 28  # bytes of one data set that are held in memory: 1.25 GiB
_LABEL_BYTES = 64  # what a label takes besides its value while classes are numbered


class Readable(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; none at the end."""


class Allowance:
    """How much of a data set may still be unzipped."""

    def __init__(self) -> None:
        self.left = MOST_UNZIPPED

    def take(self, size: int, rows: int, where: str, cure: str) -> None:
        """Book ``size`` bytes for ``rows`` pictures or labels.

        Raises ``InputError`` with the ``cure`` where they are not left.
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
