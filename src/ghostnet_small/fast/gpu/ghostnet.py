"""The feature map of a GhostNetV3 by fused kernels, as one differentiable function."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ghostnet_small.fast.gpu import maps
from ghostnet_small.fast.gpu.layers import Depthwise, Kept, Pointwise
from ghostnet_small.fast.gpu.maps import Map, Size, whole
from ghostnet_small.fast.gpu.norms import Step, counted
from ghostnet_small.fast.gpu.packed import Packed
from ghostnet_small.nn.ghost import AttentionGate, GhostBottleneck, GhostModule, SqueezeExcite
from ghostnet_small.nn.rep_conv import ConvBN, RepConv2d

Tape = list[Any]
"""The tensors that ``backward`` needs of each part, in the order of ``forward``. Evaluation keeps
none: the maps of all layers together are gigabytes."""


class Gate:
    """An attention gate, up to the input of the sigmoid."""

    def __init__(self, gate: AttentionGate, packed: Packed, running: Packed) -> None:
        self.project = Pointwise(gate.project, packed, running)
        self.lines = [
            Depthwise(layer, packed, running) for layer in (gate.horizontal, gate.vertical)
        ]
        self.channels = gate.project.conv.out_channels

    def forward(self, step: Step, x: Tensor, size: Size) -> tuple[Tensor, list[Kept]]:
        """Return ``(pixels of half the size, O)``, and what ``backward`` needs."""
        small = size.halved
        out = x.new_empty(small.pixels, self.channels)
        kept = [self.project.forward(step, whole(maps.pool(x, size)), out=whole(out))]
        for line in self.lines:
            before, out = out, torch.empty_like(out)
            kept.append(line.forward(step, whole(before), small, out=whole(out)))
        return out, kept

    def backward(self, step: Step, kept: list[Kept], grad: Tensor, small: Size) -> Tensor:
        """Return the gradient of the input at half its size."""
        for line, its in zip(reversed(self.lines), reversed(kept[1:]), strict=True):
            grad = line.backward(step, its, small, whole(grad))
        return self.project.backward(step, kept[0], whole(grad))[0]


class KeptGhost(NamedTuple):
    """The tensors that a ghost module's ``backward`` needs."""

    primary: Kept
    cheap: Kept
    both: Tensor
    z: Tensor | None
    gate: list[Kept]


class Ghost:
    """A ghost module: both halves are written in place."""

    def __init__(self, part: GhostModule, packed: Packed, running: Packed) -> None:
        relu = isinstance(part.act, nn.ReLU)
        self.primary = Pointwise(part.primary, packed, running, relu=relu)
        self.cheap = Depthwise(part.cheap, packed, running, relu=relu)
        self.gate = None if part.gate is None else Gate(part.gate, packed, running)
        self.half = self.cheap.channels

    def forward(
        self, step: Step, x: Tensor, size: Size, more: Tensor | None = None
    ) -> tuple[Tensor, KeptGhost]:
        """Return ``(pixels, O)``, with ``more`` added, and what ``backward`` needs."""
        half = self.half
        out = x.new_empty(len(x), 2 * half)
        first, second = Map(out, 0, half), Map(out, half, half)
        if more is None:
            a = first
            primary = self.primary.forward(step, whole(x), out=a)
            cheap = self.cheap.forward(step, a, size, out=second)
        else:
            a = whole(x.new_empty(len(x), half))
            primary = self.primary.forward(
                step, whole(x), out=a, more=Map(more, 0, half), sum=first
            )
            cheap = self.cheap.forward(step, a, size, more=Map(more, half, half), sum=second)
        if self.gate is None:
            return out, KeptGhost(primary, cheap, out, None, [])
        z, gate = self.gate.forward(step, x, size)
        gated = maps.gate(out, z, size, size.halved)
        return gated, KeptGhost(primary, cheap, out, z, gate)

    def backward(
        self, step: Step, kept: KeptGhost, grad: Tensor, size: Size, more: Tensor | None = None
    ) -> Tensor:
        """Return the gradient of the input plus ``more``."""
        half, of_pool = self.half, None
        if self.gate is not None and kept.z is not None:
            grad, of_z = maps.gate_slopes(grad, kept.both, kept.z, size, size.halved)
            of_pool = self.gate.backward(step, kept.gate, of_z, size.halved)
        first, second = Map(grad, 0, half), Map(grad, half, half)
        of_a = self.cheap.backward(step, kept.cheap, size, second, more=first)
        added = None if more is None else whole(more)
        dx, _ = self.primary.backward(step, kept.primary, whole(of_a), more=added)
        if of_pool is not None:
            maps.add_pool_slope(of_pool, dx, size)
        return dx


