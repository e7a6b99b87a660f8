"""The statistics of a report: means, and differences paired by seed, with 95 % intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
# Differences no further apart than this many points are alike but for rounding.
ALIKE = 1e-9


@dataclass(frozen=True)
class Estimate:
    """A mean over n seeds.

    ``deviation`` is the sample's and ``half`` half the width of the t-interval; both are None
    for n = 1, and ``half`` also where all values are alike: their spread says nothing then.
    """

    mean: float
    n: int
    deviation: float | None
    half: float | None

    @property
    def low(self) -> float | None:
        """The lower end of the interval."""
        return None if self.half is None else self.mean - self.half

    @property
    def high(self) -> float | None:
        """The upper end of the interval."""
        return None if self.half is None else self.mean + self.half

    @property
    def real(self) -> bool:
        """Return whether there is an interval that excludes zero."""
        return self.half is not None and abs(self.mean) > self.half


def estimate(values: Sequence[float]) -> Estimate | None:
    """The mean of ``values`` and its t-interval; None for no values."""
    if not values:
        return None
    mean, n = statistics.fmean(values), len(values)
    if n == 1:
        return Estimate(mean, n, None, None)
    deviation = statistics.stdev(values)
    half = half_width(deviation, n) if deviation > ALIKE else None
    return Estimate(mean, n, deviation, half)


def paired_difference(
    values: Mapping[int, float], baseline: Mapping[int, float]
) -> Estimate | None:
    """The mean of ``values - baseline`` over the seeds of both, None where they share none."""
    seeds = sorted(values.keys() & baseline.keys())
    return estimate([values[seed] - baseline[seed] for seed in seeds])


def unpaired_difference(values: Sequence[float], baseline: Sequence[float]) -> Estimate | None:
    """The difference of the means of two groups that share no seeds, with Welch's t-interval.

    ``n`` is that of the smaller group, ``deviation`` None: none is of a difference of means.
    """
    one, other = estimate(values), estimate(baseline)
    if one is None or other is None:
        return None
    mean, n = one.mean - other.mean, min(one.n, other.n)
    if one.deviation is None or other.deviation is None:
        return Estimate(mean, n, None, None)
    parts = [found.deviation**2 / found.n for found in (one, other) if found.deviation is not None]
    error = math.sqrt(sum(parts))
    if error <= ALIKE:
        return Estimate(mean, n, None, None)
    sizes = (one.n, other.n)
    freedom = sum(parts) ** 2 / sum(p**2 / (k - 1) for p, k in zip(parts, sizes, strict=True))
    return Estimate(mean, n, None, t_quantile(freedom) * error)


def half_width(deviation: float, n: int) -> float:
    """Half the width of the 95 % interval of a mean of n values."""
    return t_quantile(n - 1) * deviation / math.sqrt(n)


def t_quantile(freedom: float) -> float:
    """Return the standard errors that the 95 % interval reaches each way."""
    from scipy.stats import t

    return float(t.ppf((1 + CONFIDENCE) / 2, freedom))
