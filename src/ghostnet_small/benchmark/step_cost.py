"""The fixed cost of a training step: the part of its time that no larger batch adds to."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any


def spread_of(name: str, values: Sequence[float]) -> dict[str, float]:
    """Return median, range and quartiles of ``values``, under names that begin with ``name``."""
    if len(values) == 1:
        low = middle = high = values[0]
    else:
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return {
        name: middle,
        f"{name}_min": min(values),
        f"{name}_quartile1": low,
        f"{name}_quartile3": high,
        f"{name}_max": max(values),
    }


def step_cost(seconds: Mapping[int, Sequence[float]], *, steps: int) -> dict[str, Any]:
    """Return the fixed cost of a step and the cost of an image, in ms, from seconds by batch size.

    ``seconds`` holds the time of ``steps`` steps in each turn. A line is fitted to each turn, and
    the median of the turns' lines counts, so that a slow moment of the machine does not.
    ``line_off`` is the largest difference of a median time from the line of the medians, as a share
    of the time: where it is large, time is no line over these batch sizes.
    """
    batches = list(seconds)
    turns = zip(*seconds.values(), strict=True)
    lines = [fit_line(batches, [1000 * taken / steps for taken in turn]) for turn in turns]
    medians = [1000 * statistics.median(times) / steps for times in seconds.values()]
    fixed, slope = fit_line(batches, medians)
    return {
        **spread_of("fixed_ms", [fixed for fixed, _ in lines]),
        **spread_of("image_ms", [slope for _, slope in lines]),
        "line_off": max(
            abs(fixed + slope * batch - taken) / taken
            for batch, taken in zip(batches, medians, strict=True)
        ),
        "n": len(lines),
    }


def fit_line(batches: Sequence[int], times: Sequence[float]) -> tuple[float, float]:
    """Return the intercept and slope of the line with the least squares of relative errors.

    Of absolute errors, those of the largest batch would decide, though the intercept shows in the
    small ones.
    """
    weights = [1 / taken**2 for taken in times]
    whole = sum(weights)
    batch = sum(w * n for w, n in zip(weights, batches, strict=True)) / whole
    middle = sum(w * taken for w, taken in zip(weights, times, strict=True)) / whole
    rows = list(zip(weights, batches, times, strict=True))
    slope = sum(w * (n - batch) * (taken - middle) for w, n, taken in rows)
    slope /= sum(w * (n - batch) ** 2 for w, n, _ in rows)
    return middle - slope * batch, slope
