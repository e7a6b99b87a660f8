"""Channel layouts that suit a runtime: some channels twice, some padded by zeros."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ghostnet_small.nn.fold import identity_kernel

# For each place the channel of the original network in it; EMPTY: zeros.
Layout = tuple[int, ...]
EMPTY = -1
# Two halves that each end in empty places are kept apart up to so many times the places that they
# need together: beyond, the empty ones cost more than writing the first half twice.
MOST_PLACES = 1.25


def padded(channels: int, multiple: int) -> Layout:
    """Return all channels in their order, and empty places up to a multiple."""
    return (*range(channels), *[EMPTY] * (-channels % multiple))


def halves(channels: int, multiple: int) -> Layout:
    """Both halves of a ghost module's channels, each padded on its own; the first is the larger."""
    half = -(-channels // 2)
    first = padded(half, multiple)
    return (
        *first,
        *(c + half if c != EMPTY and c + half < channels else EMPTY for c in first),
    )


def ghost_layout(channels: int, multiple: int) -> Layout:
    """Return the layout of a ghost module's output, and of all tensors combined with it."""
    apart, together = halves(channels, multiple), padded(channels, multiple)
    return apart if len(apart) <= MOST_PLACES * len(together) else together


def placed(tensor: Tensor, layout: Layout, dim: int = 0) -> Tensor:
    """Return ``tensor``, its channels of ``dim`` where ``layout`` has them and zeros elsewhere."""
    nothing = torch.zeros_like(tensor.narrow(dim, 0, 1))
    places = [tensor.shape[dim] if c == EMPTY else c for c in layout]
    return torch.cat((tensor, nothing), dim).index_select(dim, torch.tensor(places))


def dense(conv: nn.Conv2d, source: Layout, target: Layout) -> nn.Conv2d:
    """Return ``conv``, without groups, from channels as in ``source`` to those as in ``target``."""
    assert conv.bias is not None and conv.groups == 1
    kernel = placed(placed(conv.weight, source, 1), target)
    return _convolution(conv, kernel, placed(conv.bias, target), groups=1)


def depthwise(conv: nn.Conv2d, layout: Layout) -> nn.Conv2d:
    """Return the depth-wise ``conv`` for channels that lie as in ``layout``."""
    assert conv.bias is not None and conv.groups == conv.in_channels == conv.out_channels
    return _convolution(
        conv, placed(conv.weight, layout), placed(conv.bias, layout), groups=len(layout)
    )


def passing_first(conv: nn.Conv2d) -> nn.Conv2d:
    """Return the depth-wise ``conv`` for twice the channels: it leaves the first half as it is."""
    assert conv.bias is not None
    channels = conv.in_channels
    size = (conv.weight.shape[2], conv.weight.shape[3])
    identity = identity_kernel(channels, channels, size).to(conv.weight)
    kernel = torch.cat((identity, conv.weight))
    bias = torch.cat((torch.zeros_like(conv.bias), conv.bias))
    return _convolution(conv, kernel, bias, groups=2 * channels)


def _convolution(like: nn.Conv2d, kernel: Tensor, bias: Tensor, groups: int) -> nn.Conv2d:
    """Return a convolution with the stride and padding of ``like``."""
    conv = nn.Conv2d(
        kernel.shape[1] * groups,
        kernel.shape[0],
        (kernel.shape[2], kernel.shape[3]),
        like.stride,  # type: ignore[arg-type]
        like.padding,  # type: ignore[arg-type]
        groups=groups,
        dtype=kernel.dtype,
    )
    with torch.no_grad():
        conv.weight.copy_(kernel)
        assert conv.bias is not None
        conv.bias.copy_(bias)
    return conv
