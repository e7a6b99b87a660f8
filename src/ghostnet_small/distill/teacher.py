"""A teacher: a trained network that is only evaluated, never trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ghostnet_small.data.dataset import normalize


@dataclass(frozen=True)
class Teacher:
    """A network in evaluation mode, with its normalisation.

    ``name`` appears in messages; ``mean`` and ``std`` are the teacher's own; ``digest`` is a
    SHA-256 of its weights; ``about`` is the teacher's entry in records.
    """

    name: str
    network: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digest: str
    about: dict[str, object]
    memory_format: torch.memory_format = torch.channels_last

    def __post_init__(self) -> None:
        """Put the network in evaluation mode, and freeze it."""
        self.network.eval().requires_grad_(False).to(memory_format=self.memory_format)

    def to(self, device: torch.device) -> Teacher:
        """Return the teacher with its network moved to ``device``."""
        self.network.to(device)
        return self

    @torch.no_grad()
    def logits(self, views: Tensor) -> Tensor:
        """Return its logits, float32 ``(N, K)``, of uint8 views ``(N, C, H, W)`` on its device.

        The views are normalised and the network runs in float32, whatever the student's precision.
        So cached and live logits are the same, unless ``distill.answers`` chose another form of the
        network.
        """
        assert not self.network.training
        with torch.autocast(views.device.type, enabled=False):
            shown = normalize(views, self.mean, self.std)
            answers: Tensor = self.network(shown.contiguous(memory_format=self.memory_format))
        return answers.float()
