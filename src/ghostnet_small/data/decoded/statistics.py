"""Exact sums over all pixels of a split, in memory or from a file."""

from __future__ import annotations

import hashlib
import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from ghostnet_small.data.dataset import Split
from ghostnet_small.files import checked_json, signed_json, write_atomic

_PART = 4096  # images at a time


@dataclass(frozen=True)
class Facts:
    """``digest`` as ``Split.digest``; ``histogram``: how often each channel has each value."""

    digest: str
    histogram: list[list[int]]


def facts_of(split: Split, folder: Path | None) -> Facts:
    """The facts of ``split``, kept in ``folder`` for the next time."""
    if folder is None:
        return _compute(split)
    sha = hashlib.sha256(f"{tuple(split.images.shape)}".encode())
    for tensor in (split.index, split.labels):
        sha.update(tensor.numpy().astype("<i8").data)
    file = folder / f"facts-{sha.hexdigest()[:32]}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = checked_json(file)
        return Facts(str(known["sha256"]), known["histogram"])
    found = _compute(split)
    # Without it the next start counts again.
    with suppress(OSError):
        write_atomic(file, signed_json({"sha256": found.digest, "histogram": found.histogram}))
    return found


def mean_std(histogram: list[list[int]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """A channel's mean and (population) standard deviation, pixels scaled to 0 .. 1."""
    means, stds = [], []
    for counts in histogram:
        count = sum(counts)
        total = sum(value * times for value, times in enumerate(counts))
        squares = sum(value * value * times for value, times in enumerate(counts))
        means.append(total / (255 * count))
        # Integers up to here, so that the difference of two large sums loses nothing.
        variance = (count * squares - total * total) / (count * count)
        stds.append(math.sqrt(variance) / 255 if variance else 1 / 255)
    return tuple(means), tuple(stds)


def _compute(split: Split) -> Facts:
    channels = split.images.shape[1]
    counts = torch.zeros(channels, 256, dtype=torch.int64)
    for part in split.images.split(_PART):
        for channel in range(channels):
            counts[channel] += torch.bincount(part[:, channel].flatten(), minlength=256)
    return Facts(split.digest(), counts.tolist())
