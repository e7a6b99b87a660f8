"""The arrays in an .npz file, with bounds: nothing in it is run and no header is trusted."""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import numpy as np

from ghostnet_small.data.formats.unzipped import MOST_UNZIPPED, Allowance, read_at_most
from ghostnet_small.errors import InputError, os_error_text

_MOST_READ = 1 << 20  # bytes at a time; the list of what is in the file has to fit too
# The header is a Python literal; what numpy writes for plain arrays is all that is understood.
_HEADER = re.compile(
    r"\{\s*'descr':\s*'([<>|=]?)([a-zA-Z])(\d{1,6})',\s*'fortran_order':\s*(True|False),"
    r"\s*'shape':\s*\(([\dL,\s]{0,200})\),?\s*\}\s*"
)


class _Capped(io.BufferedReader):
    """A file that is read in parts only, whatever its own headers ask for."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            size = _MOST_READ
        if size > _MOST_READ:
            raise zipfile.BadZipFile("a part of it is larger than it can be")
        return super().read(size)


@dataclass(frozen=True)
class ArrayHeader:
    """The name, type and shape of an array, as its header gives them."""

    name: str
    kind: str  # numpy's letter: u, i, b for integers, U, S for text, f for floats ...
    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool
    start: int  # of the values in the member


class NpzFile:
    """An open .npz file."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, allowance: Allowance) -> None:
        self.path = path
        self._zip = archive
        self._allowance = allowance

    def names(self) -> list[str]:
        """The arrays' names, without ``.npy``."""
        return [name.removesuffix(".npy") for name in self._zip.namelist() if name.endswith(".npy")]

    def header(self, name: str) -> ArrayHeader:
        """Return the header of the array ``name``.

        Raises ``InputError`` where it is no plain array.
        """
        with self._zip.open(self._member(name)) as stream:
            return _read_header(stream, name, f"{self.path} {name}")

    def values(self, header: ArrayHeader, *, copies: int = 1) -> np.ndarray:
        """The array; one of bytes that is not compressed is mapped.

        ``copies``: how often its reader holds it.

        Raises ``InputError`` where it is damaged or larger than what is left of the allowance.
        """
        where = f"{self.path} {header.name}"
        member = self._member(header.name)
        size = math.prod(header.shape) * header.dtype.itemsize
        if header.start + size != member.file_size:
            raise InputError(
                f"{where} has the shape {header.shape}, which is {size} bytes of "
                f"{header.dtype}, but {member.file_size - header.start} are there; save it again"
            )
        order: Literal["C", "F"] = "F" if header.fortran else "C"
        with self._zip.open(member) as stream:
            stream.read(header.start)
            if member.compress_type == zipfile.ZIP_STORED and header.kind == "u" and size:
                # Read once for its checksum; only the system's cache holds it.
                while stream.read(_MOST_READ):
                    pass
                start = self._content_start(member) + header.start
                return np.memmap(self.path, header.dtype, "r", start, header.shape, order)
            rows = header.shape[0] if header.shape else 1
            cure = "save it with np.savez, which does not compress: then it is mapped"
            self._allowance.take(size * copies, rows, where, cure)
            content = read_at_most(stream, size)
            stream.read(1)  # the end, where the checksum is compared
        if len(content) < size:
            raise InputError(f"{where} ends too early; save it again")
        return np.ndarray(header.shape, header.dtype, content, order=order)

    def value_range(self, header: ArrayHeader) -> tuple[float, float]:
        """The smallest and the largest number of an array, for messages about it.

        Of an array above ``MOST_UNZIPPED`` bytes, those of its beginning.
        """
        low, high = math.inf, -math.inf
        left = min(math.prod(header.shape) * header.dtype.itemsize, MOST_UNZIPPED)
        with self._zip.open(self._member(header.name)) as stream:
            stream.read(header.start)
            part = _MOST_READ // header.dtype.itemsize * header.dtype.itemsize
            while left > 0 and (content := read_at_most(stream, min(part, left))):
                left -= len(content)
                whole = len(content) // header.dtype.itemsize
                values = np.frombuffer(content, header.dtype, whole).real
                low, high = min(low, float(values.min())), max(high, float(values.max()))
        return low, high

    def _member(self, name: str) -> zipfile.ZipInfo:
        member = self._zip.getinfo(f"{name}.npy")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(
                f"{self.path} {name} is compressed in a way that cannot be bounded; save it with "
                "np.savez_compressed"
            )
        return member

    def _content_start(self, member: zipfile.ZipInfo) -> int:
        with self.path.open("rb") as file:
            file.seek(member.header_offset)
            lengths = struct.unpack("<26xHH", file.read(30))
        return member.header_offset + 30 + sum(lengths)


@contextmanager
def open_npz(path: Path, allowance: Allowance) -> Iterator[NpzFile]:
    """The .npz file ``path``; ``allowance`` bounds what is unzipped.

    Raises ``InputError`` where it is damaged, also later while it is read.
    """
    try:
        with _Capped(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
            yield NpzFile(path, archive, allowance)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read ({os_error_text(error)})") from None
    except Exception as error:  # zipfile raises many types for a damaged file
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path} is not a readable .npz file ({reason}); save it again") from None


def _read_header(stream: IO[bytes], name: str, where: str) -> ArrayHeader:
    head = stream.read(12)
    old = head[6:7] == b"\x01"
    if head[:6] != b"\x93NUMPY" or len(head) < 12 or head[6] not in (1, 2, 3):
        raise InputError(f"{where} is not a numpy array; save it again")
    length = int.from_bytes(head[8:10] if old else head[8:12], "little")
    text = (head[10:] if old else b"") + stream.read(min(length, 10_000))
    start = (10 if old else 12) + length
    match = _HEADER.fullmatch(text[:length].decode("latin1"))
    if match is None:
        raise InputError(
            f"{where} is not a plain array: objects, which would have to be unpickled, and records "
            "are not read; save it with an integer or text dtype"
        )
    order, kind, size, fortran, shape = match.groups()
    try:
        dtype = np.dtype(f"{order}{kind}{size}")
        sides = tuple(int(side.rstrip("L")) for side in shape.replace(" ", "").split(",") if side)
    except (TypeError, ValueError):
        raise InputError(f"{where} has an unknown dtype or shape; save it again") from None
    if len(sides) > 8 or any(side >= 2**40 for side in sides) or dtype.itemsize == 0:
        raise InputError(f"{where} has an unknown dtype or shape; save it again")
    return ArrayHeader(name, kind, dtype, sides, fortran == "True", start)
