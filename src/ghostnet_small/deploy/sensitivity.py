"""Find the parts of a network that lose most in 8 bits, by keeping one at a time in float32."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ghostnet_small.deploy.fake_quant import quantize_in_float
from ghostnet_small.deploy.ranges import ranges_of
from ghostnet_small.deploy.taps import Taps
from ghostnet_small.models.ghostnetv3 import is_of_ghosts
from ghostnet_small.nn.ghost import GhostBottleneck

BATCH = 250


@dataclass(frozen=True)
class Relief:
    """The logits' remaining ``error`` with one ``part`` in float32: the root of their mean squared
    change in units of that of the logits themselves."""

    part: str
    error: float


def parts_of(network: nn.Module) -> list[str]:
    """Return the names of the modules that can be kept in float32: every layer, but of a
    ``GhostNetV3`` each gate, attention and shortcut as one."""
    if not is_of_ghosts(network):
        return [
            name
            for name, part in network.named_modules()
            if isinstance(part, nn.Conv2d | nn.Linear)
        ]
    found = ["stem"]
    for number, block in enumerate(network.blocks):
        assert isinstance(block, GhostBottleneck)
        names = ["ghost1.primary", "ghost1.cheap", "ghost1.gate", "downsample", "se"]
        names += ["ghost2.primary", "ghost2.cheap", "shortcut"]
        known = dict(block.named_modules())
        found += [
            f"blocks.{number}.{name}"
            for name in names
            if not isinstance(known.get(name, nn.Identity()), nn.Identity)
        ]
    return [*found, "last", "head", "classifier"]


@torch.no_grad()
def measure_relief(
    network: nn.Module, calibration: Tensor, pictures: Tensor
) -> tuple[float, list[Relief]]:
    """Return the error of a folded ``network`` in 8 bits everywhere, and the relief of every
    part, the greatest first.

    ``calibration`` and ``pictures`` are normalised, float32 ``(N, C, H, W)``: ranges come from the
    former, errors from the latter. Computed as ``fake_quant`` does.

    Raises ``InputError`` where there are no calibration images.
    """
    _, channels, height, width = calibration.shape
    places = Taps(network, channels, (height, width))
    ranges = ranges_of(places, calibration)
    exact = _answers(places, pictures)

    def error(keep_float: Collection[str] = ()) -> float:
        quantize_in_float(places, ranges, keep_float)
        change = _answers(places, pictures) - exact
        return float(change.norm() / exact.norm())

    everywhere = error()
    found = [Relief(part, error([part])) for part in parts_of(network)]
    return everywhere, sorted(found, key=lambda one: (one.error, one.part))


def _answers(places: Taps, pictures: Tensor) -> Tensor:
    return torch.cat([places(batch) for batch in pictures.split(BATCH)]).double()
