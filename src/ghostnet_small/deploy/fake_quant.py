"""A network that rounds as the runtimes' int8 does, computed in float by PyTorch.

Weights are signed, symmetric, with a scale for each channel; activations are unsigned with a scale
and a zero point for each place. Gradients pass straight through the rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor

from ghostnet_small.deploy.ranges import LEVELS, Range
from ghostnet_small.deploy.taps import Taps, kept

WEIGHT_LEVELS = 127


def quantize_in_float(
    places: Taps, ranges: Mapping[str, Range], keep_float: Collection[str] = ()
) -> None:
    """Let the traced network of ``places`` round to 8 bits from here on.

    A layer in ``keep_float`` keeps its weights; a place is not rounded where all that make or
    take it are kept.
    """
    places.weight_at = {
        layer: rounded_weight for layer in places.layers if not kept(layer, keep_float)
    }
    places.at = {
        place.name: _rounding(ranges[place.name])
        for place in places.places
        if not all(kept(module, keep_float) for module in place.touching)
    }


def rounded_weight(weight: Tensor) -> Tensor:
    """Return ``weight``, whose channels come first, rounded to 255 levels symmetric around 0."""
    scale = weight.detach().abs().flatten(1).amax(1).clamp(min=torch.finfo(weight.dtype).tiny)
    scale = scale / WEIGHT_LEVELS
    zeros = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(
        weight, scale, zeros, 0, -WEIGHT_LEVELS, WEIGHT_LEVELS
    )


def rounded(x: Tensor, to: Range) -> Tensor:
    """Return ``x`` rounded to the 256 levels of a range and clamped to its bounds."""
    return torch.fake_quantize_per_tensor_affine(x, to.scale, to.zero_point, 0, LEVELS - 1)


def _rounding(to: Range) -> Callable[[Tensor], Tensor]:
    return lambda x: rounded(x, to)
