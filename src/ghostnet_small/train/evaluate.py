"""Top-1 accuracy and loss of a model on a split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ghostnet_small.data.dataset import Split, normalize

BATCH = 500


@dataclass(frozen=True)
class Evaluation:
    """``loss`` is the mean cross-entropy in nats; ``logits`` are float32 ``(N, K)`` on the CPU."""

    correct: int
    total: int
    loss: float
    logits: Tensor

    @property
    def top1(self) -> float:
        """Accuracy in percent."""
        return 100 * self.correct / self.total


@torch.no_grad()
def evaluate(
    model: nn.Module,
    split: Split,
    *,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    memory_format: torch.memory_format = torch.contiguous_format,
    between: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Show every picture of ``split`` to ``model``; ``between`` runs before each batch.

    The model must be in evaluation mode; the split is moved to its device.
    """
    assert not model.training
    device = next(model.parameters()).device
    parts = []
    for images in split.images.split(BATCH):
        between()
        pictures = normalize(images.to(device), mean, std).contiguous(memory_format=memory_format)
        parts.append(model(pictures).float().cpu())
    logits = torch.cat(parts)
    labels = split.labels.cpu()
    return Evaluation(
        correct=int((logits.argmax(1) == labels).sum()),
        total=len(split),
        loss=float(functional.cross_entropy(logits.double(), labels)),
        logits=logits,
    )
