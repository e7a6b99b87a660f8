"""ONNX, ``.onnx``, run by ONNX Runtime."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from ghostnet_small.deploy.batches import in_pieces
from ghostnet_small.deploy.deployable import Deployable
from ghostnet_small.deploy.description import KEY, Description, read_description
from ghostnet_small.deploy.onnx_graph import check_graph
from ghostnet_small.deploy.rewrite import Style, rewrite
from ghostnet_small.deploy.session import Array
from ghostnet_small.errors import InputError
from ghostnet_small.files import read_bytes, write_atomic

INPUT, OUTPUT = "pictures", "answers"
# The oldest that PyTorch writes, and the file format that came with it.
OPSET, IR_VERSION = 18, 8
MOST_BATCH = 1 << 16
# Protocol buffers can hold no more.
MOST_BYTES = (1 << 31) - 1
DIGEST = f"{KEY}_digest"
# Files of earlier versions have weights of 8 bits. On x86 without VNNI, ONNX Runtime adds two of
# their products in 16 bits, which overflow; this option has it add them exactly.
EXACT_SUMS = "session.x64quantprecision"
# With AVX-512, ONNX Runtime has a layout of its own, in blocks of 16 channels. It leaves that, and
# copies, for all that it cannot do there: odd concatenations, means, products of unequal shapes.
STYLE = Style(multiple=16, stretch=True)


def export(network: Deployable, description: Description, path: Path) -> None:
    """Write ``network``, in evaluation mode, as ONNX with a dynamic batch."""
    fast = Deployable(rewrite(network.network, description.size, STYLE), description).eval()
    write_atomic(path, content(onnx_model(fast, description), description))


def onnx_model(network: nn.Module, description: Description) -> onnx.ModelProto:
    """Return ``network`` as ONNX, ``pictures`` to ``answers``, without changes for the runtime."""
    return without_history(annotated_model(network, description))


def annotated_model(network: nn.Module, description: Description) -> onnx.ModelProto:
    """Return ``onnx_model`` with notes of the module that each node comes from."""
    example = torch.zeros(2, description.channels, *description.size, dtype=_type(description))
    batch = torch.export.Dim("batch", min=1, max=MOST_BATCH)
    program = torch.onnx.export(
        network,
        (example,),
        dynamo=True,
        dynamic_shapes=({0: batch},),
        input_names=[INPUT],
        output_names=[OUTPUT],
        opset_version=OPSET,
        verbose=False,
    )
    assert program is not None
    return program.model_proto


def content(model: onnx.ModelProto, description: Description) -> bytes:
    """Return the content of a file: ``model``, its description and a digest of both."""
    onnx.helper.set_model_props(model, {KEY: description.as_json()})
    onnx.checker.check_model(model, full_check=True)
    body: bytes = model.SerializeToString()
    return body + _end(body)


class OnnxSession:
    """A network run by ONNX Runtime on the CPU."""

    def __init__(self, path: Path, threads: int) -> None:
        model = _checked(path)
        self._threads = threads
        try:
            self._session = onnxruntime.InferenceSession(
                model, options(threads), providers=["CPUExecutionProvider"]
            )
            text = self._session.get_modelmeta().custom_metadata_map.get(KEY)
            self.description = read_description(text, str(path))
            self._check_ends(path)
            # Contradictions in a hostile graph appear when it runs.
            self(_black(self.description))
        except InputError:
            raise
        # Its errors have no class in common below this one.
        except Exception as error:
            raise InputError(
                f"{path} is no network that ONNX Runtime runs ({_first_line(error)}); export the "
                "run again"
            ) from None

    def __call__(self, pictures: Array) -> Array:
        return in_pieces(self._run, pictures, self._threads)

    def _run(self, pictures: Array) -> Array:
        (answers,) = self._session.run([OUTPUT], {INPUT: np.ascontiguousarray(pictures)})
        return np.asarray(answers)

    def _check_ends(self, path: Path) -> None:
        described = self.description
        kind = "tensor(uint8)" if described.input == "pixels" else "tensor(float)"
        takes = [(end.name, end.type, end.shape[1:]) for end in self._session.get_inputs()]
        answers = [(end.name, end.type, end.shape[1:]) for end in self._session.get_outputs()]
        if takes != [(INPUT, kind, [described.channels, *described.size])] or answers != [
            (OUTPUT, "tensor(float)", [len(described.classes)])
        ]:
            raise InputError(
                f"{path} has another input or output than it says ({takes}, {answers}); export the "
                "run again"
            )


def options(threads: int) -> onnxruntime.SessionOptions:
    """Return the options of a session."""
    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = threads
    chosen.inter_op_num_threads = 1
    # Fatal only: the exception says what is wrong with a file.
    chosen.log_severity_level = 4
    if not sums_products_exactly():
        chosen.add_session_config_entry(EXACT_SUMS, "1")
    return chosen


def sums_products_exactly() -> bool:
    """Return whether this processor adds products of 8 bits in 32 (VNNI), not in 16 bits."""
    # Where PyTorch cannot tell, the exact sums are taken: they are only slower.
    found: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(found.get(name) for name in ("avx512_vnni", "avx_vnni"))


def open_file(path: Path, threads: int) -> OnnxSession:
    """Return a session for ``path`` on ``threads`` threads.

    Raises ``InputError`` where the file is damaged or of another version.
    """
    return OnnxSession(path, threads)


def check_file(path: Path) -> None:
    """Raises ``InputError`` where ``path`` is damaged, or asks for what no export does."""
    check_graph(_checked(path), path)


def _end(body: bytes) -> bytes:
    """Return the end of ``body``: a protocol buffer may come in parts, so it stays a model."""
    part = onnx.ModelProto()
    part.metadata_props.add(key=DIGEST, value=hashlib.sha256(body).hexdigest())
    end: bytes = part.SerializeToString()
    return end


def _checked(path: Path) -> bytes:
    """Return the content of ``path``; raises ``InputError`` if ``content`` did not return it."""
    found = read_bytes(path, MOST_BYTES)
    length = len(_end(b""))
    body, end = found[:-length], found[-length:]
    if end != _end(body):
        raise InputError(
            f"{path} is damaged, was changed or was not written by ghostnet-small export: its "
            "digest is not that of its content; export the run again"
        )
    return found


def without_history(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return ``model`` without the notes on the source of each node, which name folders of the
    author's machine and take a fifth of a small network's file.

    The shapes between the nodes stay. ONNX Runtime cannot infer all of them, and where it does not
    know that two batches are equally large, it leaves its own layout to add them.
    """
    model.ir_version = IR_VERSION
    graph = model.graph
    ends = (*graph.input, *graph.output, *graph.value_info)
    for part in (model, graph, *graph.node, *graph.initializer, *ends):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


def _black(description: Description) -> Array:
    """Return an image of zeros."""
    kind = np.uint8 if description.input == "pixels" else np.float32
    return np.zeros((1, description.channels, *description.size), kind)


def _type(description: Description) -> torch.dtype:
    return torch.uint8 if description.input == "pixels" else torch.float32


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