class Attention:
    """Squeeze-and-excitation; its two layers see one pixel per image, in full precision."""

    def __init__(self, part: SqueezeExcite) -> None:
        self.layers = (part.reduce, part.expand)

    @property
    def parameters(self) -> list[Tensor]:
        """Return the parameters in the order of the gradients that ``backward`` returns."""
        found = []
        for layer in self.layers:
            assert layer.bias is not None
            found += [layer.weight, layer.bias]
        return found

    def forward(self, x: Tensor, size: Size) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return ``(pixels, C)``, and what ``backward`` needs."""
        first, first_bias, second, second_bias = self.parameters
        mean = maps.means(x, size)
        inner = torch.addmm(first_bias, mean, first.flatten(1).t()).relu_()
        v = torch.addmm(second_bias, inner, second.flatten(1).t())
        return maps.excite(x, v, size), (x, mean, inner, v)

    def backward(
        self, kept: tuple[Tensor, ...], grad: Tensor, size: Size
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the gradients of the input and of the parameters."""
        first, _, second, _ = self.parameters
        x, mean, inner, v = kept
        of_v = maps.excite_sums(grad, x, v, size)
        of_inner = (of_v @ second.flatten(1)) * (inner > 0)
        of_mean = of_inner @ first.flatten(1)
        grads = [
            _like(of_inner.t() @ mean, first),
            of_inner.sum(0),
            _like(of_v.t() @ inner, second),
            of_v.sum(0),
        ]
        return maps.excite_slopes(grad, v, of_mean, size), grads


def _like(grad: Tensor, weight: Tensor) -> Tensor:
    return torch.as_strided(grad, weight.shape, weight.stride())


class Bottleneck:
    """A ghost bottleneck."""

    def __init__(self, block: GhostBottleneck, packed: Packed, running: Packed) -> None:
        self.ghost1 = Ghost(block.ghost1, packed, running)
        self.downsample = None
        if isinstance(block.downsample, RepConv2d):
            self.downsample = Depthwise(block.downsample, packed, running)
        self.se = Attention(block.se) if isinstance(block.se, SqueezeExcite) else None
        self.ghost2 = Ghost(block.ghost2, packed, running)
        self.shortcut = None
        if isinstance(block.shortcut, nn.Sequential):
            depthwise, pointwise = block.shortcut
            assert isinstance(depthwise, ConvBN) and isinstance(pointwise, ConvBN)
            self.shortcut = (
                Depthwise(depthwise, packed, running),
                Pointwise(pointwise, packed, running),
            )

    def forward(self, step: Step, x: Tensor, size: Size, tape: Tape) -> tuple[Tensor, Size]:
        """Return the output and its size."""
        before, more, short = size, x, None
        if self.shortcut is not None:
            depthwise, pointwise = self.shortcut
            after = depthwise.out_size(size)
            middle = whole(x.new_empty(after.pixels, depthwise.channels))
            more = x.new_empty(after.pixels, pointwise.columns)
            short = (
                depthwise.forward(step, whole(x), size, out=middle),
                pointwise.forward(step, middle, out=whole(more)),
            )
        out, first = self.ghost1.forward(step, x, size)
        down = attention = None
        if self.downsample is not None:
            size = self.downsample.out_size(size)
            low = out.new_empty(size.pixels, out.shape[1])
            down = self.downsample.forward(step, whole(out), before, out=whole(low))
            out = low
        if self.se is not None:
            out, attention = self.se.forward(out, size)
        out, second = self.ghost2.forward(step, out, size, more)
        if step.training:
            tape.append((before, size, short, first, down, attention, second))
        return out, size

    def backward(self, step: Step, grad: Tensor, tape: Tape) -> tuple[Tensor, list[Tensor]]:
        """Return the gradients of the input, and of the parameters that are not packed."""
        before, size, short, first, down, attention, second = tape.pop()
        found: list[Tensor] = []
        inner = self.ghost2.backward(step, second, grad, size)
        if self.se is not None:
            inner, found = self.se.backward(attention, inner, size)
        if self.downsample is not None:
            inner = self.downsample.backward(step, down, before, whole(inner))
        identity = grad if self.shortcut is None else None
        dx = self.ghost1.backward(step, first, inner, before, identity)
        if self.shortcut is not None:
            depthwise, pointwise = self.shortcut
            middle, _ = pointwise.backward(step, short[1], whole(grad))
            dx = depthwise.backward(step, short[0], before, whole(middle), more=whole(dx))
        return dx, found


