"""The plan's layers and maps in 8 bits: weights by error feedback, ranges from images.

A map's channel holds ``value / scale + zero`` as a byte, or, where the map is wide,
``value / scale`` in 14 bits. A layer's weights, with the scales of its input multiplied in, are
whole numbers of -127 .. 127 times a step for each output. Calibration runs images through the
plan twice side by side, in float32 and as far as it is quantised.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from ghostnet_small.deploy.c.grids import MARGIN, SMALLEST, Grid, grid_of, joined
from ghostnet_small.deploy.c.plan import (
    Depth,
    Gate,
    Head,
    Map,
    Plan,
    Point,
    Pool,
    Squeeze,
    Stem,
    Step,
)

LEVELS = 127
# The gate keeps the result of its first convolution in 16 bits.
HALF_LEVELS = 32767
# Share of the mean squared input that is added to each input's own, for a stable inverse.
DAMPING = 0.001


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer in whole numbers: ``sum(weight * byte) + bias`` steps.

    ``weight`` int8 ``(O, I * taps)``; ``bias`` int32 ``(O,)``, the inputs' zeros taken off;
    ``step`` float32 ``(O,)``.
    """

    weight: Tensor
    bias: Tensor
    step: Tensor


@dataclass(frozen=True)
class Quantized:
    """The data for the code of a step: its layers, and the grids of its inputs and outputs.

    ``add``: the grid of the shortcut, or of the values between a gate's convolutions; ``before``:
    the grid of the values that a gate multiplies.
    """

    step: Step
    layers: tuple[Layer, ...]
    source: Grid
    target: Grid
    add: Grid | None = None
    before: Grid | None = None


@torch.no_grad()
def quantize(plan: Plan, pictures: Tensor, grid: Grid) -> tuple[list[Quantized], Tensor]:
    """Return the plan's steps in 8 bits, calibrated on normalised ``pictures`` float32
    ``(N, C, H, W)``, which lie on ``grid``; and their quantised logits ``(N, K)``."""
    run = _Calibration(plan.picture, pictures, grid)
    steps = [run.step(step) for step in plan.steps]
    return steps, run.exact[plan.logits][1].flatten(1)


def blank(plan: Plan) -> list[Quantized]:
    """Return the plan's steps in 8 bits, as ``quantize`` returns them, with placeholder numbers:
    those of each layer and of each map are its own, so that equal tables are those that follow
    from the same numbers.
    """
    numbers: dict[Map, int] = {}

    def grid(part: Map, channels: int) -> Grid:
        number = float(numbers.setdefault(part, len(numbers) + 1))
        return Grid(torch.full((channels,), number), torch.full((channels,), number))

    return [_blank(step, row, grid) for row, step in enumerate(plan.steps)]


def _blank(step: Step, row: int, grid: Callable[[Map, int], Grid]) -> Quantized:
    layers: tuple[nn.Conv2d | nn.Linear, ...] = ()
    source, target = step.source.channels, step.target.channels
    match step:
        case Stem(conv=conv) | Point(conv=conv):
            layers, target = (conv,), conv.out_channels
        case Depth(conv=conv, add=add):
            layers, source = (conv,), conv.out_channels
            if add is None:
                target = source
        case Gate(horizontal=horizontal, vertical=vertical):
            layers = (horizontal, vertical)
        case Squeeze(part=part):
            layers = (part.reduce, part.expand)
        case Head(head=head, classifier=classifier):
            layers = (head, classifier)
    made: list[Layer] = []
    for layer in layers:
        own = 1 + (2 * row + len(made)) % LEVELS
        made.append(
            Layer(
                torch.full_like(layer.weight.flatten(1), own, dtype=torch.int8),
                torch.full((len(layer.weight),), float(own)),
                torch.full((len(layer.weight),), 1000.0 + own),
            )
        )
    inner = Grid(torch.full((target,), 500.0 + row), torch.full((target,), float(row)))
    of_target = grid(step.target, target)
    add_grid = grid(step.add, target) if isinstance(step, Depth) and step.add else inner
    return Quantized(step, tuple(made), grid(step.source, source), of_target, add_grid, of_target)


