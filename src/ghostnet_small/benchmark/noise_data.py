"""Images of noise for the benchmark of distillation, and a store that keeps nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ghostnet_small.data.dataset import ImageData, Split

CHANNELS, SIDE, CLASSES = 3, 32, 10


class Nowhere:
    """Keeps and shows nothing of a training run."""

    def save_state(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None: ...

    def save_weights(self, name: str, model: nn.Module) -> None: ...

    def save_metrics(self, rows: list[dict[str, Any]]) -> None: ...

    def preparing(self, what: str, done: int, total: int) -> None: ...

    def step(self, epoch: int, done: int, steps: int, loss: float, top1: float) -> None: ...

    def epoch(self, row: dict[str, Any]) -> None: ...


def made_up_data(pictures: int, seed: int) -> ImageData:
    """Return training images of noise, with random labels."""
    random = torch.Generator().manual_seed(seed)
    shape = (pictures, CHANNELS, SIDE, SIDE)
    images = torch.randint(256, shape, generator=random, dtype=torch.uint8)
    labels = torch.randint(CLASSES, (pictures,), generator=random)
    return ImageData(
        train=Split(images, labels, torch.arange(pictures)),
        validation=None,
        test=None,
        classes=tuple(str(number) for number in range(CLASSES)),
        mean=(0.5,) * CHANNELS,
        std=(0.29,) * CHANNELS,
        fingerprint="made up",
    )
