"""The values that the integers of a map stand for in int8 code."""

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
    """Scale and zero of each channel, ``(C,)`` each: a number means ``(number - zero) * scale``.

    A number is a byte or, where ``wide``, a signed integer of 14 bits.
    """

    scale: Tensor
    zero: Tensor
    wide: bool = False

    def round(self, x: Tensor) -> Tensor:
        """Return ``x`` ``(N, C, H, W)`` rounded to the nearest values of the grid."""
        scale, zero = self.scale[:, None, None], self.zero[:, None, None]
        low, high = (-WIDE_LEVELS, WIDE_LEVELS) if self.wide else (0, 255)
        return ((x / scale).round().add(zero).clamp(low, high) - zero) * scale


def joined(first: Grid, second: Grid) -> Grid:
    """Return the grid of two maps whose channels are concatenated."""
    scale = torch.cat((first.scale, second.scale))
    return Grid(scale, torch.cat((first.zero, second.zero)), first.wide)


def grid_of(x: Tensor, wide: bool) -> Grid:
    """Return the grid between the extreme values of each channel of ``x`` ``(N, C, H, W)``."""
    rows = x.transpose(0, 1).flatten(1)
    if wide:
        # Other images may have larger values, and there are levels to spare.
        bound = (MARGIN * rows.abs().amax(1)).clamp_min(SMALLEST)
        return Grid(bound / WIDE_LEVELS, torch.zeros_like(bound), wide=True)
    low, high = rows.amin(1).clamp_max(0), rows.amax(1).clamp_min(0)
    scale = ((high - low) / 255).clamp_min(SMALLEST)
    return Grid(scale, (-low / scale).round())


def picture_grid(mean: Sequence[float], std: Sequence[float]) -> Grid:
    """Return the grid on which normalised pixels lie exactly; its zeros are not integers."""
    spread = torch.tensor(std, dtype=torch.float64)
    centre = torch.tensor(mean, dtype=torch.float64)
    return Grid((1 / (255 * spread)).float(), (255 * centre).float())
