"""Top-1 accuracy and loss of a model on a split."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ghostnet_small.data.dataset import Split, normalize
from ghostnet_small.train.processes import ALONE, Processes

BATCH = 500
# On a GPU, which a small network's batch of 500 leaves idle: of 32x32 images in colour.
BATCH_ON_GPU = 5000


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
    processes: Processes = ALONE,
    mirrored: bool = False,
) -> Evaluation:
    """Show every image of ``split`` to ``model``; ``between`` runs before each batch.

    ``mirrored`` shows their mirror images, left for right. Several ``processes`` share the
    images, and each gets the answers to all.

    The model must be in evaluation mode; the split is moved to its device.
    """
    assert not model.training
    device = next(model.parameters()).device
    total, parts, size = len(split), [], _at_once(split, device)
    # As many for each, so that all need as many batches: where that does not fit, the last ones
    # answer some of their forerunners' again.
    share = -(-total // processes.count)
    starts = [min(rank * share, total - share) for rank in range(processes.count)]
    stop = starts[processes.rank] + share
    for first in range(starts[processes.rank], stop, size):
        between()
        images = split.images[first : min(first + size, stop)].to(device)
        if mirrored:
            images = images.flip(-1)
        pictures = normalize(images, mean, std).contiguous(memory_format=memory_format)
        # They stay on the device, which would be waited for.
        parts.append(_answers(model, pictures).float())
    found = processes.gather(torch.cat(parts))
    logits = found.new_empty(total, found.shape[2])
    for start, answers in zip(starts, found, strict=True):
        logits[start : start + share] = answers
    return score(logits, split.labels.cpu())


def _at_once(split: Split, device: torch.device) -> int:
    """How many images of ``split`` to show at once."""
    if device.type != "cuda":
        return BATCH
    fit = BATCH_ON_GPU * 3 * 32 * 32 // math.prod(split.images.shape[1:])
    return max(BATCH, min(BATCH_ON_GPU, fit))


def _answers(model: nn.Module, pictures: Tensor) -> Tensor:
    """Of a network whose maps are too large for so many images, some at a time."""
    try:
        answers: Tensor = model(pictures)
        return answers
    except torch.OutOfMemoryError:
        if len(pictures) <= BATCH:
            raise
    # Out here, for the error keeps what did fit.
    return torch.cat([model(part) for part in pictures.split(BATCH)])


def with_mirror(logits: Tensor, mirrored: Tensor, labels: Tensor) -> Evaluation:
    """What the mean of the answers to images and to their mirror images is worth.

    Flip averaging, test-time augmentation by two views: logits ``(N, K)`` are averaged. Source:
    arXiv:1409.1556, section 3.2, which averages the soft-max of both.
    """
    return score((logits + mirrored) / 2, labels)


def score(logits: Tensor, labels: Tensor) -> Evaluation:
    """What ``logits`` ``(N, K)`` are worth for ``labels`` int64 ``(N,)``, both on the CPU."""
    return Evaluation(
        correct=int((logits.argmax(1) == labels).sum()),
        total=len(labels),
        loss=float(functional.cross_entropy(logits.double(), labels)),
        logits=logits,
    )
