"""ONNX, ``.onnx``, run by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from ghostnet_small.deploy.description import KEY, Description, read_description
from ghostnet_small.deploy.formats import Array
from ghostnet_small.errors import InputError
from ghostnet_small.files import read_bytes, write_atomic

INPUT, OUTPUT = "pictures", "answers"
MOST_BATCH = 1 << 16
# Protocol buffers can hold no more.
MOST_BYTES = 1 << 31


def export(network: nn.Module, description: Description, path: Path) -> None:
    """Write ``network``, in evaluation mode, as ONNX with a dynamic batch."""
    write_atomic(path, described(onnx_model(network, description), description))


def onnx_model(network: nn.Module, description: Description) -> onnx.ModelProto:
    """``network`` as ONNX, ``pictures`` to ``answers``."""
    example = torch.zeros(2, description.channels, *description.size, dtype=_type(description))
    batch = torch.export.Dim("batch", min=1, max=MOST_BATCH)
    program = torch.onnx.export(
        network,
        (example,),
        dynamo=True,
        dynamic_shapes=({0: batch},),
        input_names=[INPUT],
        output_names=[OUTPUT],
        verbose=False,
    )
    assert program is not None
    return program.model_proto


def described(model: onnx.ModelProto, description: Description) -> bytes:
    """The content of a file of ``model`` that holds its description."""
    onnx.helper.set_model_props(model, {KEY: description.as_json()})
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content


class OnnxSession:
    """A network run by ONNX Runtime on the CPU."""

    def __init__(self, path: Path, threads: int) -> None:
        content = read_bytes(path, MOST_BYTES)
        try:
            self._session = onnxruntime.InferenceSession(
                content, options(threads), providers=["CPUExecutionProvider"]
            )
            text = self._session.get_modelmeta().custom_metadata_map.get(KEY)
        # Its errors have no common class below this one.
        except Exception as error:
            raise InputError(
                f"{path} is damaged or no ONNX file ({_first_line(error)}); export the run again"
            ) from None
        self.description = read_description(text, str(path))

    def __call__(self, pictures: Array) -> Array:
        (answers,) = self._session.run([OUTPUT], {INPUT: np.ascontiguousarray(pictures)})
        return np.asarray(answers)


def options(threads: int) -> onnxruntime.SessionOptions:
    """What a session is run with."""
    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = threads
    chosen.inter_op_num_threads = 1
    # Fatal only: what is wrong with a file is told by the exception.
    chosen.log_severity_level = 4
    return chosen


def open_file(path: Path, threads: int) -> OnnxSession:
    """A session for ``path`` on ``threads`` threads.

    Raises ``InputError`` where the file is damaged or of another version.
    """
    return OnnxSession(path, threads)


def _type(description: Description) -> torch.dtype:
    return torch.uint8 if description.input == "pixels" else torch.float32


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
