"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ghostnet_small.errors import InputError

Decay = Literal["cosine", "linear", "constant"]


@dataclass(frozen=True)
class ScheduleSettings:
    """Warm-up, then decay, of the optimiser's learning rate; changed at every step.

    Args:
        warmup: share of all steps in which the rate rises linearly, 0 .. 1.
        warmup_start: rate of the first step of the warm-up.
        decay: the way down from the peak: "cosine", "linear" or "constant".
        final: rate that the decay ends at, reached one step past the last.
    """

    warmup: float = 0.1
    warmup_start: float = 0.0
    decay: Decay = "cosine"
    final: float = 0.0

    def __post_init__(self) -> None:
        """Raises ``InputError`` for a share outside 0 .. 1 or a negative rate."""
        if not 0 <= self.warmup <= 1:
            raise InputError(f"warmup {self.warmup!r} is not allowed; give a share from 0 to 1")
        for name, rate in (("warmup_start", self.warmup_start), ("final", self.final)):
            if not (math.isfinite(rate) and rate >= 0):
                raise InputError(f"{name} {rate!r} is not allowed; give a rate of at least 0")


def learning_rate(step: int, steps: int, peak: float, settings: ScheduleSettings) -> float:
    """The rate of ``step`` (from 0) out of ``steps``, with ``peak`` at the end of the warm-up."""
    warmup_steps = round(settings.warmup * steps)
    if step < warmup_steps:
        return settings.warmup_start + (peak - settings.warmup_start) * step / warmup_steps
    if settings.decay == "constant":
        return peak
    done = (step - warmup_steps) / (steps - warmup_steps)
    left = 1 - done if settings.decay == "linear" else (1 + math.cos(math.pi * done)) / 2
    return settings.final + (peak - settings.final) * left
