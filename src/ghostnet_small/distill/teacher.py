"""A teacher: a trained network that answers and never learns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ghostnet_small.data.dataset import normalize


@dataclass(frozen=True)
class Teacher:
    """A network in evaluation mode, and what it was trained to be shown.

    ``name`` is what messages call it; ``mean`` and ``std`` are its own normalisation; ``digest``
    is a SHA-256 of its weights; ``about`` says what a record tells of it.
    """

    name: str
    network: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digest: str
    about: dict[str, object]
    memory_format: torch.memory_format = torch.channels_last

    def __post_init__(self) -> None:
        """Take the network out of training for good."""
        self.network.eval().requires_grad_(False).to(memory_format=self.memory_format)

    def to(self, device: torch.device) -> Teacher:
        """The same teacher, whose network is moved to ``device``."""
        self.network.to(device)
        return self

    @torch.no_grad()
    def logits(self, views: Tensor) -> Tensor:
        """Its answers, float32 ``(N, K)``, to uint8 views ``(N, C, H, W)`` on its device.

        Whatever the student computes in, the views are normalised in float32, and the network is
        asked in it: answers that were kept and answers of now are the same, unless
        ``distill.answers`` chose another form of the network.
        """
        assert not self.network.training
        with torch.autocast(views.device.type, enabled=False):
            shown = normalize(views, self.mean, self.std)
            answers: Tensor = self.network(shown.contiguous(memory_format=self.memory_format))
        return answers.float()
