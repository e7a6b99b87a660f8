"""Losses kept on the device: to read each one would stall a GPU."""

from __future__ import annotations

import time
from typing import NamedTuple

import torch
from torch import Tensor

from ghostnet_small.train.processes import Processes

# Losses are read after this many micro-batches and this much time: fast steps run ahead by
# hundreds, and of slow ones a user sees every twentieth.
LEAST, SECONDS = 20, 0.25


class Figures(NamedTuple):
    """The results of one micro-batch of ``step``: mean loss in nats, and correct predictions."""

    step: int
    learning_rate: float
    loss: float
    correct: int
    pictures: int


class Pending:
    """The results of micro-batches that have not been read yet."""

    def __init__(self) -> None:
        self.waiting: list[tuple[int, float, Tensor, Tensor, int]] = []
        self.taken_at = time.monotonic()

    def due(self) -> bool:
        """Return whether it is time to read them."""
        return len(self.waiting) >= LEAST and time.monotonic() - self.taken_at >= SECONDS

    def add(
        self, step: int, learning_rate: float, loss: Tensor, correct: Tensor, count: int
    ) -> None:
        """Keep scalars of a micro-batch, without reading them."""
        self.waiting.append((step, learning_rate, loss.detach(), correct, count))

    def take(self, processes: Processes) -> list[Figures]:
        """Return the results of all ``processes``, by step, and forget them."""
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