class _Calibration:
    def __init__(self, picture: Map, pictures: Tensor, grid: Grid) -> None:
        # The values of every map in float32, and quantised.
        self.exact: dict[Map, tuple[Tensor, Tensor]] = {picture: (pictures, pictures)}
        self.grids = {picture: grid}

    def step(self, step: Step) -> Quantized:
        source = self.grids[step.source]
        exact, rounded = self.exact[step.source]
        match step:
            case Stem(conv=conv) | Point(conv=conv):
                relu = not isinstance(step, Point) or step.relu
                layer, exact, rounded = self.conv(conv, exact, rounded, source, relu)
                return self.made(step, (layer,), source, exact, rounded)
            case Depth(conv=conv, relu=relu, add=add):
                layer, half, rounded_half = self.conv(conv, exact, rounded, source, relu)
                if step.source is not step.target:
                    return self.made(step, (layer,), source, half, rounded_half)
                if add is None:
                    grid = grid_of(half, step.target.wide)
                    rounded_half = grid.round(rounded_half)
                    self.grids[step.target] = joined(source, grid)
                    self.exact[step.target] = (
                        torch.cat((exact, half), 1),
                        torch.cat((rounded, rounded_half), 1),
                    )
                    return Quantized(step, (layer,), source, grid)
                more, rounded_more = self.exact[add]
                exact = torch.cat((exact, half), 1) + more
                rounded = torch.cat((rounded, rounded_half), 1) + rounded_more
                return self.made(step, (layer,), source, exact, rounded, self.grids[add])
            case Pool():
                self.exact[step.target] = (
                    functional.avg_pool2d(exact, 2),
                    source.round(functional.avg_pool2d(rounded, 2)),
                )
                self.grids[step.target] = source
                return Quantized(step, (), source, source)
            case Gate(horizontal=horizontal, vertical=vertical):
                first, exact, rounded = self.conv(horizontal, exact, rounded, source, False)
                bound = (MARGIN * exact.abs().amax((0, 2, 3))).clamp_min(SMALLEST)
                middle = Grid(bound / HALF_LEVELS, torch.zeros_like(bound))
                fixed, exact, rounded = self.conv(vertical, exact, rounded, middle, False)
                gated = self.grids[step.target]
                values, rounded_values = self.exact[step.target]
                size = values.shape[-2:]
                exact = values * functional.interpolate(torch.sigmoid(exact), size=size)
                rounded = rounded_values * functional.interpolate(torch.sigmoid(rounded), size=size)
                made = self.made(step, (first, fixed), source, exact, rounded, middle)
                return replace(made, before=gated)
            case Squeeze(part=part):
                mean, rounded_mean = (t.mean((2, 3), keepdim=True) for t in (exact, rounded))
                first, a, b = self.linear(part.reduce, mean, rounded_mean, True)
                second, a, b = self.linear(part.expand, a, b, False)
                exact = exact * (functional.relu6(a + 3) / 6)
                rounded = rounded * (functional.relu6(b + 3) / 6)
                return self.made(step, (first, second), source, exact, rounded)
            case Head(head=head, classifier=classifier):
                mean, rounded_mean = (t.mean((2, 3), keepdim=True) for t in (exact, rounded))
                first, a, b = self.linear(head, mean, rounded_mean, True)
                second, a, b = self.linear(classifier, a.flatten(1), b.flatten(1), False)
                self.exact[step.target] = (a, b)
                return Quantized(step, (first, second), source, source)
        raise AssertionError(step)

    def made(
        self,
        step: Step,
        layers: tuple[Layer, ...],
        source: Grid,
        exact: Tensor,
        rounded: Tensor,
        add: Grid | None = None,
    ) -> Quantized:
        """Return the step's whole target, at its own grid."""
        grid = grid_of(exact, step.target.wide)
        self.grids[step.target] = grid
        self.exact[step.target] = (exact, grid.round(rounded))
        return Quantized(step, layers, source, grid, add)

    def conv(
        self, conv: nn.Conv2d, exact: Tensor, rounded: Tensor, grid: Grid, relu: bool
    ) -> tuple[Layer, Tensor, Tensor]:
        """Return a convolution in integers, its exact output and the quantised one."""
        taps = conv.weight[0, 0].numel()
        if conv.groups == 1:
            scale = grid.scale.repeat_interleave(taps)
            zero = grid.zero.repeat_interleave(taps)
            weight = conv.weight.flatten(1) * scale
            inputs = _inputs(conv, rounded) / scale
            whole, step = feed_back(weight, inputs)
            zeros = whole @ zero.double()
            used = whole * step[:, None] / scale
        else:
            weight = conv.weight.flatten(1) * grid.scale[:, None]
            step = best_step(weight)
            whole = _whole(weight, step)
            zeros = whole.sum(1) * grid.zero.double()
            used = whole * step[:, None] / grid.scale[:, None].double()
        kernel = used.float().reshape(conv.weight.shape)
        correct = _run(conv, exact, conv.weight, conv.bias)
        found = _run(conv, rounded, kernel, conv.bias)
        assert conv.bias is not None
        # The mean shift of a channel by the rounding of its weights is subtracted from its bias.
        bias = conv.bias + (correct - found).mean((0, 2, 3))
        steps = (bias.double() / step).round()
        found = _run(conv, rounded, kernel, (steps * step).float())
        layer = Layer(whole.to(torch.int8), (steps - zeros).round().int(), step.float())
        if relu:
            return layer, functional.relu(correct), functional.relu(found)
        return layer, correct, found

    def linear(
        self, layer: nn.Conv2d | nn.Linear, exact: Tensor, rounded: Tensor, relu: bool
    ) -> tuple[Layer, Tensor, Tensor]:
        """Return a layer of one value a channel, whose inputs the code rounds finely itself; its
        bias, and so ``Layer.bias``, stays in float32."""
        shape = exact.shape[2:]
        rows, rounded_rows = exact.flatten(1), rounded.flatten(1)
        weight = layer.weight.flatten(1)
        whole, step = feed_back(weight, rounded_rows)
        assert layer.bias is not None
        correct = functional.linear(rows, weight, layer.bias)
        found = functional.linear(rounded_rows, (whole * step[:, None]).float(), layer.bias)
        bias = layer.bias + (correct - found).mean(0)
        found = found + (bias - layer.bias)
        if relu:
            correct, found = functional.relu(correct), functional.relu(found)
        made = Layer(whole.to(torch.int8), bias, step.float())
        return made, correct.reshape(*correct.shape, *shape), found.reshape(*found.shape, *shape)


