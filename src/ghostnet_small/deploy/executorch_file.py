"""ExecuTorch's format, ``.pte``, for phones and smaller: everything is run by XNNPACK."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from ghostnet_small.deploy.description import KEY, Description, read_description
from ghostnet_small.deploy.formats import Array
from ghostnet_small.errors import InputError


def export(network: nn.Module, description: Description, path: Path) -> None:
    """Write ``network``, in evaluation mode, as a program for one picture at a time."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    kind = torch.uint8 if description.input == "pixels" else torch.float32
    example = torch.zeros(1, description.channels, *description.size, dtype=kind)
    with torch.no_grad():
        program = torch.export.export(network, (example,), strict=True)
    text = torch.frombuffer(bytearray(description.as_json().encode()), dtype=torch.uint8)
    lowered = to_edge_transform_and_lower(
        program, partitioner=[XnnpackPartitioner()], constant_methods={KEY: text}
    )
    path.write_bytes(lowered.to_executorch().buffer)


class ExecutorchSession:
    """A program of ExecuTorch, run by its Python runtime one picture at a time."""

    def __init__(self, path: Path) -> None:
        from executorch.runtime import Runtime

        try:
            program = Runtime.get().load_program(path)
            text = None
            if KEY in program.method_names:
                method = program.load_method(KEY)
                assert method is not None
                text = bytes(method.execute([])[0].numpy()).decode()
            self.description = read_description(text, str(path))
            self._run = program.load_method("forward")
        except RuntimeError as error:
            raise InputError(
                f"{path} is damaged or no ExecuTorch program ({error}); export the run again"
            ) from None

    def __call__(self, pictures: Array) -> Array:
        assert self._run is not None
        tensor = torch.from_numpy(np.ascontiguousarray(pictures))
        answers = [self._run.execute([tensor[i : i + 1]])[0] for i in range(len(tensor))]
        return torch.cat(answers).numpy()


def open_file(path: Path, threads: int) -> ExecutorchSession:
    """A session for ``path``; ``threads`` are set for the whole process."""
    from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool

    _unsafe_reset_threadpool(threads)
    return ExecutorchSession(path)
