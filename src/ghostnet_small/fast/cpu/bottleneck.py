"""A whole bottleneck as one function: parts of ``ghost``, ``rep_conv`` and ``conv_chain``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor, nn

from ghostnet_small.fast.cpu.conv_chain import Chain, chain_of
from ghostnet_small.fast.cpu.fused_parts import Part, apply
from ghostnet_small.fast.cpu.ghost import Ghost, ghost_of, squeeze_of, usable
from ghostnet_small.fast.cpu.rep_conv import merged_of
from ghostnet_small.nn.ghost import GhostBottleneck, SqueezeExcite, bottleneck_by_parts
from ghostnet_small.nn.rep_conv import RepConv2d


@dataclass(frozen=True)
class Bottleneck:
    """A whole ghost bottleneck: parts in order, the last a ghost module, and the shortcut.

    The shortcut is ``None`` where it is the input itself. ``size`` is that of the output.
    """

    row: tuple[Part, ...]
    last: Ghost
    shortcut: Chain | None
    size: tuple[int, int]
    # The number of tensors that each part kept in a run.
    lengths: list[int] = field(default_factory=list)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Return all parts, in order."""
        return (*self.row, self.last, *([] if self.shortcut is None else [self.shortcut]))

    @cached_property
    def parameters(self) -> tuple[Tensor, ...]:
        """Return those of all parts, in order."""
        return tuple(parameter for part in self.parts for parameter in part.parameters)

    def run(self, x: Tensor, parameters: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """See ``Part``."""
        owned = iter(cut(parameters, [len(part.parameters) for part in self.parts]))
        inputs: list[Tensor] = []
        kept: list[list[Tensor]] = []
        out = x
        for part in self.row:
            out, own = part.run(out, next(owned))
            inputs.append(out)
            kept.append(own)
        of_last, beside = next(owned), x
        of_shortcut: list[Tensor] = []
        if self.shortcut is not None:
            beside, of_shortcut = self.shortcut.run(x, next(owned))
        out, own = self.last.run(out, of_last, beside)
        kept += [own, of_shortcut]
        self.lengths[:] = [len(own) for own in kept]
        return out, [*inputs, *(tensor for own in kept for tensor in own)]

    def run_back(
        self, grad: Tensor, x: Tensor, kept: Sequence[Tensor], parameters: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """See ``Part``."""
        owned = cut(parameters, [len(part.parameters) for part in self.parts])
        number = len(self.row)
        inputs, own = [x, *kept[:number]], cut(kept[number:], self.lengths)
        beside: Tensor | None = grad
        of_shortcut: list[Tensor] = []
        if self.shortcut is not None:
            beside, of_shortcut = self.shortcut.run_back(grad, x, own[-1], owned[-1])
        above: Tensor | None
        above, found = self.last.run_back(grad, inputs[-1], own[number], owned[number])
        found = [*found, *of_shortcut]
        for at in range(number - 1, 0, -1):
            assert above is not None
            above, more = self.row[at].run_back(above, inputs[at], own[at], owned[at])
            found = [*more, *found]
        first = self.row[0]
        assert isinstance(first, Ghost) and above is not None
        of_x, more = first.run_back(above, x, own[0], owned[0], beside)
        return of_x, [*more, *found]


def bottleneck_of(block: GhostBottleneck, x: Tensor) -> Bottleneck | None:
    """Return the part of ``block``, ``None`` if there is none; ``x`` must be ``calls.usable``."""
    size = (x.shape[2], x.shape[3])
    row: list[Part | None] = [ghost_of(block.ghost1, x, size)]
    down: nn.Module = block.downsample
    if isinstance(down, RepConv2d):
        merged = merged_of(down, x, size)
        row.append(merged)
        if merged is not None:
            size = merged.size
    elif not isinstance(down, nn.Identity):
        return None
    if isinstance(block.se, SqueezeExcite):
        row.append(squeeze_of(block.se, x))
    last, shortcut = ghost_of(block.ghost2, x, size), None
    parts = [part for part in row if part is not None]
    if last is None or len(parts) < len(row):
        return None
    if not isinstance(block.shortcut, nn.Identity):
        shortcut = chain_of(tuple(block.shortcut), x, (x.shape[2], x.shape[3]))
        if shortcut is None:
            return None
    return Bottleneck(tuple(parts), last, shortcut, size)


def fused_bottleneck(block: GhostBottleneck, x: Tensor) -> Tensor:
    """Compute ``bottleneck_by_parts(block, x)`` as one function where the C kernels can."""
    served = usable(x) and not block.drop_path
    part = bottleneck_of(block, x) if served else None
    return bottleneck_by_parts(block, x) if part is None else apply(part, x)


def cut(tensors: Sequence[Tensor], lengths: Sequence[int]) -> list[Sequence[Tensor]]:
    """Return ``tensors`` in pieces of ``lengths``."""
    found, start = [], 0
    for length in lengths:
        found.append(tensors[start : start + length])
        start += length
    return found
