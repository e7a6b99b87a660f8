"""What a training meets outside of itself: who keeps its state, who looks on, how it ends early."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn


class Interrupted(Exception):
    """A signal asked the training to stop; its state is saved."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by signal {signal_number}")
        self.signal_number = signal_number


class NotFinite(Exception):
    """The loss is NaN or infinite; the last checkpoint is from before."""


class ProcessFailed(Exception):
    """Something went wrong in one of several processes, and the others may not know of it."""


class Store(Protocol):
    """Where a training keeps what must survive it."""

    def save_state(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Replace the resumable state."""

    def save_weights(self, name: str, model: nn.Module) -> None:
        """Replace the weights called ``name``: "last" or "best"."""

    def save_metrics(self, rows: list[dict[str, Any]]) -> None:
        """Replace the rows of finished epochs."""


class Watcher(Protocol):
    """What looks on while the engine works: a progress bar, or nothing."""

    def preparing(self, what: str, done: int, total: int) -> None:
        """Before the first step, while something that takes long is made ready."""

    def step(self, epoch: int, done: int, steps: int, loss: float, top1: float) -> None:
        """After some steps of an epoch; ``loss`` and ``top1`` (%) are the epoch's so far."""

    def epoch(self, row: dict[str, Any]) -> None:
        """After an epoch and its evaluation."""