def best_step(weight: Tensor) -> Tensor:
    """Return for every row of ``weight`` the step, float64 ``(O,)``, of least rounding error."""
    rows = weight.double()
    largest = rows.abs().amax(1).clamp_min(1e-30) / LEVELS
    shares = torch.linspace(0.6, 1, 21, dtype=torch.float64)
    errors = torch.stack(
        [
            (_whole(rows, largest * share) * (largest * share)[:, None] - rows).square().sum(1)
            for share in shares
        ]
    )
    # In float32, as the code will have it.
    return (largest * shares[errors.argmin(0)]).float().double()


def feed_back(weight: Tensor, inputs: Tensor, step: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return ``weight`` ``(O, I)`` as integers and steps that give nearly the same outputs for
    ``inputs`` ``(M, I)``: later columns compensate the rounding error of earlier ones.

    ``step``, one for each output, is the best of each where None.

    Source: arXiv:2210.17323, algorithm 1, with the columns in falling order of their inputs.
    """
    step = best_step(weight) if step is None else step
    moments = inputs.double().T @ inputs.double()
    energy = moments.diagonal()
    moments = moments + torch.eye(len(moments), dtype=torch.float64) * (
        DAMPING * energy.mean() + torch.finfo(torch.float32).tiny
    )
    order = energy.argsort(descending=True, stable=True)
    rest = weight.double()[:, order]
    inverse = torch.linalg.inv(moments[order][:, order])
    spread = torch.linalg.cholesky((inverse + inverse.T) / 2, upper=True)
    whole = torch.zeros_like(rest)
    for column in range(rest.shape[1]):
        whole[:, column] = (rest[:, column] / step).round().clamp(-LEVELS, LEVELS)
        error = (rest[:, column] - whole[:, column] * step) / spread[column, column]
        rest[:, column + 1 :] -= error[:, None] * spread[column, column + 1 :]
    return whole[:, order.argsort()], step


def _whole(weight: Tensor, step: Tensor) -> Tensor:
    return (weight.double() / step[:, None]).round().clamp(-LEVELS, LEVELS)


def _run(conv: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return functional.conv2d(
        x,
        weight,
        bias,
        conv.stride,
        _padding(conv),
        groups=conv.groups,
    )


def _inputs(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Return the inputs of each output place of a dense convolution, ``(M, I * taps)``."""
    if conv.weight.shape[-1] == 1:
        return x.permute(0, 2, 3, 1).flatten(0, 2)
    places = functional.unfold(x, conv.kernel_size, padding=_padding(conv))
    return places.transpose(1, 2).flatten(0, 1)


def _padding(conv: nn.Conv2d) -> tuple[int, int]:
    assert not isinstance(conv.padding, str)
    return conv.padding[0], conv.padding[1]
