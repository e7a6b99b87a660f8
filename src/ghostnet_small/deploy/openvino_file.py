"""OpenVINO's own format: ``.xml``, the graph, and ``.bin``, the weights."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import openvino
import torch
from torch import nn

from ghostnet_small.deploy.batches import in_pieces
from ghostnet_small.deploy.deployable import Deployable
from ghostnet_small.deploy.description import KEY, Description, read_description
from ghostnet_small.deploy.rewrite import Style, rewrite
from ghostnet_small.deploy.session import Array
from ghostnet_small.errors import InputError
from ghostnet_small.files import read_bytes, temporary_folder, write_atomic

MOST_BATCH = 1 << 16
MOST_BYTES = (1 << 31) - 1
# Batch sizes that are kept compiled: evaluation has a usual one and a last one.
MOST_COMPILED = 4
# Its kernels are compiled for each shape, and are faster where no vector of 16 is cut. A second
# filter costs more than a constant map.
STYLE = Style(multiple=16, one_filter=True)


def export(network: Deployable, description: Description, path: Path) -> None:
    """Write ``network``, in evaluation mode, for OpenVINO with a dynamic batch."""
    fast = Deployable(rewrite(network.network, description.size, STYLE), description).eval()
    save(openvino_model(fast, description), description, path)


def openvino_model(network: nn.Module, description: Description) -> openvino.Model:
    """Return ``network`` as an OpenVINO model of one input and one output, without changes."""
    return converted(traced(network, description), description)


def traced(network: nn.Module, description: Description) -> torch.export.ExportedProgram:
    """Return ``network`` with a dynamic batch, for OpenVINO to convert."""
    picture = (description.channels, *description.size)
    example = torch.zeros(2, *picture, dtype=_type(description))
    batch = torch.export.Dim("batch", min=1, max=MOST_BATCH)
    with torch.no_grad():
        return torch.export.export(network, (example,), dynamic_shapes=({0: batch},), strict=False)


def converted(program: torch.export.ExportedProgram, description: Description) -> openvino.Model:
    """Return ``program`` as an OpenVINO model."""
    model = openvino.convert_model(program)
    # The conversion loses the fixed sizes.
    model.reshape([-1, description.channels, *description.size])
    return model


def save(model: openvino.Model, description: Description, path: Path) -> None:
    """Write ``model`` and its description to ``path`` and the ``.bin`` beside it."""
    model.set_rt_info(description.as_json(), KEY)
    with temporary_folder() as folder:
        written = folder / "model.xml"
        openvino.save_model(model, written, compress_to_fp16=False)
        graph, weights = written.read_bytes(), written.with_suffix(".bin").read_bytes()
    write_atomic(path.with_suffix(".bin"), weights)
    write_atomic(path, graph + _end(graph, weights))


class OpenVinoSession:
    """A network run by OpenVINO on the CPU.

    It is compiled for every batch size that occurs: with an open batch size it takes half as long
    again.
    """

    def __init__(self, path: Path, threads: int) -> None:
        graph, weights = _checked(path)
        self._core = openvino.Core()
        self._options = options(threads)
        self._threads = threads
        try:
            model = self._core.read_model(graph, openvino.Tensor(weights))
            text = model.get_rt_info(KEY).astype(str) if model.has_rt_info(KEY) else None
        # Its errors are RuntimeErrors and of classes of its own.
        except Exception as error:
            raise InputError(
                f"{path} is no network that OpenVINO reads ({_reason(error)}); export the run again"
            ) from None
        self.description = read_description(text, str(path))
        _check_ends(model, self.description, path)
        self._model = model
        self._requests: dict[int, _Request] = {}
        try:
            self._request(1)
        except RuntimeError as error:
            raise InputError(
                f"{path} is no network that OpenVINO runs ({_reason(error)}); export the run again"
            ) from None

    def __call__(self, pictures: Array) -> Array:
        return in_pieces(self._run, pictures, self._threads)

    def _run(self, pictures: Array) -> Array:
        return self._request(len(pictures))(pictures)

    def _request(self, batch: int) -> _Request:
        if batch not in self._requests:
            if len(self._requests) == MOST_COMPILED:
                del self._requests[next(iter(self._requests))]
            shape = [batch, self.description.channels, *self.description.size]
            self._model.reshape(shape)
            compiled = self._core.compile_model(self._model, "CPU", self._options)
            self._requests[batch] = _Request(compiled)
        return self._requests[batch]


class _Request:
    """A compiled network with fixed memory for its input and output: passing new memory takes a
    tenth of the time of a small network."""

    def __init__(self, compiled: openvino.CompiledModel) -> None:
        self._request = compiled.create_infer_request()
        self._pictures = np.zeros(
            compiled.input(0).shape, compiled.input(0).element_type.to_dtype()
        )
        self._answers = np.zeros(compiled.output(0).shape, np.float32)
        self._request.set_input_tensor(openvino.Tensor(self._pictures, shared_memory=True))
        self._request.set_output_tensor(openvino.Tensor(self._answers, shared_memory=True))

    def __call__(self, pictures: Array) -> Array:
        np.copyto(self._pictures, pictures, casting="no")
        self._request.infer()
        return self._answers.copy()


def options(threads: int) -> dict[str, str | int | bool]:
    """Return the options that a network is compiled with."""
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        # A CPU with bfloat16 instructions would compute in it by default.
        "INFERENCE_PRECISION_HINT": "f32",
        # Two sessions would be bound to the same cores.
        "ENABLE_CPU_PINNING": False,
    }


def open_file(path: Path, threads: int) -> OpenVinoSession:
    """Return a session for ``path`` on ``threads`` threads.

    Raises ``InputError`` where a file is damaged or of another version.
    """
    return OpenVinoSession(path, threads)


def _check_ends(model: openvino.Model, described: Description, path: Path) -> None:
    kind = "u8" if described.input == "pixels" else "f32"
    takes, answers = [-1, described.channels, *described.size], [-1, len(described.classes)]
    said = [(kind, openvino.PartialShape(takes)), ("f32", openvino.PartialShape(answers))]
    ends = [*model.inputs, *model.outputs]
    found = [(end.element_type.to_string(), end.partial_shape) for end in ends]
    if len(model.inputs) != 1 or found != said:
        raise InputError(
            f"{path} has another input or output than it says ({_ends(found)} instead of "
            f"{_ends(said)}); export the run again"
        )


def _ends(ends: list[tuple[str, openvino.PartialShape]]) -> str:
    return ", ".join(f"{kind} {shape}" for kind, shape in ends)


def _end(graph: bytes, weights: bytes) -> bytes:
    """Return the end of ``graph``: a comment with the digest of both files."""
    sha = hashlib.sha256(graph)
    sha.update(weights)
    return f"<!-- {KEY} digest of both files: {sha.hexdigest()} -->\n".encode()


def _checked(path: Path) -> tuple[bytes, Array]:
    """Return the content of both files; raises ``InputError`` if it is not what ``save`` wrote."""
    found = read_bytes(path, MOST_BYTES)
    weights = read_bytes(path.with_suffix(".bin"), MOST_BYTES)
    length = len(_end(b"", b""))
    graph, end = found[:-length], found[-length:]
    if end != _end(graph, weights):
        raise InputError(
            f"{path} or its .bin is damaged, was changed, belongs to another or was not written by "
            "ghostnet-small export: their digest is not that of their content; export the run again"
        )
    return graph, np.frombuffer(weights, np.uint8)


def _type(description: Description) -> torch.dtype:
    return torch.uint8 if description.input == "pixels" else torch.float32


def _reason(error: Exception) -> str:
    """Return the last line; those before it are places in OpenVINO's source."""
    return (str(error).strip() or repr(error)).splitlines()[-1][:200]
