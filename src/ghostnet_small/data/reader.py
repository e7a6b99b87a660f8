"""Batches of a split in a given order, read ahead where the images lie in a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from torch import Tensor

from ghostnet_small.data.dataset import Pictures, Split


def batches(split: Split, order: Iterable[Tensor]) -> Iterator[Pictures]:
    """The images of each of ``order``'s rows (int64 ``(M,)``), in memory.

    For a mapped split, a thread reads the next batch while the current one is used. An error of a
    read is raised where its batch is asked for.
    """
    if split.in_memory:
        for rows in order:
            yield split.take(rows)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as reader:
        coming: Future[Pictures] | None = None
        for rows in order:
            following = reader.submit(split.take, rows)
            if coming is not None:
                yield coming.result()
            coming = following
        if coming is not None:
            yield coming.result()
