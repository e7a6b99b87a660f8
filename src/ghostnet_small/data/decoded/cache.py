"""Decoded images in files: one folder for each split and way of decoding it.

A folder holds ``pixels`` (uint8 ``N x C x H x W``), ``kinds`` (an image's channels, 0: it cannot
be read; uint8 ``N``) and ``log``: a line for the form of both, then one for each block of rows that
is complete, with its checksum. A block is written before its line, so that decoding resumes after
a crash, and a block that was damaged later is decoded again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ghostnet_small.data.decoded.decode import Block, Format
from ghostnet_small.errors import InputError, os_error_text
from ghostnet_small.files import hold, no_follow, private_folder

BLOCK_BYTES, BLOCK_ROWS = 2 << 20, 512


@dataclass(frozen=True)
class CacheLayout:
    """The form of a folder's files: ``rows`` images, ``block_rows`` of them to a block."""

    rows: int
    planes: int
    height: int
    width: int
    block_rows: int

    @classmethod
    def of(cls, rows: int, form: Format) -> CacheLayout:
        """Return the layout of ``rows`` images of ``form``."""
        picture = form.planes * form.height * form.width
        block_rows = max(1, min(BLOCK_ROWS, BLOCK_BYTES // picture))
        return cls(rows, form.planes, form.height, form.width, block_rows)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.rows, self.planes, self.height, self.width

    @property
    def picture_bytes(self) -> int:
        return self.planes * self.height * self.width

    @property
    def size_bytes(self) -> int:
        return self.rows * (self.picture_bytes + 1)

    @property
    def blocks(self) -> int:
        return -(-self.rows // self.block_rows)

    def block(self, number: int) -> slice:
        """The rows of a block."""
        return slice(number * self.block_rows, min((number + 1) * self.block_rows, self.rows))


@dataclass
class Decoded:
    """The content of a folder, or of memory: ``kinds`` uint8 ``(N,)``, messages by unreadable row,
    and ``pixels`` uint8 ``(N, C, H, W)``, None where they stay in the file.

    Blocks that are ``missing`` were not decoded yet; those that are ``damaged`` cannot be used.
    """

    layout: CacheLayout
    pixels: np.ndarray | None
    kinds: np.ndarray
    unreadable: dict[int, str] = field(default_factory=dict)
    missing: list[int] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)


class Damaged(Exception):
    """A folder's log is unusable, or does not match its files."""


class CacheFolder:
    """The folder of one split, decoded in one way."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pixels, self.kinds, self.log = path / "pixels", path / "kinds", path / "log"

    def finished(self) -> CacheLayout | None:
        """The form of the files, None where they are not here or a block was never decoded."""
        try:
            layout, checksums, _ = self._read_log()
        except (OSError, Damaged):
            return None
        return layout if len(checksums) == layout.blocks else None

    def size_bytes(self) -> int:
        """Bytes on the disk."""
        total = 0
        for file in self.path.iterdir():
            # Another process may just have renamed its temporary file.
            with suppress(FileNotFoundError):
                total += file.stat().st_size
        return total

    def read(self, *, keep: bool) -> Decoded:
        """Return the folder's content.

        Every block is read and compared with its checksum; ``keep`` leaves the pixels in memory.

        Raises ``Damaged`` where nothing can be used, ``OSError`` where it cannot be read.
        """
        layout, checksums, unreadable = self._read_log()
        kinds = np.fromfile(self.kinds, np.uint8)
        pixels = np.empty(layout.shape, np.uint8) if keep else None
        spare = np.empty((layout.block_rows, *layout.shape[1:]), np.uint8)
        found = Decoded(layout, pixels, kinds, unreadable)
        with self.pixels.open("rb", buffering=0) as file:
            for number in range(layout.blocks):
                if number not in checksums:
                    found.missing.append(number)
                    continue
                rows = layout.block(number)
                count = rows.stop - rows.start
                block = spare[:count] if pixels is None else pixels[rows]
                file.seek(rows.start * layout.picture_bytes)
                whole = file.readinto(block.data.cast("B")) == block.nbytes
                if not whole or checksums[number] != _checksum(block, kinds[rows]):
                    found.damaged.append(number)
        return found

    def make(self, layout: CacheLayout) -> None:
        """Start again with files of the final size, so that a full disk is found now."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True)
        for file, size in (
            (self.pixels, layout.rows * layout.picture_bytes),
            (self.kinds, layout.rows),
        ):
            with file.open("wb") as opened:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(opened.fileno(), 0, size)
                else:
                    opened.truncate(size)
        self._append({"layout": vars(layout)})

    @contextmanager
    def writer(self, layout: CacheLayout) -> Iterator[Callable[[int, Block], None]]:
        """Yield a function that writes a block, then its line in the log."""
        with (
            open(self.pixels, "r+b", buffering=0, opener=no_follow) as pixels,
            open(self.kinds, "r+b", opener=no_follow) as kinds,
        ):

            def write(number: int, block: Block) -> None:
                rows = layout.block(number)
                for file, values, start in (
                    (pixels, block.pixels, rows.start * layout.picture_bytes),
                    (kinds, block.kinds, rows.start),
                ):
                    file.seek(start)
                    file.write(values.data.cast("B"))
                    file.flush()
                unreadable = {rows.start + row: said for row, said in block.unreadable.items()}
                line = {
                    "block": number,
                    "crc32": _checksum(block.pixels, block.kinds),
                    "unreadable": unreadable,
                }
                self._append(line)

            yield write

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)

    def forget_facts(self) -> None:
        """Remove what was computed from pixels that turned out to be damaged."""
        for file in self.path.glob("*.json"):
            file.unlink()

    def _append(self, values: dict[str, object]) -> None:
        text = json.dumps(values)
        # The first line break ends what a crash may have left of a line.
        line = f"\n{zlib.crc32(text.encode()):08x} {text}\n"
        handle = no_follow(str(self.log), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            if os.write(handle, line.encode()) < len(line.encode()):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.log))
        finally:
            os.close(handle)

    def _read_log(self) -> tuple[CacheLayout, dict[int, int], dict[int, str]]:
        """The layout, each block's checksum, and messages by row; a later line counts."""
        layout = None
        checksums: dict[int, int] = {}
        unreadable: dict[int, dict[int, str]] = {}
        for line in _whole_lines(self.log.read_bytes().split(b"\n")):
            if "layout" in line:
                layout = CacheLayout(**line["layout"])
            else:
                checksums[line["block"]] = line["crc32"]
                unreadable[line["block"]] = {
                    int(row): said for row, said in line["unreadable"].items()
                }
        if layout is None or self.kinds.stat().st_size != layout.rows:
            raise Damaged
        if self.pixels.stat().st_size != layout.rows * layout.picture_bytes:
            raise Damaged
        said = {row: text for block in unreadable.values() for row, text in block.items()}
        return layout, checksums, dict(sorted(said.items()))


