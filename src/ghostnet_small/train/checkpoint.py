"""The state of a training beside its weights: counters, and the optimiser's tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class Counters:
    """The counters and rows of a training."""

    step: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    seen: int = 0
    epoch_seconds: float = 0.0
    wall_seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] | None = None

    def add(self, loss: float, correct: int, pictures: int) -> None:
        """Count ``pictures`` more images of this epoch; ``loss`` is their mean."""
        self.loss_sum += loss * pictures
        self.correct += correct
        self.seen += pictures

    @property
    def loss(self) -> float:
        """Return the epoch's mean loss so far, in nats."""
        return self.loss_sum / self.seen

    @property
    def top1(self) -> float:
        """Return the epoch's accuracy so far, in percent."""
        return 100 * self.correct / self.seen

    def improves(self, row: dict[str, Any]) -> bool:
        """Return whether the epoch of ``row`` is better on validation than all before."""
        top1 = row.get("validation_top1")
        return top1 is not None and (self.best is None or top1 > self.best["validation_top1"])

    def after(self, row: dict[str, Any]) -> Counters:
        """Return the counters at the beginning of the epoch after that of ``row``."""
        rows = [*self.rows, row]
        return Counters(self.step, wall_seconds=self.wall_seconds, rows=rows, best=self.best)


def by_part(tensors: dict[str, Tensor], parts: tuple[str, ...]) -> dict[str, dict[str, Tensor]]:
    """Return tensors called ``part.name`` by part, then by name."""
    found: dict[str, dict[str, Tensor]] = {part: {} for part in parts}
    for name, tensor in tensors.items():
        part, rest = name.split(".", 1)
        found[part][rest] = tensor
    return found


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the tensors that ``optimizer`` keeps, named by parameter number and kind."""
    state = optimizer.state_dict()["state"]
    return {
        f"{number}.{key}": torch.as_tensor(value)
        for number, entries in state.items()
        for key, value in entries.items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Restore ``optimizer`` from the tensors that ``optimizer_tensors`` returned."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, key = name.split(".", 1)
        like = parameters[int(number)]
        # A file does not keep the memory format, and in another one sums may round differently.
        if tensor.shape == like.shape:
            tensor = torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)
        state.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )
