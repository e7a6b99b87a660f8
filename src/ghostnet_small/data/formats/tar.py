"""The files in a tar archive, read from its start to its end; nothing is written anywhere."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Container, Iterator
from pathlib import Path

from ghostnet_small.data.formats.unzipped import Readable, read_at_most
from ghostnet_small.errors import InputError, os_error_text

MOST_ARCHIVE = 1 << 29  # bytes, unzipped; both CIFAR archives have 185 million
MOST_FILE = 1 << 28  # bytes of one file; CIFAR-100's largest has 156 million
_BLOCK = 512
_FILE = (b"0", b"\0")
_WITHOUT_CONTENT = (b"1", b"2", b"3", b"4", b"5", b"6")  # links, devices, folders


def read_tar(archive: Path, wanted: Container[str]) -> Iterator[tuple[str, bytearray]]:
    """Name and content of the regular files that are called one of ``wanted``, in any folder.

    Links, devices, other files and mere descriptions of files are passed over. The archive
    may be gzipped; it is read to its end, so that a wrong checksum is found.

    Raises ``InputError`` where it is damaged or larger than ``MOST_ARCHIVE`` bytes.
    """
    try:
        with archive.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            yield from _read(gzip.GzipFile(fileobj=raw) if zipped else raw, archive, wanted)
    except OSError as error:
        raise InputError(f"{archive} cannot be read ({os_error_text(error)})") from None
    except (EOFError, zlib.error) as error:
        raise InputError(f"{archive} cannot be unzipped ({error}); download it again") from None


def _read(
    stream: Readable, archive: Path, wanted: Container[str]
) -> Iterator[tuple[str, bytearray]]:
    total = 0
    while any(head := read_at_most(stream, _BLOCK)):
        size, total = _size(head, archive), total + _BLOCK
        kind = bytes(head[156:157])
        if kind in _WITHOUT_CONTENT:
            continue
        padded = -(-size // _BLOCK) * _BLOCK
        total += padded
        if total > MOST_ARCHIVE:
            raise InputError(
                f"{archive} has more than {MOST_ARCHIVE} bytes unzipped; CIFAR's archives are "
                "smaller, download it again"
            )
        name = head[:100].split(b"\0")[0].decode("latin1").rpartition("/")[2]
        if kind not in _FILE or name not in wanted:
            _skip(stream, padded, archive)
            continue
        if size > MOST_FILE:
            raise InputError(
                f"{name} in {archive} has {size} bytes; CIFAR's files are smaller, download it "
                "again"
            )
        content = read_at_most(stream, size)
        if len(content) < size:
            raise _ends_early(archive)
        _skip(stream, padded - size, archive)
        yield name, content
    # Up to the end of the last block and of the gzip stream, where the checksum stands.
    if len(read_at_most(stream, 1 << 20)) == 1 << 20:
        raise InputError(f"{archive} goes on after its end; download it again")


def _size(head: bytearray, archive: Path) -> int:
    """The size of the file that a block introduces, once the block's checksum is right."""
    if len(head) < _BLOCK:
        raise _ends_early(archive)
    try:
        size, checksum = (
            int(bytes(field).strip(b" \0") or b"0", 8) for field in (head[124:136], head[148:156])
        )
    except ValueError:
        size = checksum = -1
    if size < 0 or checksum != sum(head[:148]) + sum(b" " * 8) + sum(head[156:]):
        raise InputError(f"{archive} is not a tar archive or is damaged; download it again")
    return size


def _skip(stream: Readable, size: int, archive: Path) -> None:
    while size:
        part = len(stream.read(min(size, 1 << 20)))
        if not part:
            raise _ends_early(archive)
        size -= part


def _ends_early(archive: Path) -> InputError:
    return InputError(f"{archive} ends too early; download it again")
