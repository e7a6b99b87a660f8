"""The numbers of a LiteRT file: weights in float32, or all in 8 bits, calibrated on images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ghostnet_small.deploy.c.quantize import LEVELS, best_step, feed_back
from ghostnet_small.deploy.description import Description
from ghostnet_small.deploy.litert.graph import (
    Concat,
    Conv,
    Graph,
    Linear,
    Operator,
    Pool,
    Sigmoid,
    Value,
)
from ghostnet_small.deploy.ranges import range_of

LOW, HIGH = -128, 127
# A bias stays far from the ends of 32 bits.
MOST_BIAS = 1 << 30
SMALLEST = 1e-6  # the least scale of a map


@dataclass(frozen=True)
class Scale:
    """The byte ``q`` of a map stands for ``(q - zero) * step``."""

    step: float
    zero: int

    def round(self, x: Tensor) -> Tensor:
        """Return ``x`` rounded to what bytes stand for."""
        return ((x / self.step).round().add(self.zero).clamp(LOW, HIGH) - self.zero) * self.step


# LiteRT prescribes these.
SIGMOID = PROBABILITY = Scale(1 / 256, LOW)
PIXEL = Scale(1.0, LOW)


@dataclass(frozen=True)
class Layer:
    """A layer's ``weight`` as ``Conv`` has it and ``bias`` ``(O,)``: float32, or bytes that count
    the ``step`` of each output, ``(O,)``, or of all, ``(1,)``, and 32-bit integers."""

    weight: NDArray[np.generic]
    bias: NDArray[np.generic]
    step: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Numbers:
    """The layers by the names of their outputs; in 8 bits also the scales of all maps."""

    layers: dict[str, Layer]
    scales: dict[Value, Scale] | None = None


def float_numbers(graph: Graph) -> Numbers:
    """Return the numbers of ``graph`` in float32."""
    layers = {
        op.output.name: Layer(op.weight.float().numpy(), op.bias.float().numpy())
        for op in graph.operators
        if isinstance(op, Conv)
    }
    return Numbers(layers)


def blank_int8(graph: Graph) -> Numbers:
    """Return placeholder numbers in 8 bits."""
    layers = {
        op.output.name: Layer(
            np.zeros(op.weight.shape, np.int8),
            np.zeros(len(op.bias), np.int32),
            np.ones(1 if isinstance(op, Linear) else len(op.bias), np.float32),
        )
        for op in graph.operators
        if isinstance(op, Conv)
    }
    ranges = {value: (0.0, 1.0) for value in (graph.picture, *(o.output for o in graph.operators))}
    return Numbers(layers, scales_of(graph, ranges))


def picture_bounds(description: Description) -> tuple[float, float]:
    """Return the least and the largest number that an image may have."""
    if description.input == "pixels":
        return 0.0, 255.0
    pairs = list(zip(description.mean, description.std, strict=True))
    return min(-mean / std for mean, std in pairs), max((1 - mean) / std for mean, std in pairs)


@torch.no_grad()
def int8_numbers(graph: Graph, pictures: Tensor, bounds: tuple[float, float]) -> Numbers:
    """Return the numbers of ``graph`` in 8 bits, calibrated on ``pictures`` float32
    ``(N, C, H, W)`` of numbers within ``bounds``."""
    ranges = {graph.picture: bounds}
    for op, _, exact in _runs(graph, pictures):
        # Rare large numbers would make all others coarse.
        found = range_of(exact)
        ranges[op.output] = (found.low, found.high)
    scales = scales_of(graph, ranges)
    layers: dict[str, Layer] = {}

    def rounded(op: Operator, *inputs: Tensor) -> Tensor:
        exact, found = inputs[: len(op.inputs)], inputs[len(op.inputs) :]
        if not isinstance(op, Conv):
            return scales[op.output].round(op.run(*found))
        layer, sums = _layer(op, exact[0], found[0], scales[op.inputs[0]].step)
        layers[op.output.name] = layer
        return scales[op.output].round(op.activated(sums))

    first = scales[graph.picture].round(pictures)
    kept = {graph.picture: first}
    for op, inputs, _ in _runs(graph, pictures):
        kept[op.output] = rounded(op, *inputs, *(kept[value] for value in op.inputs))
        for value in [value for value in kept if value not in _needed_after(graph, op)]:
            del kept[value]
    return Numbers(layers, scales)


def scales_of(graph: Graph, ranges: dict[Value, tuple[float, float]]) -> dict[Value, Scale]:
    """Return the scales for maps of ``ranges``; those of one concatenation, and those before and
    behind a pooling, are the same."""
    ranges = dict(ranges)
    same = {value: value for value in ranges}
    for op in reversed(graph.operators):
        if isinstance(op, Concat):
            joined = [ranges[value] for value in (*op.inputs, op.output)]
            ranges[op.output] = (min(a for a, _ in joined), max(b for _, b in joined))
            for value in op.inputs:
                same[value] = op.output
    scales: dict[Value, Scale] = {}
    for value in ranges:
        scales[value] = _scale(*ranges[same[value]])
    for op in graph.operators:
        if isinstance(op, Pool):
            scales[op.output] = scales[op.inputs[0]]
        elif isinstance(op, Sigmoid):
            scales[op.output] = SIGMOID
    return scales


def _scale(low: float, high: float) -> Scale:
    low, high = min(low, 0.0), max(high, 0.0)
    step = float(np.float32(max((high - low) / (HIGH - LOW), SMALLEST)))
    return Scale(step, max(LOW, min(HIGH, round(LOW - low / step))))


def _runs(graph: Graph, pictures: Tensor) -> Iterator[tuple[Operator, tuple[Tensor, ...], Tensor]]:
    """Yield each operator, its inputs and its output in float."""
    kept = {graph.picture: pictures}
    for op in graph.operators:
        inputs = tuple(kept[value] for value in op.inputs)
        kept[op.output] = op.run(*inputs)
        yield op, inputs, kept[op.output]
        needed = _needed_after(graph, op)
        kept = {value: x for value, x in kept.items() if value in needed}


def _needed_after(graph: Graph, op: Operator) -> set[Value]:
    behind = graph.operators[graph.operators.index(op) + 1 :]
    return {value for later in behind for value in later.inputs}


def _layer(op: Conv, exact: Tensor, found: Tensor, scale: float) -> tuple[Layer, Tensor]:
    """Return ``op`` in 8 bits for inputs of ``scale``, and its output before the activation.

    The mean shift of a channel by the rounding is subtracted from its bias.
    """
    rows = op.weight.flatten(1)
    # A channel without weights still has its bias.
    least = op.bias.double().abs() / MOST_BIAS / scale
    step = torch.maximum(best_step(rows), least)
    if isinstance(op, Linear):
        step = torch.maximum(best_step(rows.reshape(1, -1)), least.amax()).expand(len(rows))
    # As the file will have it.
    step = step.float().double()
    if op.depthwise:
        whole = (rows.double() / step[:, None]).round().clamp(-LEVELS, LEVELS)
    else:
        taps = op.weight.shape[2:]
        inputs = functional.unfold(op.padded(found), (taps[0], taps[1]))
        whole, _ = feed_back(rows, inputs.transpose(1, 2).flatten(0, 1), step)
    weight = (whole * step[:, None]).float().reshape(op.weight.shape)
    correct = op.sums(exact, op.weight, op.bias)
    sums = op.sums(found, weight, op.bias)
    shift = (correct - sums).mean((0, 2, 3))
    unit = step * scale
    bias = ((op.bias + shift).double() / unit).round()
    sums = op.sums(found, weight, (bias * unit).float())
    return Layer(
        whole.reshape(op.weight.shape).to(torch.int8).numpy(),
        bias.to(torch.int32).numpy(),
        step[: 1 if isinstance(op, Linear) else None].float().numpy(),
    ), sums