class Features:
    """Stem, blocks and last convolution of a GhostNetV3: its parameters, packed, and its layers."""

    def __init__(self, stem: ConvBN, blocks: nn.Sequential, last: ConvBN) -> None:
        self.packed, self.running = Packed(), Packed()
        self.kernel = stem.conv.kernel_size[0]
        self.stem = Pointwise(stem, self.packed, self.running, relu=True, of_patches=True)
        self.blocks = []
        for block in blocks:
            assert isinstance(block, GhostBottleneck)
            self.blocks.append(Bottleneck(block, self.packed, self.running))
        self.last = Pointwise(last, self.packed, self.running, relu=True)
        attentions = [block.se.parameters for block in self.blocks if block.se is not None]
        others = [parameter for parameters in attentions for parameter in parameters]
        self.parameters = [*self.packed.tensors, *self.stem.kernels, *others]
        modules = [module for part in (stem, blocks, last) for module in part.modules()]
        norms = [module for module in modules if isinstance(module, nn.BatchNorm2d)]
        self.counts = [counted(norm.num_batches_tracked) for norm in norms]

    def is_of(self, model: nn.Module) -> bool:
        """Return whether ``model`` still has the parameters and statistics packed here."""
        found = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
        ours = (*self.parameters, *self.running.tensors, *self.counts)
        return all(id(tensor) in found for tensor in ours)

    def forward(self, x: Tensor, dtype: torch.dtype, training: bool) -> tuple[Tensor, Size, Tape]:
        """Return ``(pixels, C)`` for images ``(N, C, H, W)``, and what ``backward`` needs."""
        parameters, running = self.packed.gather(), self.running.gather()
        step = Step(parameters, parameters.to(dtype), running, training)
        size = Size(len(x), x.shape[2], x.shape[3])
        tape: Tape = [step]
        seen = whole(maps.patches(x, self.kernel, dtype))
        out = seen.base.new_empty(size.pixels, self.stem.columns)
        stem = self.stem.forward(step, seen, out=whole(out))
        if training:
            tape.append(stem)
        del stem, seen
        for block in self.blocks:
            out, size = block.forward(step, out, size, tape)
        end = out.new_empty(len(out), self.last.columns)
        last = self.last.forward(step, whole(out), out=whole(end))
        if training:
            tape.append(last)
            self.running.scatter(running)
            torch._foreach_add_(self.counts, 1)
        return end, size, tape

    def backward(self, grad: Tensor, tape: Tape) -> list[Tensor]:
        """Return the gradients of ``parameters``."""
        step: Step = tape[0]
        step.gradients = torch.empty_like(step.parameters)
        grad, _ = self.last.backward(step, tape.pop(), whole(grad))
        others: list[Tensor] = []
        for block in reversed(self.blocks):
            grad, found = block.backward(step, grad, tape)
            others = found + others
        _, stem = self.stem.backward(step, tape.pop(), whole(grad), of_input=False)
        return [*self.packed.views(step.gradients), *stem, *others]


class FeaturesFunction(torch.autograd.Function):
    """The autograd function of the images, the precision, ``Features`` and its parameters."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, dtype: torch.dtype, features: Features, *parameters: Tensor
    ) -> Tensor:
        out, size, tape = features.forward(x, dtype, training=True)
        ctx.features, ctx.tape = features, tape
        return out.view(*size, -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        tape, ctx.tape = ctx.tape, None
        found = ctx.features.backward(grad.reshape(-1, grad.shape[3]).contiguous(), tape)
        return None, None, None, *found
