"""The interfaces of a training: its store, its watcher, and the exceptions that end it early."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn


class Interrupted(Exception):
    """A signal asked the training to stop; its state is saved."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by signal {signal_number}")
        self.signal_number = signal_number


class NotFinite(Exception):
    """The loss is NaN or infinite; the last checkpoint is older and still good."""


class ProcessFailed(Exception):
    """One of several processes failed, and the others may not know of it."""


class Store(Protocol):
    """The storage of a training's state, weights and metrics."""

    def save_state(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Replace the resumable state."""

    def save_weights(self, name: str, model: nn.Module) -> None:
        """Replace the weights called ``name``: "last" or "best"."""

    def save_metrics(self, rows: list[dict[str, Any]]) -> None:
        """Replace the rows of finished epochs."""


class Watcher(Protocol):
    """An observer of the engine, such as a progress bar."""

    def preparing(self, what: str, done: int, total: int) -> None:
        """Called before the first step, while slow preparations run."""

    def step(self, epoch: int, done: int, steps: int, loss: float, top1: float) -> None:
        """Called after some steps of an epoch; ``loss`` and ``top1`` (%) are the epoch's so far."""

    def epoch(self, row: dict[str, Any]) -> None:
        """Called after an epoch and its evaluation."""