def _whole_lines(lines: Iterable[bytes]) -> Iterator[dict]:
    for line in lines:
        crc, _, text = line.partition(b" ")
        if line and crc == f"{zlib.crc32(text):08x}".encode():
            yield json.loads(text)


def _checksum(pixels: np.ndarray, kinds: np.ndarray) -> int:
    return zlib.crc32(kinds.data, zlib.crc32(pixels.data))


def key_of(parts: Sequence[object]) -> str:
    """Return a folder's name, a hash of its images' source and of the way of decoding."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


@contextmanager
def locked(root: Path, key: str) -> Iterator[None]:
    """Let in one process at a time; one that dies frees its lock. Raises ``OSError``."""
    private_folder(root)
    path = root / f"{key}.lock"
    while True:
        handle = no_follow(str(path), os.O_RDWR | os.O_CREAT)
        try:
            hold(handle, wait=True)
            # The process before may have removed the file that this one waited for.
            with suppress(FileNotFoundError):
                if os.fstat(handle).st_ino == path.stat().st_ino:
                    break
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(handle)


def no_space(error: OSError) -> bool:
    """Return whether ``error`` means that a file could not grow."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def full(root: Path, needed: int, error: OSError) -> InputError:
    """Return the error for ``needed`` bytes that do not fit below ``root``."""
    with suppress(OSError):
        free = shutil.disk_usage(root).free
        return InputError(
            f"the cache {root} has no room for {needed / 2**20:,.0f} MiB of decoded images "
            f"({os_error_text(error)}; {free / 2**20:,.0f} MiB are free); make room, give another "
            "folder with --data.cache DIR, or --data.cache off to decode at every start"
        )
    raise error
