"""OpenVINO's own format: ``.xml``, the graph, and ``.bin``, the weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino
import torch
from torch import nn

from ghostnet_small.deploy.description import KEY, Description, read_description
from ghostnet_small.deploy.formats import Array
from ghostnet_small.errors import InputError

MOST_BATCH = 1 << 16


def export(network: nn.Module, description: Description, path: Path) -> None:
    """Write ``network``, in evaluation mode, for OpenVINO with a dynamic batch."""
    save(openvino_model(network, description), description, path)


def openvino_model(network: nn.Module, description: Description) -> openvino.Model:
    """``network`` as OpenVINO has it, one input to one output."""
    example = torch.zeros(2, description.channels, *description.size, dtype=_type(description))
    batch = torch.export.Dim("batch", min=1, max=MOST_BATCH)
    with torch.no_grad():
        program = torch.export.export(
            network, (example,), dynamic_shapes=({0: batch},), strict=True
        )
    return openvino.convert_model(program)


def save(model: openvino.Model, description: Description, path: Path) -> None:
    """Write ``model`` and its description to ``path`` and the ``.bin`` beside it."""
    model.set_rt_info(description.as_json(), KEY)
    openvino.save_model(model, path, compress_to_fp16=False)


class OpenVinoSession:
    """A network run by OpenVINO on the CPU."""

    def __init__(self, path: Path, threads: int) -> None:
        core = openvino.Core()
        try:
            model = core.read_model(path)
            text = model.get_rt_info(KEY).astype(str) if model.has_rt_info(KEY) else None
            compiled = core.compile_model(model, "CPU", options(threads))
        # Its errors are of RuntimeError and of classes of its own.
        except Exception as error:
            raise InputError(
                f"{path} is damaged or no file of OpenVINO ({_first_line(error)}); export the run "
                "again"
            ) from None
        self.description = read_description(text, str(path))
        self._request = compiled.create_infer_request()

    def __call__(self, pictures: Array) -> Array:
        answers = self._request.infer({0: np.ascontiguousarray(pictures)})
        return np.array(answers[0])


def options(threads: int) -> dict[str, str | int]:
    """What a network is compiled with."""
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        # A CPU with bfloat16 instructions would be given that by default.
        "INFERENCE_PRECISION_HINT": "f32",
    }


def open_file(path: Path, threads: int) -> OpenVinoSession:
    """A session for ``path`` on ``threads`` threads.

    Raises ``InputError`` where a file is damaged or of another version.
    """
    return OpenVinoSession(path, threads)


def _type(description: Description) -> torch.dtype:
    return torch.uint8 if description.input == "pixels" else torch.float32


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
