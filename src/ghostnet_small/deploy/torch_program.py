"""PyTorch's own format: an exported program, ``.pt2``."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ghostnet_small.deploy.description import KEY, Description, read_description
from ghostnet_small.deploy.formats import Array
from ghostnet_small.errors import InputError

EXTRA = f"{KEY}.json"
MOST_BATCH = 1 << 16


def export(network: nn.Module, description: Description, path: Path) -> None:
    """Write ``network``, in evaluation mode, as an exported program with a dynamic batch."""
    example = torch.zeros(2, description.channels, *description.size, dtype=_type(description))
    batch = torch.export.Dim("batch", min=1, max=MOST_BATCH)
    with torch.no_grad():
        program = torch.export.export(
            network, (example,), dynamic_shapes=({0: batch},), strict=True
        )
    torch.export.save(program, path, extra_files={EXTRA: description.as_json()})


class TorchSession:
    """An exported program, run by eager PyTorch on as many threads as the process has."""

    def __init__(self, path: Path) -> None:
        extra = {EXTRA: ""}
        try:
            program = torch.export.load(path, extra_files=extra)
        except (RuntimeError, ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
            raise InputError(
                f"{path} is damaged or no exported program ({_first_line(error)}); export the run "
                "again"
            ) from None
        self.description = read_description(extra[EXTRA] or None, str(path))
        self._run = program.module()

    def __call__(self, pictures: Array) -> Array:
        with torch.no_grad():
            answers: Array = self._run(torch.from_numpy(np.ascontiguousarray(pictures))).numpy()
        return answers


def open_file(path: Path, threads: int) -> TorchSession:
    """A session for ``path``; ``threads`` are set for the whole process.

    Raises ``InputError`` where the file is damaged or of another version.
    """
    torch.set_num_threads(threads)
    return TorchSession(path)


def _type(description: Description) -> torch.dtype:
    return torch.uint8 if description.input == "pixels" else torch.float32


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
