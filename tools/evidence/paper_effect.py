"""The effect of distillation in the paper's own table, over its baselines."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from ghostnet_small.report.confidence import Estimate, estimate
from ghostnet_small.report.words import probability, signed

# Its teacher saw another crop of an image than its student did.
MISMATCHED = "kd-efficientnet"
# Top-1 in % by strategy and width.
TopOnes = Mapping[str, Mapping[float, float]]


def paper_effect(tables: Sequence[TopOnes], baseline: str = "baseline") -> Estimate | None:
    """Return the mean over baselines of what the paper's distilled students have more, in points.

    A baseline counts once: by the mean of the differences of its students. ``tables`` hold the
    published figures by strategy and width, each of one network.
    """
    means = []
    for table in tables:
        for width, alone in table[baseline].items():
            differences = [
                by_width[width] - alone
                for strategy, by_width in table.items()
                if strategy not in (baseline, MISMATCHED) and width in by_width
            ]
            if differences:
                means.append(statistics.fmean(differences))
    return estimate(means)


def effect_text(tables: Sequence[TopOnes]) -> str:
    """Return that effect with its 95 % interval, n and p-value."""
    found = paper_effect(tables)
    assert found is not None and found.low is not None and found.high is not None
    ends = f"95 % interval {signed(found.low)} to {signed(found.high)}"
    return (
        f"{signed(found.mean)} points ({ends}, n = {found.n} baselines, p = {probability(found.p)})"
    )
