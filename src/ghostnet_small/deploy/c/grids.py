"""What the numbers of a map stand for in int8 code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

WIDE_LEVELS = 8191
MARGIN = 1.25
# A channel that is always zero needs a scale too.
SMALLEST = 1e-30


@dataclass(frozen=True)
class Grid:
    """What a number of each channel means, ``(C,)`` each: ``(number - zero) * scale``; it is a
    byte or, where ``wide``, one of 14 bits with its sign."""

    scale: Tensor
    zero: Tensor
    wide: bool = False

    def round(self, x: Tensor) -> Tensor:
        """``x`` ``(N, C, H, W)`` at the nearest values that there are."""
        scale, zero = self.scale[:, None, None], self.zero[:, None, None]
        low, high = (-WIDE_LEVELS, WIDE_LEVELS) if self.wide else (0, 255)
        return ((x / scale).round().add(zero).clamp(low, high) - zero) * scale


def joined(first: Grid, second: Grid) -> Grid:
    """Of the channels of two maps behind one another."""
    scale = torch.cat((first.scale, second.scale))
    return Grid(scale, torch.cat((first.zero, second.zero)), first.wide)


def grid_of(x: Tensor, wide: bool) -> Grid:
    """The grid from the least to the largest value of every channel of ``x`` ``(N, C, H, W)``."""
    rows = x.transpose(0, 1).flatten(1)
    if wide:
        # Other pictures may have larger values, and there are levels to spare.
        bound = (MARGIN * rows.abs().amax(1)).clamp_min(SMALLEST)
        return Grid(bound / WIDE_LEVELS, torch.zeros_like(bound), wide=True)
    low, high = rows.amin(1).clamp_max(0), rows.amax(1).clamp_min(0)
    scale = ((high - low) / 255).clamp_min(SMALLEST)
    return Grid(scale, (-low / scale).round())


def picture_grid(mean: Sequence[float], std: Sequence[float]) -> Grid:
    """The grid on which normalised pixels lie exactly; its zeros are no whole numbers."""
    spread = torch.tensor(std, dtype=torch.float64)
    centre = torch.tensor(mean, dtype=torch.float64)
    return Grid((1 / (255 * spread)).float(), (255 * centre).float())
