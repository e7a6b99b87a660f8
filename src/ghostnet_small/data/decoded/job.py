"""The decoding of a split: from the cache, or into it, or into memory where there is none."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor

from ghostnet_small.data.decoded.cache import (
    CacheFolder,
    CacheLayout,
    Damaged,
    Decoded,
    full,
    key_of,
    locked,
    no_space,
)
from ghostnet_small.data.decoded.decode import COLOUR, Block, Format, Source, decode_blocks
from ghostnet_small.data.decoded.pixels import (
    Pixels,
    Size,
    SizesDiffer,
    check_size,
    sizes_differ,
)
from ghostnet_small.data.decoded.signature import decoder_version, signature
from ghostnet_small.data.listing import BrokenSource, ListedSplit
from ghostnet_small.data.pictures import read_picture
from ghostnet_small.errors import InputError, os_error_text

OnError = Literal["stop", "skip"]
MANY = 20_000  # images; decoding more takes seconds, and the user is told what the wait is for
_TRIES = 3


@dataclass(frozen=True)
class Decoding:
    """The way images are decoded: settings of ``DataSettings``, and the caches' ``root``."""

    channels: int | None
    size: Size | None
    on_error: OnError
    root: Path | None
    say: Callable[[str], None]


class DecodingJob:
    """The pixels of some rows of a split, in two steps: decode, then read.

    ``rows`` int64, ascending. After ``decode`` the pixels lie in the cache, or in memory where
    there is none, and ``size_bytes`` is known.
    """

    def __init__(self, split: ListedSplit, rows: Tensor, how: Decoding, limit: float) -> None:
        self.split, self.how, self.limit = split, how, limit
        self.rows = None if len(rows) == len(split.pictures) else rows
        self.count = len(rows)
        self.first = ""
        self.in_memory: Decoded | None = None
        self.folder: CacheFolder | None = None
        self.root = how.root
        if self.root is not None:
            base = [
                decoder_version(),
                signature(split.pictures),
                self.split_size,
                how.channels,
                how.size,
            ]
            whole = CacheFolder(self.root / key_of([*base, "all"]))
            self.folder = whole
            # A cache of all images serves any part of them; else the part is decoded alone.
            if self.rows is not None and whole.finished() is None:
                chosen = hashlib.sha256(self.rows.numpy().astype("<i8").tobytes()).hexdigest()
                self.folder = CacheFolder(self.root / key_of([*base, chosen]))
            else:
                self.rows = None

    @property
    def split_size(self) -> int:
        return len(self.split.pictures)

    def decode(self) -> int:
        """Decode what is not decoded yet; return the bytes that the pixels take.

        Raises ``InputError`` for images that cannot be used, and where the disk is full.
        """
        if self.folder is not None:
            try:
                layout = self.folder.finished() or self._fill()
                return layout.size_bytes
            except OSError as error:
                self._leave_cache(error)
        self.in_memory = self._decode_in_memory()
        return self.in_memory.layout.size_bytes

    def read(self, *, keep: bool) -> Pixels:
        """The pixels, in memory if they are to be kept there or lie nowhere else."""
        if self.folder is not None:
            try:
                return Pixels(self.split, self.rows, self._checked(keep), self.folder)
            except OSError as error:
                self._leave_cache(error)
        if self.in_memory is None:
            self.in_memory = self._decode_in_memory()
        return Pixels(self.split, self.rows, self.in_memory, None)

    def _leave_cache(self, error: OSError) -> None:
        self.how.say(
            f"the cache {self.root} cannot be used ({os_error_text(error)}); the images are "
            "decoded in memory, again at each start: give a folder with --data.cache DIR"
        )
        self.folder = None

    def _checked(self, keep: bool) -> Decoded:
        assert self.folder is not None
        for _ in range(_TRIES):
            with suppress(Damaged, FileNotFoundError):
                found = self.folder.read(keep=keep)
                if not found.missing and not found.damaged:
                    return found
            self._fill()
        raise OSError(f"{self.folder.path} is damaged each time it is read")

    def _fill(self) -> CacheLayout:
        """Decode the blocks that the cache lacks or that are damaged in it."""
        assert self.folder is not None and self.root is not None
        folder = self.folder
        with locked(self.root, folder.path.name):
            try:
                found = folder.read(keep=False)
            except (Damaged, FileNotFoundError):
                if folder.path.exists():
                    self.how.say(f"the cache {folder.path} is damaged and made again")
                found = None
            if found is not None and not found.missing and not found.damaged:
                return found.layout
            needed = 0
            try:
                if found is not None and found.damaged:
                    self.how.say(
                        f"{len(found.damaged)} of {found.layout.blocks} blocks of the cache "
                        f"{folder.path} are damaged and are decoded again"
                    )
                    folder.forget_facts()
                form = self._form() if found is None else self._form_of(found.layout)
                while True:
                    layout = CacheLayout.of(self.count, form)
                    needed = layout.size_bytes
                    if found is None:
                        folder.make(layout)
                        numbers = list(range(layout.blocks))
                    else:
                        numbers = sorted([*found.missing, *found.damaged])
                    with folder.writer(layout) as write:
                        if self._run(numbers, layout, form, write):
                            return layout
                    found, form = None, replace(form, planes=COLOUR)
            except OSError as error:
                folder.remove()
                if no_space(error):
                    raise full(self.root, needed, error) from None
                raise
            except InputError:
                # The cure changes a file, and so the key: these blocks would never be read.
                folder.remove()
                raise

    def _decode_in_memory(self) -> Decoded:
        form = self._form()
        while True:
            layout = CacheLayout.of(self.count, form)
            if layout.size_bytes > self.limit:
                raise InputError(
                    f"{layout.size_bytes / 2**30:.2f} GiB of images are more than the "
                    f"{self.limit / 2**30:.2f} GiB that they may take in memory, and there is no "
                    "cache to keep them in; give --data.cache DIR, or raise --data.memory_gib"
                )
            found = Decoded(
                layout, np.zeros(layout.shape, np.uint8), np.zeros(layout.rows, np.uint8)
            )

            def write(number: int, block: Block, found: Decoded = found) -> None:
                rows = found.layout.block(number)
                assert found.pixels is not None
                found.pixels[rows], found.kinds[rows] = block.pixels, block.kinds
                found.unreadable |= {rows.start + k: said for k, said in block.unreadable.items()}

            if self._run(list(range(layout.blocks)), layout, form, write):
                return found
            form = replace(form, planes=COLOUR)

    def _run(
        self,
        numbers: list[int],
        layout: CacheLayout,
        form: Format,
        write: Callable[[int, Block], None],
    ) -> bool:
        """Decode blocks; return False where a coloured image was found among grey ones."""
        coloured = False
        mistakes: dict[int, InputError] = {}

        def load(number: int) -> tuple[Sequence[Source], Sequence[str]]:
            rows = layout.block(number)
            chosen = range(rows.start, rows.stop) if self.rows is None else self.rows[rows].tolist()
            return [self._source(row) for row in chosen], [self.split.names[row] for row in chosen]

        def keep(number: int, block: Block) -> bool:
            nonlocal coloured
            first = layout.block(number).start
            coloured |= block.coloured
            if self.how.on_error == "stop":
                mistakes.update(
                    {first + row: InputError(said) for row, said in block.unreadable.items()}
                )
            if block.misfit is not None:
                row, size = block.misfit
                mistakes[first + row] = SizesDiffer(self._misfit(first + row, size, form))
            if coloured or mistakes:
                return False
            write(number, block)
            return True

        if len(numbers) * layout.block_rows >= MANY:
            kept = (
                "" if self.folder is None else f" into the cache {self.root}, for later starts too"
            )
            self.how.say(f"decoding {self.count:,} images{kept}")
        decode_blocks(numbers, load, keep, form, say=self.how.say)
        if mistakes and not coloured:
            # Blocks begin in their order and are finished: no earlier row has a mistake.
            raise mistakes[min(mistakes)]
        return not coloured

    def _source(self, row: int) -> Source:
        try:
            return self.split.pictures[row]
        except BrokenSource:
            raise
        except InputError as error:
            return error

    def _form(self) -> Format:
        """Return the form that the first readable image is decoded to."""
        said = ""
        for row in range(self.split_size) if self.rows is None else self.rows.tolist():
            name = self.split.names[row]
            try:
                picture = read_picture(
                    self.split.picture(row),
                    channels=self.how.channels,
                    size=self.how.size,
                    name=name,
                )
            except BrokenSource:
                raise
            except InputError as error:
                if self.how.on_error == "stop":
                    raise
                said = said or str(error)
                continue
            check_size(picture.shape[1:], name)
            self.first = name
            planes, height, width = picture.shape
            return Format(self.how.channels, self.how.size, planes, height, width)
        raise InputError(f"none of {self.count} images can be read: {said}")

    def _form_of(self, layout: CacheLayout) -> Format:
        return Format(self.how.channels, self.how.size, layout.planes, layout.height, layout.width)

    def _misfit(self, place: int, size: tuple[int, int], form: Format) -> str:
        row = place if self.rows is None else int(self.rows[place])
        first = self.first or self.split.names[0]
        return sizes_differ(first, (form.height, form.width), self.split.names[row], size)
