"""The network as the operators of a LiteRT file, of maps whose channels lie side by side (NHWC).

There is no padding operator: LiteRT pads a strided convolution at its far edge, and a row and a
column of zeros in the kernel move it back. A gate is stretched by broadcasting, not by resizing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ghostnet_small.deploy.c.plan import Depth, Head, Map, Plan, Point, Squeeze, Stem, Step, plan_of
from ghostnet_small.deploy.c.plan import Gate as GateStep
from ghostnet_small.deploy.c.plan import Pool as PoolStep
from ghostnet_small.deploy.deployable import Deployable
from ghostnet_small.deploy.description import Description

Activation = Literal["none", "relu", "relu6"]
# A squeeze's hard sigmoid is relu6(x + 3) / 6; the layer behind takes the sixth into its weights.
SIXTH = 6


@dataclass(eq=False)
class Value:
    """A map of one image, ``(1, height, width, channels)`` in the file."""

    name: str
    channels: int
    height: int = 1
    width: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in the file."""
        return (1, self.height, self.width, self.channels)


class Vector(Value):
    """A number for each channel, ``(1, channels)`` in the file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in the file."""
        return (1, self.channels)


@dataclass(frozen=True, eq=False)
class Operator:
    """An operator from ``inputs`` to ``output``, by whose name it is known."""

    inputs: tuple[Value, ...]
    output: Value

    def run(self, *inputs: Tensor) -> Tensor:
        """Return the output ``(N, C, H, W)`` in float."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Conv(Operator):
    """A convolution padded as LiteRT's SAME does: dense, or of each channel by itself.

    ``weight`` ``(O, I, h, w)``, or ``(C, 1, h, w)`` where ``depthwise``.
    """

    weight: Tensor
    bias: Tensor
    activation: Activation = "none"
    stride: int = 1
    depthwise: bool = False

    def padded(self, x: Tensor) -> Tensor:
        """Return ``x`` with the zeros around it."""
        rows, columns = (
            same_padding(size, kernel, self.stride)
            for size, kernel in zip(x.shape[2:], self.weight.shape[2:], strict=True)
        )
        return functional.pad(x, (*columns, *rows))

    def sums(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return the output before the activation, by another ``weight`` and ``bias``."""
        groups = x.shape[1] if self.depthwise else 1
        return functional.conv2d(self.padded(x), weight, bias, self.stride, groups=groups)

    def activated(self, x: Tensor) -> Tensor:
        """Return ``x`` behind the activation."""
        if self.activation == "none":
            return x
        return functional.relu(x) if self.activation == "relu" else functional.relu6(x)

    def run(self, *inputs: Tensor) -> Tensor:
        """See the base class."""
        return self.activated(self.sums(inputs[0], self.weight, self.bias))


class Linear(Conv):
    """A linear layer of vectors; ``weight`` ``(O, I, 1, 1)``. In 8 bits it has one scale, because
    tflite-micro keeps eight bytes for each channel that has one of its own."""


class Pool(Operator):
    """The means of 2x2 pixels."""

    def run(self, *inputs: Tensor) -> Tensor:
        """See the base class."""
        return functional.avg_pool2d(inputs[0], 2)


class Mean(Operator):
    """The mean of each channel."""

    def run(self, *inputs: Tensor) -> Tensor:
        """See the base class."""
        return inputs[0].mean((2, 3), keepdim=True)


class Sigmoid(Operator):
    """The sigmoid."""

    def run(self, *inputs: Tensor) -> Tensor:
        """See the base class."""
        return torch.sigmoid(*inputs)


class Concat(Operator):
    """Channels one behind the other."""

    def run(self, *inputs: Tensor) -> Tensor:
        """See the base class."""
        return torch.cat(inputs, 1)


class Sum(Operator):
    """The sum of two maps."""

    def run(self, *inputs: Tensor) -> Tensor:
        """See the base class."""
        return inputs[0] + inputs[1]


class Product(Operator):
    """A map times one of a smaller size, stretched to the nearest pixels."""

    def run(self, *inputs: Tensor) -> Tensor:
        """See the base class."""
        return inputs[0] * functional.interpolate(inputs[1], size=inputs[0].shape[2:])


@dataclass(frozen=True)
class Graph:
    """Operators in order, from the normalised ``picture`` to the ``logits``."""

    operators: tuple[Operator, ...]
    picture: Value
    logits: Value


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return LiteRT's zeros before and behind ``size`` pixels."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def graph_of(plan: Plan) -> Graph:
    """Return the operators of ``plan``."""
    build = _Builder(plan.picture)
    for step in plan.steps:
        match step:
            case Stem(conv=conv):
                build.conv(step, conv, "relu")
            case Point(conv=conv, relu=relu):
                build.conv(step, conv, "relu" if relu else "none")
            case Depth(conv=conv, relu=relu, add=add):
                build.depth(step, conv, "relu" if relu else "none", add)
            case PoolStep():
                source = build.at[step.source]
                made = build.value(step.name, step.target.channels, step.target)
                build.add(Pool((source,), made), step.target)
            case GateStep():
                build.gate(step)
            case Squeeze():
                build.squeeze(step)
            case Head():
                build.head(step)
    return Graph(tuple(build.operators), build.at[plan.picture], build.at[plan.logits])


