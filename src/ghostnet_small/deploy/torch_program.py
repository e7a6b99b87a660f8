"""PyTorch's own format: an exported program, ``.pt2``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from ghostnet_small.deploy.aten import input_type, traced
from ghostnet_small.deploy.deployable import Deployable
from ghostnet_small.deploy.description import KEY, Description, read_description
from ghostnet_small.deploy.rewrite import Style, rewrite
from ghostnet_small.deploy.session import Array
from ghostnet_small.deploy.torch_reader import WRONG, Program, read_program
from ghostnet_small.errors import InputError

EXTRA = f"{KEY}.json"
MOST_BATCH = 1 << 16


# Eager PyTorch has a cost for each operator whatever its size.
STYLE = Style(one_filter=True, to_one_pixel=True)


def export(network: Deployable, description: Description, path: Path) -> None:
    """Write ``network``, in evaluation mode, as an exported program with a dynamic batch.

    ``torch.export.load`` reads it as well, and finds no pickle in it.
    """
    fast = Deployable(rewrite(network.network, description.size, STYLE), description).eval()
    write(fast, description, path)


def write(network: nn.Module, description: Description, path: Path) -> None:
    """Write ``network`` without changes for the runtime."""
    program = traced(network, description, MOST_BATCH)
    torch.export.save(program, path, extra_files={EXTRA: description.as_json()})


class TorchSession:
    """An exported program, run by eager PyTorch on as many threads as the process has."""

    def __init__(self, program: Program, description: Description) -> None:
        self.description = description
        self._program = program

    def __call__(self, pictures: Array) -> Array:
        with torch.inference_mode():
            answers: Array = self._program(torch.from_numpy(np.ascontiguousarray(pictures))).numpy()
        return answers


def open_file(path: Path, threads: int) -> TorchSession:
    """Return a session for ``path``; ``threads`` are set for the whole process.

    Raises ``InputError`` where the file is damaged or of another version.
    """
    program, text = read_program(path, EXTRA)
    description = read_description(text, str(path))
    example = torch.zeros(
        1, description.channels, *description.size, dtype=input_type(description), device="meta"
    )
    try:
        shape = program.answer_shape(example)
    except WRONG as error:
        raise InputError(
            f"{path} is damaged: it cannot be run ({str(error).splitlines()[0]:.200}); export the "
            "run again"
        ) from None
    if shape != (1, len(description.classes)):
        raise InputError(
            f"{path} is damaged: it answers {shape} for {len(description.classes)} classes; "
            "export the run again"
        )
    torch.set_num_threads(threads)
    return TorchSession(program, description)
