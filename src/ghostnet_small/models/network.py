"""What every network is, the GhostNets and the teachers alike."""

from __future__ import annotations

from typing import Any

from torch import nn


class Network(nn.Module):
    """A classifier of pictures: ``(N, C, H, W) -> logits (N, K)``.

    ``config`` holds what ``create_model`` needs to build the network again.
    """

    config: dict[str, Any]

    def check_size(self, height: int, width: int) -> None:
        """Raises ``InputError`` where pictures of so many pixels do not suit the network."""

    def whole(self) -> nn.Module:
        """The same network, with the same parameters, as one graph whatever the batch: to be
        exported."""
        return self
