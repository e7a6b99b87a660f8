"""Checks of an untrusted ONNX graph, before a runtime reads it.

A digest says that a file is whole, not who wrote it, and a few hundred bytes can describe a loop
of 2^62 turns or a tensor of terabytes.
"""

from __future__ import annotations

import math
from pathlib import Path

import onnx

from ghostnet_small.errors import InputError

# The operators of exports of the networks here, and other pure functions of the field's small
# networks. Each computes its outputs once, in the size that shape inference gives. Nothing here
# holds a graph of its own (Loop, If, Scan) or makes tensors out of nothing (ConstantOfShape, Range,
# Expand, Tile, random numbers).
OPERATORS = frozenset(
    (  # noqa: SIM905 - a line for each of fifty names tells less
        "Abs Add AveragePool BatchNormalization Cast Clip Concat Constant Conv DequantizeLinear "
        "Div Elu Erf Exp Flatten Gather Gelu Gemm GlobalAveragePool GlobalMaxPool HardSigmoid "
        "HardSwish Identity LayerNormalization LeakyRelu Log LogSoftmax MatMul Max MaxPool Min Mul "
        "Neg Pad Pow PRelu QuantizeLinear Reciprocal ReduceMax ReduceMean ReduceSum Relu Reshape "
        "Resize Shape Sigmoid Slice Softmax Split Sqrt Squeeze Sub Tanh Transpose Unsqueeze"
    ).split()
)
# For one image: the values of one tensor (1 GiB of float32), and the products of all nodes.
MOST_VALUES, MOST_WORK = 1 << 28, 1 << 40
MOST_NODES = 100_000
# A padding, a stride, an axis.
MOST_NUMBER = 1 << 31


def check_graph(content: bytes, path: Path) -> None:
    """Raise ``InputError`` unless ``content``, the file ``path``, is a graph of bounded memory and
    time, which are known before it runs."""
    try:
        model = onnx.ModelProto.FromString(content)
        _check_parts(model)
        _check_sizes(_of_one_image(model))
    except _Refused as refused:
        raise InputError(
            f"{path} {refused}; that is not what export writes: export the run again, or, if "
            "you trust its maker, evaluate or predict with --trust"
        ) from None
    # Protobuf and shape inference have errors of their own, without a common class.
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(
            f"{path} is no network of computable sizes ({reason:.200}); export the run again"
        ) from None


class _Refused(Exception):
    """The file is refused; the message says what it does."""


def _check_parts(model: onnx.ModelProto) -> None:
    graph = model.graph
    if model.functions or model.training_info or graph.sparse_initializer:
        raise _Refused("brings functions, a training or sparse tensors of its own")
    if len(graph.node) > MOST_NODES:
        raise _Refused(f"has {len(graph.node)} nodes, more than {MOST_NODES}")
    for node in graph.node:
        if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx"):
            name = f"{node.domain}.{node.op_type}".lstrip(".")
            raise _Refused(f"uses the operator {name!r:.60}")
        for attribute in node.attribute:
            if any(abs(number) > MOST_NUMBER for number in (attribute.i, *attribute.ints)):
                raise _Refused(f"has {attribute.name!r:.60} of {node.op_type} far out of range")
            if attribute.HasField("g") or attribute.graphs:
                raise _Refused(f"has a graph inside {node.op_type}")
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                raise _Refused(f"has a sparse tensor inside {node.op_type}")
            if _is_external(attribute.t) or any(map(_is_external, attribute.tensors)):
                raise _Refused("keeps numbers in another file")
    if any(map(_is_external, graph.initializer)):
        raise _Refused("keeps numbers in another file")


def _is_external(tensor: onnx.TensorProto) -> bool:
    return tensor.data_location == onnx.TensorProto.EXTERNAL or len(tensor.external_data) > 0


def _of_one_image(model: onnx.ModelProto) -> onnx.GraphProto:
    """Return the graph with the sizes of all tensors for a batch of one, inferred again, because
    those in the file may be wrong."""
    graph = model.graph
    del graph.value_info[:]
    for end in (*graph.input, *graph.output):
        dims = end.type.tensor_type.shape.dim
        if dims:
            dims[0].dim_value = 1
    inferred = onnx.shape_inference.infer_shapes(
        model, check_type=True, strict_mode=True, data_prop=True
    )
    found: onnx.GraphProto = inferred.graph
    return found


def _check_sizes(graph: onnx.GraphProto) -> None:
    shapes: dict[str, tuple[int, ...]] = {
        tensor.name: tuple(tensor.dims) for tensor in graph.initializer
    }
    for end in (*graph.input, *graph.value_info, *graph.output):
        kind = end.type.tensor_type
        dims = kind.shape.dim
        # A size below zero has overflowed.
        if kind.HasField("shape") and all(
            dim.HasField("dim_value") and dim.dim_value >= 0 for dim in dims
        ):
            shapes[end.name] = tuple(dim.dim_value for dim in dims)
    work = 0
    for node in graph.node:
        for name in node.output:
            if name and name not in shapes:
                raise _Refused(f"does not say how large {name!r:.60} of {node.op_type} is")
        sizes = [shapes[name] for name in (*node.input, *node.output) if name in shapes]
        largest = max(math.prod(size) for size in sizes)
        if largest > MOST_VALUES:
            raise _Refused(f"asks for {largest:,} values in one tensor, more than {MOST_VALUES:,}")
        work += largest * _products(node, shapes)
    if work > MOST_WORK:
        raise _Refused(f"asks for {work:,} products an image, more than {MOST_WORK:,}")


def _products(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> int:
    """Return how many products ``node`` takes at most for each value of its largest tensor."""
    if node.op_type in ("AveragePool", "MaxPool"):
        sides = next((a.ints for a in node.attribute if a.name == "kernel_shape"), ())
        return math.prod(sides)
    if node.op_type == "Conv":
        # (O, I / groups, kh, kw)
        return math.prod(shapes[node.input[1]][1:])
    if node.op_type in ("Gemm", "MatMul"):
        return max(shapes[node.input[1]])
    return 1
