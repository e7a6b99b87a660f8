"""Losses that wait on the device: on a GPU each look at one would stall it."""

from __future__ import annotations

import time
from typing import NamedTuple

import torch
from torch import Tensor

from ghostnet_small.train.processes import Processes

# A look is worth its stall where so many micro-batches wait for so long: steps of milliseconds run
# ahead for hundreds, and of slow ones a user sees every twentieth.
LEAST, SECONDS = 20, 0.25


class Figures(NamedTuple):
    """What one micro-batch of ``step`` gave: mean loss in nats, and right answers."""

    step: int
    learning_rate: float
    loss: float
    correct: int
    pictures: int


class Pending:
    """The figures of micro-batches since the last look."""

    def __init__(self) -> None:
        self.waiting: list[tuple[int, float, Tensor, Tensor, int]] = []
        self.taken_at = time.monotonic()

    def due(self) -> bool:
        """Whether it is time to look."""
        return len(self.waiting) >= LEAST and time.monotonic() - self.taken_at >= SECONDS

    def add(
        self, step: int, learning_rate: float, loss: Tensor, correct: Tensor, count: int
    ) -> None:
        """Keep scalars of a micro-batch, without looking at them."""
        self.waiting.append((step, learning_rate, loss.detach(), correct, count))

    def take(self, processes: Processes) -> list[Figures]:
        """What waits in any of ``processes``, by step; then nothing does."""
        self.taken_at = time.monotonic()
        if not self.waiting:
            return []
        steps, rates, losses, correct, counts = zip(*self.waiting, strict=True)
        self.waiting.clear()
        # In double precision on the CPU: not every device has it.
        own = torch.stack(
            (
                torch.stack(losses).cpu().double(),
                torch.stack(correct).cpu().double(),
                torch.tensor(counts, dtype=torch.float64),
            ),
            dim=1,
        )
        of_all = processes.gather(own).transpose(0, 1).tolist()
        return [
            Figures(step, rate, loss, int(right), int(count))
            for step, rate, of_each in zip(steps, rates, of_all, strict=True)
            for loss, right, count in of_each
        ]
