"""int8 for ONNX Runtime: pairs of QuantizeLinear and DequantizeLinear, which it fuses (QDQ)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from ghostnet_small.deploy.deployable import Deployable
from ghostnet_small.deploy.description import Description
from ghostnet_small.deploy.onnx_file import INPUT, annotated_model, content, without_history
from ghostnet_small.deploy.ranges import check_calibration
from ghostnet_small.deploy.session import Array
from ghostnet_small.deploy.taps import check_keep_float, kept
from ghostnet_small.files import temporary_folder, write_atomic

SCOPES = "pkg.torch.onnx.name_scopes"
ACTIVATIONS = ("Relu", "Clip")
BATCH = 100


def quantize(
    network: Deployable,
    description: Description,
    calibration: Array,
    path: Path,
    keep_float: Collection[str] = (),
) -> None:
    """Write ``network`` with 8-bit activations and weights of 7 bits, with a scale a channel.

    ``calibration`` is what the session takes, ``(N, C, H, W)``, of the training split;
    ``keep_float`` names modules of ``network.network`` that stay as they are.

    Raises ``InputError`` where there are no images, or no module has such a name.
    """
    check_calibration(len(calibration))
    check_keep_float(network.network, keep_float)
    model = annotated_model(network, description)
    excluded = nodes_in_float(model, keep_float)
    quantized = quantized_model(without_history(model), calibration, excluded)
    write_atomic(path, content(quantized, description))


def quantized_model(
    model: onnx.ModelProto, calibration: Array, excluded: list[str]
) -> onnx.ModelProto:
    """Return ``model`` in int8 but for the nodes called ``excluded``."""
    # Without this mark, ONNX Runtime advises to run its optimiser first, for which PyTorch's export
    # leaves nothing to do.
    onnx.helper.set_model_props(model, {"onnx.quant.pre_process": "onnxruntime.quant"})
    with temporary_folder() as folder:
        file = folder / "int8.onnx"
        quantize_static(
            model,
            file,
            _Batches(calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=excluded,
            calibrate_method=CalibrationMethod.MinMax,
            # Weights of 7 bits. x86 without VNNI adds two products in 16 bits, which products of
            # 8 bits overflow, in any program that runs the file.
            reduce_range=True,
        )
        return onnx.load(file)


def nodes_in_float(model: onnx.ModelProto, keep_float: Collection[str]) -> list[str]:
    """Return the nodes of ``model``, as PyTorch exported a ``Deployable``, that are not quantised.

    Those of ``keep_float`` with the activation behind them, and those outside of the network.
    """
    found, outputs = [], set[str]()
    for node in model.graph.node:
        module = module_of_node(node)
        follows = node.op_type in ACTIVATIONS and node.input[0] in outputs
        if module is None or kept(module, keep_float) or follows:
            found.append(node.name)
            outputs.update(node.output)
    return found


def module_of_node(node: onnx.NodeProto) -> str | None:
    """Return the module of the network that a node belongs to; None outside of the network."""
    scopes = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), "[]")
    names = [name.strip(" '\"") for name in scopes.strip("[]").split(",")][:-1]
    last = names[-1] if names else ""
    return last.partition(".")[2] if last.split(".")[0] == "network" else None


class _Batches(CalibrationDataReader):
    def __init__(self, pictures: Array) -> None:
        self._batches: Iterator[Array] = iter(
            pictures[first : first + BATCH] for first in range(0, len(pictures), BATCH)
        )

    def get_next(self) -> dict[str, Array] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: np.ascontiguousarray(batch)}
