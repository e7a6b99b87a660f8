"""int8 for ExecuTorch: PyTorch's PT2E quantisation, as XNNPACK computes it."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from pathlib import Path

import torch
from torch import nn

from ghostnet_small.deploy.aten import traced
from ghostnet_small.deploy.deployable import Deployable
from ghostnet_small.deploy.description import Description
from ghostnet_small.deploy.executorch_file import quiet_export, write_program
from ghostnet_small.deploy.ranges import check_calibration
from ghostnet_small.deploy.session import Array
from ghostnet_small.deploy.taps import check_keep_float, kept


def quantize(
    network: Deployable,
    description: Description,
    calibration: Array,
    path: Path,
    keep_float: Collection[str] = (),
) -> None:
    """Write ``network`` with 8-bit weights, a scale a channel, and 8-bit activations.

    ``calibration`` is what the session takes, ``(N, C, H, W)``, of the training split;
    ``keep_float`` names modules of ``network.network`` that stay as they are.

    Raises ``InputError`` where there are no images, or no module has such a name.
    """
    check_calibration(len(calibration))
    check_keep_float(network.network, keep_float)
    program = traced(network, description, 1)
    with quiet_export(), warnings.catch_warnings():
        # torchao announces what it will rename, and PyTorch what torchao does.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", UserWarning)
        from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
            XNNPACKQuantizer,
            get_symmetric_quantization_config,
        )
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

        quantizer, config = (
            XNNPACKQuantizer(),
            get_symmetric_quantization_config(is_per_channel=True),
        )
        if not keep_float:
            quantizer.set_global(config)
        # It takes a list of modules to quantise, not of modules to leave out.
        for name in modules_without(network.network, keep_float) if keep_float else ():
            quantizer.set_module_name(f"network.{name}", config)
        prepared = prepare_pt2e(program.module(), quantizer)
        for picture in torch.from_numpy(calibration).split(1):
            prepared(picture)
        whole = convert_pt2e(prepared)
        # No two of its operators stand for one of the network's, as they do until here.
        example = (torch.from_numpy(calibration[:1]),)
        with torch.no_grad():
            quantized = torch.export.export(whole, example, strict=False)
        quantized.example_inputs = None
    write_program(quantized, description, path)


def modules_without(network: nn.Module, keep_float: Collection[str]) -> list[str]:
    """Return the names of the largest modules of ``network`` without any of ``keep_float``."""
    found: list[str] = []
    for name, _ in network.named_modules():
        holds = any(part == name or part.startswith(f"{name}.") for part in keep_float)
        if name and not holds and not kept(name, [*keep_float, *found]):
            found.append(name)
    return found
