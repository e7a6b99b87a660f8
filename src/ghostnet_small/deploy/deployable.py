"""The network as it is exported: folded, on request with normalisation and softmax."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ghostnet_small.deploy.description import Description


class Deployable(nn.Module):
    """A folded network: normalised ``(N, C, H, W) -> logits (N, K)``, or, for a ``description``
    whose input is "pixels", uint8 pixels to probabilities."""

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, description: Description) -> None:
        super().__init__()
        self.network = network
        self.pixels = description.input == "pixels"
        mean = torch.tensor(description.mean, dtype=torch.float64)
        std = torch.tensor(description.std, dtype=torch.float64)
        # (x / 255 - mean) / std as one multiplication and one addition.
        self.register_buffer("scale", (1 / (255 * std)).float()[:, None, None])
        self.register_buffer("shift", (-mean / std).float()[:, None, None])

    def normalization(self) -> tuple[list[float], list[float]] | None:
        """Scale and shift of each channel where pixels go in."""
        if not self.pixels:
            return None
        return self.scale.flatten().tolist(), self.shift.flatten().tolist()

    def forward(self, pictures: Tensor) -> Tensor:
        if not self.pixels:
            logits: Tensor = self.network(pictures)
            return logits
        logits = self.network(pictures.to(self.scale.dtype) * self.scale + self.shift)
        return logits.softmax(1)
