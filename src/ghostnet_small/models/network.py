"""The base class of every network, GhostNets and teachers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.fx
from torch import nn


class Network(nn.Module):
    """A classifier of images: ``(N, C, H, W) -> logits (N, K)``.

    ``config`` holds what ``create_model`` needs to build the network again.
    """

    config: dict[str, Any]
    draws = False
    """True where training draws random numbers within the network, as dropout does."""

    def last_layer(self) -> nn.Module:
        """Return the layer that gives the logits; each row of its tensors is for one class."""
        network: Any = self
        layer: nn.Module = network.get_classifier()
        return layer

    def check_size(self, height: int, width: int) -> None:
        """Raise ``InputError`` where images of this size do not suit the network."""

    def whole(self) -> nn.Module:
        """Return the network, with the same parameters, as one graph for any batch, for export."""
        return self

    def __prepare_scriptable__(self) -> nn.Module:
        """Return the module that ``torch.jit.script`` compiles instead: the graph of all modules,
        without their choices of a way to compute."""
        traced = torch.fx.symbolic_trace(self)
        for node in traced.graph.nodes:
            node.type = None  # TorchScript cannot read annotations that are text
        traced.recompile()
        return traced


@torch.no_grad()
def order_classes(model: Network, order: Sequence[int]) -> None:
    """Reorder the classes: class ``k`` of ``model`` becomes the former class ``order[k]``."""
    for tensor in model.last_layer().state_dict().values():
        tensor.copy_(tensor[list(order)])
