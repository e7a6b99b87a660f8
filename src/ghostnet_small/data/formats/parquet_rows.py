"""The images of parquet files, read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from ghostnet_small.data.decoded.signature import files_signature
from ghostnet_small.data.listing import BrokenSource, FileRowNames, LazyRows
from ghostnet_small.errors import InputError

_POINTER = b"version https://git-lfs.github.com/"
_BATCH = 1024  # rows that are in memory at a time


class ParquetPictures(LazyRows[bytes]):
    """The encoded images in ``column``; fast where rows are asked for in ascending order.

    Raises ``InputError`` for a row that holds no image, ``BrokenSource`` where a file cannot be
    read.
    """

    def __init__(self, names: FileRowNames, column: str) -> None:
        self.names, self.column = names, column
        self._file: Any = None
        self._number = -1
        self._batches: Iterator[Any] = iter(())
        self._batch: Any = None
        self._first, self._group_end = 0, 0  # of the batch, and of its row group, in the file

    @property
    def signature(self) -> str:
        """Changes with the files, as ``files_signature`` says, their order and the column."""
        return f"parquet {self.column} {files_signature(self.names.files)}"

    def __len__(self) -> int:
        return len(self.names)

    def row(self, number: int) -> bytes:
        file, inside = self.names.place(number)
        try:
            cell = self._cell(file, inside)
        except Exception as error:  # pyarrow raises its own types and OSError
            reason = " ".join(str(error).split()) or type(error).__name__
            raise broken_file(self.names.files[file], reason) from error
        content = cell.get("bytes") if isinstance(cell, dict) else cell
        if not isinstance(content, bytes):
            raise InputError(
                f"{self.names[number]}: column {self.column} holds no image bytes; save the "
                "data set with its images embedded"
            )
        return content

    def _cell(self, number: int, row: int) -> Any:
        if number != self._number:
            from pyarrow import parquet

            self._number, self._group_end = -1, 0
            self._file = parquet.ParquetFile(self.names.files[number], buffer_size=1 << 20)
            self._number = number
        if not self._first <= row < self._group_end:
            self._open_group(row)
        while row >= self._first + len(self._batch):
            self._first += len(self._batch)
            self._batch = next(self._batches).column(0)
        return self._batch[row - self._first].as_py()

    def _open_group(self, row: int) -> None:
        metadata = self._file.metadata
        group, end = 0, metadata.row_group(0).num_rows
        while row >= end:
            group += 1
            end += metadata.row_group(group).num_rows
        self._first, self._group_end = end - metadata.row_group(group).num_rows, end
        self._batch = ()
        self._batches = self._file.iter_batches(
            batch_size=_BATCH, row_groups=[group], columns=[self.column], use_threads=False
        )


def broken_file(file: str, reason: str) -> BrokenSource:
    """Return the error for a parquet file that cannot be read."""
    with suppress(OSError), open(file, "rb") as content:
        if content.read(len(_POINTER)) == _POINTER:
            return BrokenSource(
                f"{file} is a pointer of Git LFS, not the file itself; fetch it with: git lfs pull"
            )
    return BrokenSource(f"{file} is not a readable parquet file ({reason}); download it again")
