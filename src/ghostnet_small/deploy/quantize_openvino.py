"""int8 for OpenVINO, by its own tool NNCF."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

import nncf
import openvino
import torch
from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix
from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

from ghostnet_small.deploy.deployable import Deployable
from ghostnet_small.deploy.description import Description
from ghostnet_small.deploy.openvino_file import converted, save, traced
from ghostnet_small.deploy.ranges import check_calibration
from ghostnet_small.deploy.session import Array
from ghostnet_small.deploy.taps import check_keep_float, kept, module_of

# A range is the mean over batches of their least and largest numbers.
BATCH = 50


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
    program = traced(network, description)
    model = converted(program, description)
    batches = [calibration[first : first + BATCH] for first in range(0, len(calibration), BATCH)]
    # NNCF logs its progress as information.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    quantized = nncf.quantize(
        model,
        nncf.Dataset(batches),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(batches),
        ignored_scope=nncf.IgnoredScope(names=operations_in_float(model, program, keep_float)),
        advanced_parameters=AdvancedQuantizationParameters(
            # Weights of 7 bits. x86 without VNNI adds two products in 16 bits, which products of
            # 8 bits overflow.
            overflow_fix=OverflowFix.ENABLE,
            # Measured: it changes only the time that this takes.
            disable_bias_correction=True,
        ),
    )
    save(quantized, description, path)


def operations_in_float(
    model: openvino.Model, program: torch.export.ExportedProgram, keep_float: Collection[str]
) -> list[str]:
    """Return the operations of ``model``, converted from ``program``, that are not quantised.

    Those of ``keep_float``, and those of a ``Deployable`` outside of its network.
    """
    modules = {
        node.name: module_of(node)
        for node in TorchFXPythonDecoder.from_exported_program(program).pt_module.graph.nodes
    }
    found = []
    for operation in model.get_ordered_ops():
        name = operation.get_friendly_name()
        # OpenVINO's names begin with those of the traced graph.
        module = modules.get(name.split("/")[0])
        if module is None or operation.get_type_name() == "Constant":
            continue
        outer, _, inner = module.partition(".")
        if outer != "network" or kept(inner, keep_float):
            found.append(name)
    return found
