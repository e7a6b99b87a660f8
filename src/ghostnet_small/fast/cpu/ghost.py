"""Ghost modules and squeeze-and-excitation as single functions by the C kernels.

Both re-parameterisable convolutions of a ghost module fold as in ``rep_conv``. The two halves of
its channels, activation, gate and the sum with the shortcut are written in place, never copied.
Exact up to rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from ghostnet_small.fast.cpu.branch_folding import Branches, Folded, branches_of, fold, unfold
from ghostnet_small.fast.cpu.conv_chain import Chain, chain_of
from ghostnet_small.fast.cpu.fused_parts import apply, matching
from ghostnet_small.fast.cpu.kernels import calls, chains, ghosts
from ghostnet_small.fast.cpu.kernels.convolutions import channel_moments, linear_gradient
from ghostnet_small.fast.cpu.kernels.ghosts import Gate
from ghostnet_small.fast.cpu.rep_conv import foldable
from ghostnet_small.nn.ghost import (
    GhostModule,
    SqueezeExcite,
    ghost_by_parts,
    is_halved,
    squeeze_excite,
)
from ghostnet_small.nn.rep_conv import RepConv2d

Size = tuple[int, int]


@dataclass(frozen=True)
class Ghost:
    """A ghost module: the branches of both convolutions, the ReLU if any, and the gate.

    The gate is a chain of convolutions, or none, and may halve its input first; ``stretch`` is
    which of its rows and columns each of the output is multiplied by.
    """

    primary: Branches
    cheap: Branches
    relu: bool
    gate: Chain | None = None
    halves: bool = False
    stretch: tuple[Tensor, Tensor] | None = None

    @cached_property
    def parameters(self) -> tuple[Tensor, ...]:
        """Return those of all parts, in order."""
        of_gate = () if self.gate is None else self.gate.parameters
        return (*self.primary.parameters, *self.cheap.parameters, *of_gate)

    def split(self, parameters: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
        """Return ``parameters`` split by part, in the same order."""
        first = len(self.primary.parameters)
        second = first + len(self.cheap.parameters)
        rest = tuple(parameters)
        return [rest[:first], rest[first:second], rest[second:]]

    def run(
        self, x: Tensor, parameters: Sequence[Tensor], add: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """See ``Part``; ``add`` is added to the output."""
        of_primary, of_cheap, of_gate = self.split(parameters)
        rows = x.view(-1, x.shape[3])
        mean, covariance = channel_moments(rows)
        mean = mean[None]
        primary = fold(self.primary, of_primary, mean, covariance[None], len(rows))
        both, taps, tap_covariance = ghosts.ghost_primary(
            x, primary.kernel[0], primary.shift[0], relu=self.relu
        )
        cheap = fold(self.cheap, of_cheap, taps, tap_covariance, len(rows))
        gate, kept = None, [both, mean, taps, *primary, *cheap]
        if self.gate is not None and self.stretch is not None:
            small = ghosts.halve(x) if self.halves else x
            weight, of_chain = self.gate.run(small, of_gate)
            gate = Gate(weight, *self.stretch)
            kept += [*gate, small, *of_chain]
        out = ghosts.ghost_cheap(both, cheap.kernel, cheap.shift, gate, add, relu=self.relu)
        return out, kept

    def run_back(
        self,
        grad: Tensor,
        x: Tensor,
        kept: Sequence[Tensor],
        parameters: Sequence[Tensor],
        add: Tensor | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """See ``Part``; ``add`` is added to the gradient of the input."""
        of_primary, of_cheap, of_gate = self.split(parameters)
        both, mean, taps, *rest = kept
        primary, cheap, rest = Folded(*rest[:5]), Folded(*rest[5:10]), rest[10:]
        gate = None if self.gate is None else Gate(*rest[:3])
        count = x[..., 0].numel()
        above_gate, kernel, shift = ghosts.ghost_cheap_gradient(grad, both, gate, relu=self.relu)
        below = unfold(self.cheap, of_cheap, cheap, taps, count, kernel[:, None], shift[:, None])
        of_a, products, sums = ghosts.ghost_primary_gradient(
            grad, both, x, gate, cheap.kernel, below.first, below.second, relu=self.relu
        )
        slopes = unfold(self.primary, of_primary, primary, mean, count, products[None], sums[None])
        of_small: Tensor | None = None
        found: list[Tensor] = []
        if self.gate is not None and above_gate is not None:
            of_small, found = self.gate.run_back(above_gate, rest[3], rest[4:], of_gate)
        if not self.halves and of_small is not None:
            add, of_small = of_small if add is None else of_small + add, None
        of_x = ghosts.ghost_input_gradient(
            of_a, x, primary.kernel, slopes.first, slopes.second, add, of_small
        )
        return of_x, [*slopes.parameters, *below.parameters, *found]


def ghost_of(ghost: GhostModule, x: Tensor, size: Size) -> Ghost | None:
    """Return the part of ``ghost`` for images like ``x`` of ``size``; ``None`` where there is none.

    ``x`` must be ``calls.usable``."""
    convolution: nn.Module = ghost.primary
    # A folded network has plain convolutions there.
    if not isinstance(convolution, RepConv2d):
        return None
    primary, cheap = branches_of(ghost.primary), branches_of(ghost.cheap)
    rows = len(x) * size[0] * size[1]
    if (
        ghost.out_channels != 2 * len(primary.norms[0].weight)
        or rows < 2
        or not foldable(primary, x)
        or not foldable(cheap, x)
    ):
        return None
    relu = isinstance(ghost.act, nn.ReLU)
    if ghost.gate is None:
        return Ghost(primary, cheap, relu)
    halves = is_halved(*size)
    shape = (size[0] // 2, size[1] // 2) if halves else size
    gate = chain_of(ghost.gate.layers, x, shape, chains.SIGMOID)
    if gate is None:
        return None
    return Ghost(primary, cheap, relu, gate, halves, stretched(shape, size))


@functools.cache
@torch.inference_mode(False)  # A cached inference tensor could never be saved for a backward pass.
def stretched(small: Size, large: Size) -> tuple[Tensor, Tensor]:
    """Return, for each row and column of the large image, the nearest of the small one, int32."""
    rows, columns = (
        nn.functional.interpolate(
            torch.arange(there, dtype=torch.float64)[None, None], size=here, mode="nearest"
        )
        .flatten()
        .int()
        for there, here in zip(small, large, strict=True)
    )
    return rows, columns


@dataclass(frozen=True)
class Squeeze:
    """Squeeze-and-excitation."""

    parameters: tuple[Tensor, Tensor, Tensor, Tensor]

    def run(self, x: Tensor, parameters: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """See ``Part``."""
        reduce, less, expand, more = parameters
        out, *kept = ghosts.squeeze_excite(x, reduce.flatten(1), less, expand.flatten(1), more)
        return out, kept

    def run_back(
        self, grad: Tensor, x: Tensor, kept: Sequence[Tensor], parameters: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """See ``Part``."""
        reduce, _, expand, _ = parameters
        means, between, shifted = kept
        of_x, of_shifted, of_between = ghosts.squeeze_excite_gradient(
            grad, x, reduce.flatten(1), expand.flatten(1), between, shifted
        )
        _, of_reduce, of_less = linear_gradient(of_between, means, reduce, of_input=False)
        _, of_expand, of_more = linear_gradient(of_shifted, between, expand, of_input=False)
        return of_x, [matching(of_reduce, reduce), of_less, matching(of_expand, expand), of_more]


def squeeze_of(part: SqueezeExcite, x: Tensor) -> Squeeze | None:
    """Return the part of ``part``; ``None`` where there is none. ``x`` must be ``calls.usable``."""
    reduce, expand = part.reduce, part.expand
    if not part.training or x.dtype != reduce.weight.dtype:
        return None
    assert reduce.bias is not None and expand.bias is not None
    return Squeeze((reduce.weight, reduce.bias, expand.weight, expand.bias))


def usable(x: Tensor) -> bool:
    """Return whether parts can take ``x``."""
    return calls.usable(x) and not torch.is_autocast_enabled(x.device.type)


def fused_ghost(ghost: GhostModule, x: Tensor) -> Tensor:
    """Compute ``ghost_by_parts(ghost, x)`` as one function where the C kernels can."""
    part = ghost_of(ghost, x, (x.shape[2], x.shape[3])) if usable(x) else None
    return ghost_by_parts(ghost, x) if part is None else apply(part, x)


def fused_squeeze_excite(squeeze: SqueezeExcite, x: Tensor) -> Tensor:
    """Compute ``squeeze_excite(squeeze, x)`` as one function where the C kernels can."""
    part = squeeze_of(squeeze, x) if usable(x) else None
    return squeeze_excite(squeeze, x) if part is None else apply(part, x)
