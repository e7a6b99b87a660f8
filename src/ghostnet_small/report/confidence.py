"""The statistics of a report: means, and differences paired by seed, with 95 % intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

Key = TypeVar("Key")

CONFIDENCE = 0.95
# Differences no further apart than this many points are alike but for rounding.
ALIKE = 1e-9


@dataclass(frozen=True)
class Estimate:
    """A mean over n seeds.

    ``deviation`` is the sample's and ``half`` half the width of the t-interval; both are None
    for n = 1, and ``half`` also where all values are alike: their spread says nothing then.
    ``p`` is that of the t-test against zero, None where ``half`` is; after ``holm``, corrected.
    """

    mean: float
    n: int
    deviation: float | None
    half: float | None
    p: float | None = None

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
        """Return whether the mean differs significantly from zero."""
        return self.p is not None and self.p < 1 - CONFIDENCE


def estimate(values: Sequence[float]) -> Estimate | None:
    """The mean of ``values`` and its t-interval; None for no values."""
    if not values:
        return None
    mean, n = statistics.fmean(values), len(values)
    if n == 1:
        return Estimate(mean, n, None, None)
    deviation = statistics.stdev(values)
    if deviation <= ALIKE:
        return Estimate(mean, n, deviation, None)
    p = p_value(mean / (deviation / math.sqrt(n)), n - 1)
    return Estimate(mean, n, deviation, half_width(deviation, n), p)


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
    return Estimate(mean, n, None, t_quantile(freedom) * error, p_value(mean / error, freedom))


def holm(found: Mapping[Key, Estimate]) -> dict[Key, Estimate]:
    """Return the differences with their p-values corrected for how many were tested.

    The smallest of m is multiplied by m, the next by m - 1 and so on; none is below one that was
    smaller, nor above 1. Differences without a p-value were not tested. Source: Holm, 1979.
    """
    tested = sorted((one.p, key) for key, one in enumerate(found.values()) if one.p is not None)
    corrected, least = list(found.values()), 0.0
    for before, (p, place) in enumerate(tested):
        least = max(least, min(1.0, (len(tested) - before) * p))
        corrected[place] = replace(corrected[place], p=least)
    return dict(zip(found, corrected, strict=True))


def wilson(correct: int, total: int) -> tuple[float, float]:
    """Return the 95 % interval, in %, of the share ``correct / total``.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference,
    1927.
    """
    z = 1.959963984540054  # of a normal distribution's 95 %
    share, square = correct / total, z * z / total
    centre = (share + square / 2) / (1 + square)
    half = z * math.sqrt(share * (1 - share) / total + square / (4 * total)) / (1 + square)
    return 100 * max(0.0, centre - half), 100 * min(1.0, centre + half)


def half_width(deviation: float, n: int) -> float:
    """Half the width of the 95 % interval of a mean of n values."""
    return t_quantile(n - 1) * deviation / math.sqrt(n)


def p_value(t_statistic: float, freedom: float) -> float:
    """Return the two-sided p-value of Student's t."""
    from scipy.stats import t

    return float(2 * t.sf(abs(t_statistic), freedom))


def t_quantile(freedom: float) -> float:
    """Return the standard errors that the 95 % interval reaches each way."""
    from scipy.stats import t

    return float(t.ppf((1 + CONFIDENCE) / 2, freedom))
