"""Stretching by whole numbers as XNNPACK can do it: copies side by side.

ExecuTorch leaves ``upsample_nearest2d`` to a slow kernel of its own, and each cuts the network in
two programs for XNNPACK, with the pictures' channels moved to the front and back again between
them. Here it is taught to write the stretch as concatenations, of whose output only the shape is
read otherwise.
"""

from __future__ import annotations

from typing import Any

import torch
from executorch.backends.xnnpack.operators.node_visitor import NodeVisitor, register_node_visitor
from executorch.backends.xnnpack.partition.config import ALL_PARTITIONER_CONFIGS
from executorch.backends.xnnpack.partition.config.generic_node_configs import (
    GenericNodePartitionerConfig,
)
from executorch.backends.xnnpack.partition.config.xnnpack_config import ConfigPrecisionType
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.backends.xnnpack.serialization import xnnpack_graph_schema as schema
from executorch.backends.xnnpack.utils.utils import get_input_node
from executorch.backends.xnnpack.utils.xnnpack_constants import XNN_INVALID_VALUE_ID

# As many as XNNPACK concatenates in one step.
MOST_COPIES = 5
CONCATENATIONS = {
    2: schema.XNNConcatenate2,
    3: schema.XNNConcatenate3,
    4: schema.XNNConcatenate4,
    5: schema.XNNConcatenate5,
}


def partitioner() -> XnnpackPartitioner:
    """What gives XNNPACK all that it can run, stretching by whole numbers included."""
    return XnnpackPartitioner(configs=[*ALL_PARTITIONER_CONFIGS, NearestConfig])


class NearestConfig(GenericNodePartitionerConfig):
    """Which of the operators named ``target_name`` XNNPACK is given."""

    target_name = "upsample_nearest2d.vec"

    def supported_precision_types(self) -> list[ConfigPrecisionType]:
        """Floats: whole numbers are stretched where they are floats again."""
        return [ConfigPrecisionType.FP32]

    def get_original_aten(self) -> torch._ops.OpOverload:
        """The operator, which therefore is not taken apart into indexing."""
        return torch.ops.aten.upsample_nearest2d.vec

    def check_constraints(self, node: torch.fx.Node, ep: Any) -> bool:
        """Whether both sizes are stretched by whole numbers."""
        return self.check_common_constraints(node, ep) and _copies(node) is not None


def _copies(node: torch.fx.Node) -> tuple[int, int] | None:
    """How many times ``node`` repeats each row and column; None where that is no whole number."""
    before, after = get_input_node(node, 0).meta["val"].shape[2:], node.meta["val"].shape[2:]
    if not all(isinstance(n, int) for n in (*before, *after)):
        return None
    if any(b % a or b // a > MOST_COPIES for a, b in zip(before, after, strict=True)):
        return None
    return after[0] // before[0], after[1] // before[1]


@register_node_visitor
class NearestVisitor(NodeVisitor):
    """Writes the operator named ``target`` for XNNPACK."""

    target = "aten.upsample_nearest2d.vec"

    def define_node(
        self,
        node: torch.fx.Node,
        xnn_graph: schema.XNNGraph,
        vals_to_ids: dict[torch.fx.Node, int],
        debug_handle: int,
    ) -> None:
        """Two concatenations: each number, or all channels of a pixel, then each row."""
        source = get_input_node(node, 0)
        self.define_nodes_tensor_inputs_outputs(node, xnn_graph, vals_to_ids)
        copies = _copies(node)
        assert copies is not None
        pictures, channels, high, wide = source.meta["val"].shape
        if node.meta.get("XNN_NHWC_NODE", False):
            most, least = pictures, channels
            final = [pictures, high * copies[0], wide * copies[1], channels]
        else:
            most, least = pictures * channels, 1
            final = [pictures, channels, high * copies[0], wide * copies[1]]
        write = _Writer(xnn_graph, debug_handle)
        value = write.view(vals_to_ids[source], [most, high, wide, least])
        value = write.repeat(value, [most, high, wide, least], copies[1])
        row = wide * copies[1] * least
        value = write.view(value, [most, high, row])
        value = write.repeat(value, [most, high, row], copies[0])
        write.view(value, final, vals_to_ids[node])


class _Writer:
    """Adds steps to a graph of XNNPACK, and the values between them."""

    def __init__(self, graph: schema.XNNGraph, debug_handle: int) -> None:
        self._graph, self._handle = graph, debug_handle

    def view(self, value: int, shape: list[int], into: int | None = None) -> int:
        """``value`` under another shape."""
        into = self._value(shape) if into is None else into
        self._step(
            schema.XNNStaticReshape(
                num_dims=len(shape), new_shape=shape, input_id=value, output_id=into, flags=0
            )
        )
        return into

    def repeat(self, value: int, shape: list[int], copies: int) -> int:
        """``copies`` of ``value``, which has ``shape``, side by side in the last dimension."""
        if copies == 1:
            return value
        into = self._value([*shape[:-1], shape[-1] * copies])
        ids = [value] * copies + [XNN_INVALID_VALUE_ID] * (MOST_COPIES - copies)
        names = (f"input{number + 1}_id" for number in range(MOST_COPIES))
        self._step(
            CONCATENATIONS[copies](
                axis=len(shape) - 1, output_id=into, flags=0, **dict(zip(names, ids, strict=True))
            )
        )
        return into

    def _value(self, shape: list[int]) -> int:
        number = len(self._graph.xvalues)
        value = schema.XNNTensorValue(
            datatype=schema.XNNDatatype.xnn_datatype_fp32,
            num_dims=len(shape),
            dims=shape,
            constant_buffer_idx=0,
            external_id=XNN_INVALID_VALUE_ID,
            flags=0,
            id_out=number,
        )
        self._graph.xvalues.append(schema.XValue(xvalue_union=value))
        return number

    def _step(self, union: Any) -> None:
        self._graph.xnodes.append(schema.XNode(xnode_union=union, debug_handle=self._handle))