class _Builder:
    def __init__(self, picture: Map) -> None:
        self.operators: list[Operator] = []
        # What is where a step of the plan reads and writes.
        self.at = {picture: self.value("picture", picture.channels, picture)}
        # Maps that are so many times as large as they should be.
        self.times: dict[Map, int] = {}

    def value(self, name: str, channels: int, like: Map | Value) -> Value:
        return Value(name, channels, like.height, like.width)

    def add(self, operator: Operator, target: Map | None = None) -> Value:
        self.operators.append(operator)
        if target is not None:
            self.at[target] = operator.output
        return operator.output

    def conv(self, step: Step, conv: nn.Conv2d, activation: Activation) -> None:
        weight = conv.weight.detach() / self.times.get(step.source, 1)
        made = self.value(step.name, conv.out_channels, step.target)
        source = self.at[step.source]
        self.add(Conv((source,), made, weight, _bias(conv), activation), step.target)

    def depth(self, step: Depth, conv: nn.Conv2d, activation: Activation, more: Map | None) -> None:
        source = self.at[step.source]
        made = self.value(step.name, conv.out_channels, step.target)
        half = self.add(_depthwise(source, made, conv, activation), step.target)
        if step.source is step.target:
            both = self.value(f"{step.name}.both", step.target.channels, step.target)
            self.add(Concat((source, half), both), step.target)
        if more is not None:
            total = self.value(f"{step.name}.sum", step.target.channels, step.target)
            self.add(Sum((self.at[step.target], self.at[more]), total), step.target)

    def gate(self, step: GateStep) -> None:
        x = self.at[step.source]
        for part, conv in (("across", step.horizontal), ("down", step.vertical)):
            made = self.value(f"{step.name}.{part}", conv.out_channels, x)
            x = self.add(_depthwise(x, made, conv, "none"))
        x = self.add(Sigmoid((x,), self.value(f"{step.name}.sigmoid", x.channels, x)))
        product = self.value(f"{step.name}.product", step.target.channels, step.target)
        self.add(Product((self.at[step.target], x), product), step.target)

    def squeeze(self, step: Squeeze) -> None:
        source, part = self.at[step.source], step.part
        mean = self.add(Mean((source,), Vector(f"{step.name}.mean", source.channels)))
        reduce, expand = part.reduce, part.expand
        few = Vector(f"{step.name}.reduce", reduce.out_channels)
        x = self.add(Linear((mean,), few, reduce.weight.detach(), _bias(reduce), "relu"))
        all = Vector(f"{step.name}.expand", expand.out_channels)
        x = self.add(Linear((x,), all, expand.weight.detach(), _bias(expand) + 3, "relu6"))
        product = self.value(f"{step.name}.product", source.channels, source)
        self.add(Product((source, x), product), step.target)
        self.times[step.target] = SIXTH

    def head(self, step: Head) -> None:
        source = self.at[step.source]
        mean = self.add(Mean((source,), Vector("head.mean", source.channels)))
        head, classifier = step.head, step.classifier
        features = Vector("head", head.out_channels)
        x = self.add(Linear((mean,), features, head.weight.detach(), _bias(head), "relu"))
        weight, logits = classifier.weight.detach(), Vector("classifier", classifier.out_features)
        last = Linear((x,), logits, weight[:, :, None, None], _bias(classifier))
        self.add(last, step.target)


def _depthwise(source: Value, made: Value, conv: nn.Conv2d, activation: Activation) -> Conv:
    """Return ``conv``, padded on both sides, as one that LiteRT pads."""
    weight = conv.weight.detach()
    stride = conv.stride[0]
    for dim, size in ((2, source.height), (3, source.width)):
        kernel = weight.shape[dim]
        if same_padding(size, kernel, stride)[0] < kernel // 2:
            weight = torch.cat((weight, torch.zeros_like(weight.narrow(dim, 0, 1))), dim)
        assert same_padding(size, weight.shape[dim], stride)[0] == kernel // 2
    return Conv((source,), made, weight, _bias(conv), activation, stride, depthwise=True)


def _bias(conv: nn.Conv2d | nn.Linear) -> Tensor:
    assert conv.bias is not None
    return conv.bias.detach()


def graph_for(network: Deployable, description: Description) -> Graph:
    """Return the operators of ``network``, folded, for what the ``description`` says goes in.

    Raises ``InputError`` for a network that ``plan_of`` does not know.
    """
    graph = graph_of(plan_of(network.network, description.size))
    return with_pixels(graph, network.scale, network.shift) if network.pixels else graph


def with_pixels(graph: Graph, scale: Tensor, shift: Tensor) -> Graph:
    """Return ``graph`` of pixels 0 .. 255, which ``scale`` and ``shift`` of ``(C, 1, 1)`` normalise
    first."""
    normal = replace(graph.picture, name="normalised")
    pixels = graph.picture
    first = Conv((pixels,), normal, scale[..., None], shift.flatten(), depthwise=True)
    rest = [
        replace(op, inputs=tuple(normal if x is pixels else x for x in op.inputs))
        for op in graph.operators
    ]
    return Graph((first, *rest), pixels, graph.logits)
