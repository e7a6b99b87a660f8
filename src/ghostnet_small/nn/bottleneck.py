"""The ghost bottleneck: two ghost modules, a shortcut, and layers for stride and attention."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from ghostnet_small.nn.ghost import GhostModule
from ghostnet_small.nn.rep_conv import ConvBN, RepConv2d


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
