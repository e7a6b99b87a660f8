"""The bytes of a LiteRT file for a graph, its numbers and its description."""

from __future__ import annotations

from collections.abc import Sequence

import ai_edge_litert.schema_py_generated as schema
import numpy as np

from ghostnet_small.deploy.description import KEY, Description
from ghostnet_small.deploy.litert.flatbuffer import Flatbuffer, Places
from ghostnet_small.deploy.litert.graph import (
    Concat,
    Conv,
    Graph,
    Linear,
    Mean,
    Operator,
    Pool,
    Product,
    Sigmoid,
    Sum,
    Value,
    Vector,
)
from ghostnet_small.deploy.litert.numbers import PIXEL, PROBABILITY, SIGMOID, Numbers, Scale

INPUT = "pictures"
ACTIVATIONS = {
    "none": schema.ActivationFunctionType.NONE,
    "relu": schema.ActivationFunctionType.RELU,
    "relu6": schema.ActivationFunctionType.RELU6,
}


def content_of(graph: Graph, numbers: Numbers, description: Description) -> tuple[bytes, Places]:
    """Return the file of ``graph`` with ``numbers``, and the places of these in it.

    For pixels, ``graph`` begins with their normalisation; the softmax is added here.
    """
    return _Writer(graph, numbers).content(description)


class _Writer:
    def __init__(self, graph: Graph, numbers: Numbers) -> None:
        self.graph, self.numbers = graph, numbers
        self.kind = "float32" if numbers.scales is None else "int8"
        self.file = Flatbuffer(int8=numbers.scales is not None)
        self.at: dict[Value, int] = {}

    def content(self, description: Description) -> tuple[bytes, Places]:
        file, graph = self.file, self.graph
        picture, logits = graph.picture, graph.logits
        if description.input == "pixels":
            scale = file.scale("pixels", PIXEL.step, 0, blank=False)
            first = file.tensor(INPUT, picture.shape, "uint8", scale=scale)
            made = self.map("pixels", picture.shape, self.fixed("bytes", PIXEL))
            # tflite-micro has no CAST of bytes.
            name = "DEQUANTIZE" if self.numbers.scales is None else "QUANTIZE"
            self.at[picture] = file.call(name, [first], made)
        else:
            first = self.at[picture] = self.map(INPUT, picture.shape, self.scale(picture))
        for op in graph.operators:
            self.at[op.output] = self.operator(op, [self.at[value] for value in op.inputs])
        last = self.at[logits]
        if description.input == "pixels":
            made = self.map("probabilities", logits.shape, self.fixed("probabilities", PROBABILITY))
            last = file.call("SOFTMAX", [last], made, "SoftmaxOptions", Beta=1)
        file.metadata(KEY, description.as_json().encode())
        return file.finish(first, last, description.architecture)

    def operator(self, op: Operator, inputs: list[int]) -> int:
        if isinstance(op, Product):
            return self.product(op, *inputs)
        call = self.file.call
        output = self.map(op.output.name, op.output.shape, self.scale(op.output))
        match op:
            case Conv():
                return self.conv(op, inputs, output)
            case Pool():
                values = {"StrideW": 2, "StrideH": 2, "FilterWidth": 2, "FilterHeight": 2}
                values["Padding"] = schema.Padding.VALID
                return call("AVERAGE_POOL_2D", inputs, output, "Pool2DOptions", **values)
            case Mean():
                axes = self.file.constant(f"{op.output.name}.axes", (1, 2))
                return call("MEAN", [*inputs, axes], output, "ReducerOptions")
            case Sigmoid():
                return call("LOGISTIC", inputs, output)
            case Concat():
                return call("CONCATENATION", inputs, output, "ConcatenationOptions", Axis=3)
            case Sum():
                return call("ADD", inputs, output, "AddOptions")
        raise AssertionError(op)

    def conv(self, op: Conv, inputs: list[int], output: int) -> int:
        name, layer = op.output.name, self.numbers.layers[op.output.name]
        dimension, flat = (3, False) if op.depthwise else (0, isinstance(op, Linear))
        # The channels of the output come last in a depth-wise kernel, and first in the others.
        weight = layer.weight.transpose((1, 2, 3, 0) if op.depthwise else (0, 2, 3, 1))
        weight = weight.reshape(weight.shape[::3]) if flat else weight
        scale, bias_scale = None, None
        if layer.step is not None:
            scale = self.file.channels(f"{name}.weight", layer.step, dimension)
        if flat and layer.step is not None:
            assert self.numbers.scales is not None
            # A linear layer of one scale is checked for it, a convolution is not.
            unit = layer.step * np.float32(self.numbers.scales[op.inputs[0]].step)
            bias_scale = self.file.channels(f"{name}.bias", unit, 0)
        for part, data, of in (("weight", weight, scale), ("bias", layer.bias, bias_scale)):
            kind, label = str(data.dtype), f"{name}.{part}"
            inputs.append(
                self.file.tensor(label, data.shape, kind, data=data, scale=of, blank=True)
            )
        activation = {"FusedActivationFunction": ACTIVATIONS[op.activation]}
        if flat:
            call = self.file.call
            return call("FULLY_CONNECTED", inputs, output, "FullyConnectedOptions", **activation)
        values = {"StrideW": op.stride, "StrideH": op.stride, **activation}
        if not op.depthwise:
            return self.file.call("CONV_2D", inputs, output, "Conv2DOptions", **values)
        values["DepthMultiplier"] = 1
        return self.file.call(
            "DEPTHWISE_CONV_2D", inputs, output, "DepthwiseConv2DOptions", **values
        )

    def product(self, op: Product, x: int, y: int) -> int:
        wide, small = op.inputs
        name, shape = op.output.name, wide.shape
        twice = (wide.height, wide.width) == (2 * small.height, 2 * small.width)
        if twice:
            # Each pixel of the one meets 2x2 of the other, which have axes of their own here.
            shape = (small.height, 2, small.width, 2, small.channels)
            x = self.reshaped(x, shape, wide, f"{name}.wide")
            small_shape = (small.height, 1, small.width, 1, small.channels)
            y = self.reshaped(y, small_shape, small, f"{name}.small")
        elif small.shape != wide.shape and not isinstance(small, Vector):
            size = self.file.constant(f"{name}.size", (wide.height, wide.width))
            made = self.map(f"{name}.stretched", wide.shape, self.scale(small))
            kind = "ResizeNearestNeighborOptions"
            y = self.file.call("RESIZE_NEAREST_NEIGHBOR", [y, size], made, kind)
        made = self.map(name, shape, self.scale(op.output))
        self.file.call("MUL", [x, y], made, "MulOptions")
        return self.reshaped(made, wide.shape, op.output, f"{name}.whole") if twice else made

    def reshaped(self, x: int, shape: Sequence[int], like: Value, name: str) -> int:
        size = self.file.constant(f"{name}.shape", (-1, *shape[1:]))
        made = self.map(name, shape, self.scale(like))
        return self.file.call("RESHAPE", [x, size], made, "ReshapeOptions")

    def map(self, name: str, shape: Sequence[int], scale: int | None) -> int:
        return self.file.tensor(name, shape, self.kind, scale=scale)

    def scale(self, value: Value) -> int | None:
        if self.numbers.scales is None:
            return None
        found = self.numbers.scales[value]
        return self.file.scale(value.name, found.step, found.zero, blank=found != SIGMOID)

    def fixed(self, name: str, scale: Scale) -> int | None:
        if self.numbers.scales is None:
            return None
        return self.file.scale(name, scale.step, scale.zero, blank=False)
