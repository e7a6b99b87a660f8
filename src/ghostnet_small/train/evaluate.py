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
# Colour images of 32x32 per batch on a GPU, where a batch of 500 of a small network is too small.
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
        """Return the accuracy in percent."""
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
    """Evaluate ``model`` on every image of ``split``; ``between`` runs before each batch.

    With ``mirrored`` the images are flipped horizontally. Several ``processes`` share the images,
    and each gets all logits.

    The model must be in evaluation mode; the split is moved to its device.
    """
    assert not model.training
    device = next(model.parameters()).device
    total, parts, size = len(split), [], _at_once(split, device)
    # Equal shares, so that all have the same number of batches: where the images do not divide
    # evenly, shares overlap.
    share = -(-total // processes.count)
    starts = [min(rank * share, total - share) for rank in range(processes.count)]
    stop = starts[processes.rank] + share
    for first in range(starts[processes.rank], stop, size):
        between()
        images = split.images[first : min(first + size, stop)].to(device)
        if mirrored:
            images = images.flip(-1)
        pictures = normalize(images, mean, std).contiguous(memory_format=memory_format)
        # They stay on the device: a copy would wait for it.
        parts.append(_answers(model, pictures).float())
    found = processes.gather(torch.cat(parts))
    logits = found.new_empty(total, found.shape[2])
    for start, answers in zip(starts, found, strict=True):
        logits[start : start + share] = answers
    return score(logits, split.labels.cpu())


def _at_once(split: Split, device: torch.device) -> int:
    """Return the number of images of ``split`` in a batch."""
    if device.type != "cuda":
        return BATCH
    fit = BATCH_ON_GPU * 3 * 32 * 32 // math.prod(split.images.shape[1:])
    return max(BATCH, min(BATCH_ON_GPU, fit))


def _answers(model: nn.Module, pictures: Tensor) -> Tensor:
    """Return the logits; in smaller batches where the network's maps do not fit the memory."""
    try:
        answers: Tensor = model(pictures)
        return answers
    except torch.OutOfMemoryError:
        if len(pictures) <= BATCH:
            raise
    # Outside the handler, because the error keeps the memory that did fit.
    return torch.cat([model(part) for part in pictures.split(BATCH)])


def with_mirror(logits: Tensor, mirrored: Tensor, labels: Tensor) -> Evaluation:
    """Return the evaluation of the mean logits of images and of their mirror images.

    Flip averaging, test-time augmentation by two views: logits ``(N, K)`` are averaged. Source:
    arXiv:1409.1556, section 3.2, which averages the soft-max of both.
    """
    return score((logits + mirrored) / 2, labels)


def score(logits: Tensor, labels: Tensor) -> Evaluation:
    """Return the evaluation of ``logits`` ``(N, K)`` and ``labels`` int64 ``(N,)``, on the CPU."""
    return Evaluation(
        correct=int((logits.argmax(1) == labels).sum()),
        total=len(labels),
        loss=float(functional.cross_entropy(logits.double(), labels)),
        logits=logits,
    )
