"""Weights in the order in which the C code reads them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

# Channels that bytes hold side by side, and the mark of a place that holds none.
GROUP = 4
EMPTY = -1


def nearest(size: int, stretched: int) -> list[int]:
    """Return the source of each of ``stretched`` places among ``size``, by PyTorch's rule."""
    row = torch.arange(size, dtype=torch.float32)[None, None]
    found: list[int] = functional.interpolate(row, size=stretched, mode="nearest")[0, 0].tolist()
    return [int(k) for k in found]


def pack_fours(conv: nn.Conv2d) -> Tensor:
    """Return ``(O / 4, 1 + I * taps, 4)``: for every four outputs the biases, then the weights."""
    return _pack(conv, 4)


def pack_sixteens(layer: nn.Conv2d | nn.Linear) -> Tensor:
    """Return ``(O / 16, 1 + I, 16)``: for every sixteen outputs the biases, then the weights."""
    return _pack(layer, 16)


def _pack(layer: nn.Conv2d | nn.Linear, block: int) -> Tensor:
    assert layer.bias is not None
    rows = torch.cat((layer.bias.detach()[:, None], layer.weight.detach().flatten(1)), 1)
    rows = functional.pad(rows, (0, 0, 0, -len(rows) % block))
    return rows.reshape(-1, block, rows.shape[1]).transpose(1, 2)


def pack_channels(conv: nn.Conv2d) -> Tensor:
    """Return ``(C, 1 + taps)``: for each channel of a depth-wise one the bias, then the taps."""
    assert conv.bias is not None
    return torch.cat((conv.bias.detach()[:, None], conv.weight.detach().flatten(1)), 1)


def spread(values: Tensor, places: Sequence[int]) -> Tensor:
    """Return ``values`` ``(C,)`` in their places, zeros in the empty ones."""
    rows = functional.pad(values, (0, 1))
    return rows[torch.tensor(places)]


def _spread_rows(weight: Tensor, places: Sequence[int]) -> Tensor:
    rows = torch.cat((weight, torch.zeros_like(weight[:1])))
    return rows[torch.tensor(places)]


def pack_dense(weight: Tensor, outputs: Sequence[int], inputs: Sequence[int], side: int) -> Tensor:
    """Return ``(O, I, taps)`` as ``(O / 4, I / side, taps, 4 outputs, side inputs)``."""
    rows = _spread_rows(weight, outputs)
    rows = _spread_rows(rows.transpose(0, 1), inputs).transpose(0, 1)
    groups = rows.unflatten(1, (-1, side)).unflatten(0, (-1, GROUP))
    return groups.permute(0, 2, 4, 1, 3)


def pack_depth(weight: Tensor, places: Sequence[int], side: int) -> Tensor:
    """Return ``(C, taps)`` as ``(C / side, taps / 2, side channels, 2 taps)``."""
    rows = functional.pad(_spread_rows(weight, places), (0, weight.shape[1] % 2))
    return rows.unflatten(0, (-1, side)).unflatten(2, (-1, 2)).transpose(1, 2)


def pack_line(weight: Tensor, places: Sequence[int]) -> Tensor:
    """Return ``(C, taps)`` as ``(C / 4, taps, 4 channels)``."""
    return _spread_rows(weight, places).unflatten(0, (-1, GROUP)).transpose(1, 2)


def pack_linear(weight: Tensor, outputs: Sequence[int], inputs: Sequence[int]) -> Tensor:
    """Return ``(O, I)`` as ``(I / 2, outputs, 2 inputs)`` for every sixteen outputs or the rest."""
    rows = _spread_rows(_spread_rows(weight, outputs).T, inputs).T
    pairs = rows.unflatten(1, (-1, 2)).transpose(0, 1)
    return torch.cat([block.flatten() for block in pairs.split(16, dim=1)])


def pack_halves(weights: Tensor) -> Tensor:
    """Return ``weights`` ``(8 N,)`` of -7 .. 7 in half bytes ``(4 N,)``, 8 added to each: of every
    eight the first four in the lower halves."""
    low, high = (weights.to(torch.uint8) + 8).reshape(-1, 2, 4).unbind(1)
    return (low | high << 4).view(torch.int8).flatten()
