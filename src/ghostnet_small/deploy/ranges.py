"""The ranges of a network's numbers, place by place, on calibration images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from ghostnet_small.deploy.taps import Taps
from ghostnet_small.errors import InputError

Clip = Literal["none", "mse"]
BATCH = 100
BINS = 2048
LEVELS = 256
# Shares of the largest range that "mse" tries.
SHARES = tuple(share / 64 for share in range(16, 65))


@dataclass(frozen=True)
class Range:
    """The numbers of a place lie in ``low .. high``, which hold 0."""

    low: float
    high: float

    @property
    def scale(self) -> float:
        """The step of 256 levels; 1 where all numbers are 0."""
        return (self.high - self.low) / (LEVELS - 1) or 1.0

    @property
    def zero_point(self) -> int:
        """The level, 0 .. 255, that stands for 0."""
        return max(0, min(LEVELS - 1, round(-self.low / self.scale)))


def ranges_of(places: Taps, pictures: Tensor, clip: Clip = "none") -> dict[str, Range]:
    """Return the range of every one of ``places`` of a folded, traced network.

    ``pictures`` are normalised, float ``(N, C, H, W)``, of the training split. ``clip`` "none"
    gives the smallest and the largest number seen; "mse" bounds within those by which 256 levels
    have the least mean squared error.
    """
    seen = {place.name: _Seen() for place in places.places}
    _watch(places, pictures, {name: one.bounds for name, one in seen.items()})
    if clip == "none":
        return {name: Range(one.low, one.high) for name, one in seen.items()}
    _watch(places, pictures, {name: one.count for name, one in seen.items()})
    return {name: one.best() for name, one in seen.items()}


def range_of(numbers: Tensor) -> Range:
    """Return the range by which 256 levels of ``numbers`` have the least mean squared error."""
    seen = _Seen()
    seen.bounds(numbers)
    seen.count(numbers)
    return seen.best()


def check_calibration(pictures: int) -> None:
    """Raise ``InputError`` if int8 is asked for without images."""
    if pictures == 0:
        raise InputError(
            "int8 needs calibration images and there are 0; give some hundred of the training split"
        )


@torch.no_grad()
def _watch(places: Taps, pictures: Tensor, look: Mapping[str, object]) -> None:
    before, places.at = places.at, dict(look)  # type: ignore[arg-type]
    try:
        for batch in pictures.split(BATCH):
            places(batch)
    finally:
        places.at = before


@dataclass
class _Seen:
    low: float = 0.0
    high: float = 0.0
    counts: Tensor = field(default_factory=lambda: torch.zeros(BINS, dtype=torch.float64))

    def bounds(self, x: Tensor) -> Tensor:
        self.low = min(self.low, float(x.min()))
        self.high = max(self.high, float(x.max()))
        return x

    def count(self, x: Tensor) -> Tensor:
        if self.high > self.low:
            self.counts += torch.histc(x.float(), BINS, self.low, self.high).double()
        return x

    def best(self) -> Range:
        """Return the range of least squared error, with each number in the middle of its bin."""
        if not self.high > self.low:
            return Range(self.low, self.high)
        step = (self.high - self.low) / BINS
        values = self.low + step * (torch.arange(BINS, dtype=torch.float64) + 0.5)
        best, least = Range(self.low, self.high), math.inf
        for low_share in SHARES if self.low < 0 else (1.0,):
            for high_share in SHARES if self.high > 0 else (1.0,):
                tried = Range(self.low * low_share, self.high * high_share)
                levels = (values / tried.scale).round() + tried.zero_point
                rounded = (levels.clamp(0, LEVELS - 1) - tried.zero_point) * tried.scale
                error = float((self.counts * (rounded - values) ** 2).sum())
                if error < least:
                    best, least = tried, error
        return best
