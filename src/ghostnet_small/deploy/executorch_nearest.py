"""Nearest-neighbour upsampling for XNNPACK, as concatenated copies.

ExecuTorch leaves ``upsample_nearest2d`` to a slow kernel of its own. Each one cuts the network into
two programs for XNNPACK, with the images' channels moved to the front and back again between them.
This module writes the upsampling as concatenations instead.
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
# Rows or columns that are put together one by one, where each is not copied as often.
MOST_PARTS = 16
# A value of XNNPACK's graph, and its length in the dimension that it is joined with others in.
Part = tuple[int, int]
CONCATENATIONS = {
    2: schema.XNNConcatenate2,
    3: schema.XNNConcatenate3,
    4: schema.XNNConcatenate4,
    5: schema.XNNConcatenate5,
}


def partitioner() -> XnnpackPartitioner:
    """Return the partitioner that gives XNNPACK all that it can run, upsampling included."""
    return XnnpackPartitioner(configs=[*ALL_PARTITIONER_CONFIGS, NearestConfig])


class NearestConfig(GenericNodePartitionerConfig):
    """Decides which operators named ``target_name`` go to XNNPACK."""

    target_name = "upsample_nearest2d.vec"

    def supported_precision_types(self) -> list[ConfigPrecisionType]:
        """Return the float types: integers are stretched once they are floats again."""
        return [ConfigPrecisionType.FP32]

    def get_original_aten(self) -> torch._ops.OpOverload:
        """Return the operator, which keeps it from being decomposed into indexing."""
        return torch.ops.aten.upsample_nearest2d.vec

    def check_constraints(self, node: torch.fx.Node, ep: Any) -> bool:
        """Return whether both sizes are stretched by few copies or to few parts."""
        if not self.check_common_constraints(node, ep):
            return False
        before, after = get_input_node(node, 0).meta["val"].shape[2:], node.meta["val"].shape[2:]
        return all(
            isinstance(a, int)
            and isinstance(b, int)
            and (b <= MOST_PARTS or (b % a == 0 and b // a <= MOST_COPIES))
            for a, b in zip(before, after, strict=True)
        )


def _sources(before: int, after: int) -> list[int]:
    """Return the row that each row of the stretched image is a copy of."""
    rows = torch.arange(before, dtype=torch.float32)[None, None]
    return torch.nn.functional.interpolate(rows, size=after, mode="nearest")[0, 0].int().tolist()


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
        """Write the columns side by side, each with all its channels, and then the rows."""
        source = get_input_node(node, 0)
        self.define_nodes_tensor_inputs_outputs(node, xnn_graph, vals_to_ids)
        pictures, channels, high, wide = source.meta["val"].shape
        rows, columns = node.meta["val"].shape[2:]
        if node.meta.get("XNN_NHWC_NODE", False):
            most, least, final = pictures, channels, [pictures, rows, columns, channels]
        else:
            most, least, final = pictures * channels, 1, [pictures, channels, rows, columns]
        write = _Writer(xnn_graph, debug_handle)
        value = write.stretch(vals_to_ids[source], [most * high, wide, least], columns)
        value = write.stretch(value, [most, high, columns * least], rows)
        write.view(value, final, vals_to_ids[node])


class _Writer:
    """Adds steps to a graph of XNNPACK, and the values between them."""

    def __init__(self, graph: schema.XNNGraph, debug_handle: int) -> None:
        self._graph, self._handle = graph, debug_handle

    def view(self, value: int, shape: list[int], into: int | None = None) -> int:
        """Return ``value`` under another shape."""
        into = self._value(shape) if into is None else into
        self._step(
            schema.XNNStaticReshape(
                num_dims=len(shape), new_shape=shape, input_id=value, output_id=into, flags=0
            )
        )
        return into

    def stretch(self, value: int, shape: list[int], parts: int) -> int:
        """Return ``value``, seen as ``(A, B, C)``, as ``(A, parts, C)``: the B to the nearest."""
        most, before, size = shape
        sources = _sources(before, parts)
        value = self.view(value, shape)
        copies = parts // before
        if parts % before == 0 and copies <= MOST_COPIES:
            # Side by side in the last dimension they lie as they would in the one before.
            return self._join([(value, size)] * copies, [most, before, size], 2)
        cut = [self._slice(value, shape, number) for number in range(before)]
        return self._join([(cut[source], 1) for source in sources], [most, 1, size], 1)

    def _slice(self, value: int, shape: list[int], number: int) -> int:
        sizes = [shape[0], 1, shape[2]]
        into = self._value(sizes)
        self._step(
            schema.XNNStaticSlice(
                num_dims=3,
                offsets=[0, number, 0],
                sizes=sizes,
                input_id=value,
                output_id=into,
                flags=0,
            )
        )
        return into

    def _join(self, parts: list[Part], shape: list[int], axis: int) -> int:
        """Concatenate ``parts``, of ``shape`` but for their own lengths in ``axis``."""
        while len(parts) > 1:
            few = range(0, len(parts), MOST_COPIES)
            parts = [self._concatenate(parts[n : n + MOST_COPIES], shape, axis) for n in few]
        return parts[0][0]

    def _concatenate(self, parts: list[Part], shape: list[int], axis: int) -> Part:
        if len(parts) == 1:
            return parts[0]
        ids = [value for value, _ in parts] + [XNN_INVALID_VALUE_ID] * (MOST_COPIES - len(parts))
        length = sum(length for _, length in parts)
        into = self._value([*shape[:axis], length, *shape[axis + 1 :]])
        names = (f"input{number + 1}_id" for number in range(MOST_COPIES))
        self._step(
            CONCATENATIONS[len(parts)](
                axis=axis, output_id=into, flags=0, **dict(zip(names, ids, strict=True))
            )
        )
        return into, length

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
