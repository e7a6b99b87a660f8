"""The splits of a set, cut by rows, with their pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ghostnet_small.data.dataset import CacheUse, Split
from ghostnet_small.data.decoded.available_memory import memory_budget
from ghostnet_small.data.decoded.decode import GREY
from ghostnet_small.data.decoded.job import Decoding, DecodingJob, OnError
from ghostnet_small.data.decoded.pixels import (
    Pixels,
    Size,
    SizesDiffer,
    plain_pixels,
    sizes_differ,
)
from ghostnet_small.data.decoded.statistics import Facts, facts_of
from ghostnet_small.data.listing import ListedSplit
from ghostnet_small.errors import InputError
from ghostnet_small.files import cache_root


@dataclass(frozen=True)
class Cut:
    """The rows (int64, ascending) of the source's split ``listed`` that are the split ``name``."""

    name: str
    listed: str
    rows: Tensor


@dataclass(frozen=True)
class Gathered:
    """The splits that were cut, what was left out of them, and where they are cached.

    ``grey``: the number of images of a split that have one channel in their file.
    """

    splits: dict[str, Split]
    skipped: tuple[str, ...]
    cache: CacheUse
    folders: dict[str, Path | None]
    grey: dict[str, int]

    def facts(self, name: str) -> Facts:
        """Digest and histogram of a split, from the cache where they were computed before."""
        return facts_of(self.splits[name], self.folders[name])


def gather(
    listed: dict[str, ListedSplit],
    cuts: Sequence[Cut],
    *,
    channels: int | None,
    at_least: int,
    size: Size | None,
    on_error: OnError,
    cache: str | None,
    memory_gib: float | None,
    say: Callable[[str], None],
) -> Gathered:
    """Decode what the ``cuts`` of the source's splits need, or read it from the cache, and cut it.

    One coloured image makes all coloured: grey ones are repeated; ``at_least`` 3 has the same
    effect. Pixels in all above the memory budget stay in their files.

    Raises ``InputError`` for images that cannot be used, or that there is no room for.
    """
    how = Decoding(channels, size, on_error, cache_root(cache), say)
    wanted: dict[str, Tensor] = {}
    for cut in cuts:
        before = wanted.get(cut.listed, cut.rows[:0])
        wanted[cut.listed] = torch.cat((before, cut.rows)).unique()
    pixels = _pixels({name: listed[name] for name in wanted}, wanted, how, memory_gib)
    _check_sizes(list(pixels.values()))
    kinds = {cut.name: pixels[cut.listed].kinds(cut.rows) for cut in cuts}
    planes = max([at_least, *(int(kind.max()) for kind in kinds.values() if len(kind))])
    splits, skipped = {}, []
    for cut in cuts:
        source = pixels[cut.listed]
        rows = cut.rows
        if not kinds[cut.name].all():
            skipped += _left_out(cut, source, on_error)
            rows = rows[kinds[cut.name] > 0]
            if not len(rows):
                raise InputError(f"no image of the {cut.name} split can be read: {skipped[-1]}")
        labels = source.split.labels[rows]
        splits[cut.name] = Split(source.images(rows, planes), labels, rows)
    folders = {
        cut.name: None if (found := pixels[cut.listed].folder) is None else found.path
        for cut in cuts
    }
    used = [found.folder for found in pixels.values() if found.folder is not None]
    use = CacheUse(tuple(str(f.path) for f in used), sum(f.size_bytes() for f in used))
    grey = {name: int((kind == GREY).sum()) for name, kind in kinds.items()}
    return Gathered(splits, tuple(skipped), use, folders, grey)


def _pixels(
    listed: dict[str, ListedSplit],
    wanted: dict[str, Tensor],
    how: Decoding,
    memory_gib: float | None,
) -> dict[str, Pixels]:
    """The pixels of each split's ``wanted`` rows, in memory if all of them fit."""
    limit = memory_budget(memory_gib)
    found: dict[str, Pixels] = {}
    jobs: dict[str, DecodingJob] = {}
    total = 0
    for name, split in listed.items():
        plain = plain_pixels(split, how.channels, how.size)
        if plain is not None and total + plain.decoded.layout.size_bytes <= limit:
            found[name] = plain
            total += plain.decoded.layout.size_bytes
        else:
            jobs[name] = DecodingJob(split, wanted[name], how, limit - total)
            total += jobs[name].decode()
    keep = total <= limit
    for name, job in jobs.items():
        found[name] = job.read(keep=keep)
    return {name: found[name] for name in listed}


def _check_sizes(pixels: list[Pixels]) -> None:
    for other in pixels[1:]:
        first, second = pixels[0].decoded.layout.shape[2:], other.decoded.layout.shape[2:]
        if first != second:
            raise SizesDiffer(
                sizes_differ(pixels[0].first_name(), first, other.first_name(), second)
            )


def _left_out(cut: Cut, pixels: Pixels, on_error: OnError) -> list[str]:
    """Return the messages for unreadable images; raise the first where ``on_error`` is "stop"."""
    messages = pixels.unreadable(cut.rows)
    if on_error == "stop":
        raise InputError(messages[0])
    return messages
