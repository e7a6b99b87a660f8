"""The ghost module: half of the channels from a 1x1 convolution, half from a cheap one on them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.fx
from torch import Tensor, nn
from torch.nn import functional

from ghostnet_small.nn.rep_conv import ConvBN, RepConv2d


def is_halved(height: int, width: int) -> bool:
    """Return whether an attention gate first halves maps of this size."""
    return min(height, width) >= 2


@torch.fx.wrap
def halved(x: Tensor) -> Tensor:
    """Return means of 2x2 pixels ``(N, C, H // 2, W // 2)``, or ``x`` if it is smaller than 2x2.

    A leaf for ``torch.fx``, which cannot trace a choice by size.
    """
    if is_halved(x.shape[2], x.shape[3]):
        return functional.avg_pool2d(x, 2)
    return x


class AttentionGate(nn.Module):
    """Long-range attention for a ghost module, 0 .. 1: ``(N, I, H, W) -> (N, O, H // 2, W // 2)``.

    A 1x1, a 1x5 and a 5x1 convolution, each with batch norm, on the image at half size;
    then a sigmoid. Where the input is smaller than 2x2 it is not halved.

    Source: arXiv:2211.12905, section 3.2 (decoupled fully connected attention).
    Differs from the published code: a 1x1 map, which it cannot pool, passes unpooled.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.project = ConvBN(in_channels, out_channels, 1)
        self.horizontal = ConvBN(out_channels, out_channels, (1, 5), groups=out_channels)
        self.vertical = ConvBN(out_channels, out_channels, (5, 1), groups=out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = halved(x)
        for layer in self.layers:
            x = layer(x)
        return torch.sigmoid(x)

    @property
    def layers(self) -> tuple[nn.Module, ...]:
        """Return the layers between the pooling and the sigmoid."""
        return self.project, self.horizontal, self.vertical


class GhostModule(nn.Module):
    """A 1x1 convolution's half, and a depth-wise 3x3 of that: ``(N, I, H, W) -> (N, O, H, W)``.

    ``relu`` sets the activation after both convolutions; ``gated`` multiplies the output by
    an ``AttentionGate`` of the input, stretched to the output's size. ``compute`` is the
    function that computes it: ``ghost_by_parts`` or an exactly equal function.

    Source: arXiv:1911.11907, section 3.1; re-parameterised as in arXiv:2404.11202.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, relu: bool = True, gated: bool = False
    ) -> None:
        super().__init__()
        half = -(-out_channels // 2)
        self.out_channels = out_channels
        self.primary = RepConv2d(in_channels, half, 1)
        self.cheap = RepConv2d(half, half, 3, groups=half)
        self.act = nn.ReLU() if relu else nn.Identity()
        self.gate = AttentionGate(in_channels, out_channels) if gated else None
        self.compute: Callable[[GhostModule, Tensor], Tensor] = ghost_by_parts

    def forward(self, x: Tensor) -> Tensor:
        return self.compute(self, x)


def ghost_by_parts(ghost: GhostModule, x: Tensor) -> Tensor:
    """Compute the definition of a ghost module, the reference for any faster way to compute it."""
    a = ghost.act(ghost.primary(x))
    b = ghost.act(ghost.cheap(a))
    # With an odd number of channels the two halves have one channel too many.
    out = torch.cat((a, b), dim=1)[:, : ghost.out_channels]
    if ghost.gate is None:
        return out
    return out * functional.interpolate(ghost.gate(x), size=out.shape[-2:], mode="nearest")
