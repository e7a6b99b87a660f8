"""Ghost modules, half of whose channels come from a cheap convolution, and bottlenecks of them."""

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


class SqueezeExcite(nn.Module):
    """A weighting of channels by a function of their means: ``(N, C, H, W) -> (N, C, H, W)``.

    Source: arXiv:1709.01507; the hard sigmoid ``relu6(x + 3) / 6`` is arXiv:1905.02244's.
    """

    def __init__(self, channels: int, reduced_channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, reduced_channels, 1)
        self.expand = nn.Conv2d(reduced_channels, channels, 1)
        self.compute: Callable[[SqueezeExcite, Tensor], Tensor] = squeeze_excite

    def forward(self, x: Tensor) -> Tensor:
        return self.compute(self, x)


def squeeze_excite(part: SqueezeExcite, x: Tensor) -> Tensor:
    """Compute the definition of ``SqueezeExcite``, the reference for any faster way."""
    mean = x.mean((2, 3), keepdim=True)
    weight = part.expand(functional.relu(part.reduce(mean)))
    # Not functional.hardsigmoid: its float64 gradient carries a float32 constant (1e-8 off).
    return x * (functional.relu6(weight + 3) / 6)


class GhostBottleneck(nn.Module):
    """``(N, I, H, W) -> (N, O, ceil(H / stride), ceil(W / stride))``, no activation after the sum.

    ``hidden_channels`` is the width between the two ghost modules; ``se_channels`` the inner
    width of squeeze-and-excitation, 0 for none; ``gated`` applies to the first ghost module.
    ``compute`` is the function that computes it: ``bottleneck_by_parts`` or an equal function.

    Source: arXiv:1911.11907, section 3.2; arXiv:2404.11202.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 3,
        stride: int = 1,
        se_channels: int = 0,
        gated: bool = True,
    ) -> None:
        super().__init__()
        self.ghost1 = GhostModule(in_channels, hidden_channels, gated=gated)
        self.downsample = (
            RepConv2d(
                hidden_channels, hidden_channels, kernel_size, stride=stride, groups=hidden_channels
            )
            if stride > 1
            else nn.Identity()
        )
        self.se = SqueezeExcite(hidden_channels, se_channels) if se_channels else nn.Identity()
        self.ghost2 = GhostModule(hidden_channels, out_channels, relu=False)
        self.shortcut = (
            nn.Identity()
            if in_channels == out_channels and stride == 1
            # The two stay apart when folded: merging them is wrong at a zero-padded border.
            else nn.Sequential(
                ConvBN(in_channels, in_channels, kernel_size, stride=stride, groups=in_channels),
                ConvBN(in_channels, out_channels, 1),
            )
        )
        # The share of images for which a training step leaves out all but the shortcut.
        self.drop_path = 0.0
        self.compute: Callable[[GhostBottleneck, Tensor], Tensor] = bottleneck_by_parts

    def forward(self, x: Tensor) -> Tensor:
        return self.compute(self, x)


def bottleneck_by_parts(block: GhostBottleneck, x: Tensor) -> Tensor:
    """Compute the definition of a bottleneck, the reference for any faster way to compute it."""
    out: Tensor = block.ghost2(block.se(block.downsample(block.ghost1(x))))
    if block.drop_path and block.training:
        out = drop_path(out, block.drop_path)
    return out + block.shortcut(x)


def drop_path(x: Tensor, rate: float) -> Tensor:
    """Return ``x`` ``(N, C, H, W)``, zero for a share ``rate`` of the images, else scaled.

    Source: arXiv:1603.09382 (stochastic depth); the scale 1 / (1 - rate) is timm's.
    """
    kept = 1 - rate
    return x * (x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(kept) / kept)
