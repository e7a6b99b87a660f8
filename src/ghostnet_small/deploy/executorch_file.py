"""ExecuTorch's format, ``.pte``, for phones and smaller devices: XNNPACK runs all of it.

The programs take one image. With a dynamic batch ExecuTorch 1.5 plans too little memory (15
images, whatever bound the export states).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.export import ExportedProgram

from ghostnet_small.deploy.aten import traced
from ghostnet_small.deploy.deployable import Deployable
from ghostnet_small.deploy.description import KEY, Description, read_description
from ghostnet_small.deploy.digest import checked_content, signed
from ghostnet_small.deploy.quiet import quiet_stderr
from ghostnet_small.deploy.rewrite import Style, rewrite
from ghostnet_small.deploy.session import Array
from ghostnet_small.errors import InputError
from ghostnet_small.files import write_atomic

LARGEST = 2 << 30  # bytes
# XNNPACK clamps within a convolution, and has no hard sigmoid.
STYLE = Style(to_one_pixel=True, clamp=True)


def export(network: Deployable, description: Description, path: Path) -> None:
    """Write ``network``, in evaluation mode, as a program for one image at a time."""
    fast = Deployable(rewrite(network.network, description.size, STYLE), description).eval()
    write(fast, description, path)


def write(network: nn.Module, description: Description, path: Path) -> None:
    """Write ``network`` without changes for XNNPACK."""
    write_program(traced(network, description, 1), description, path)


def write_program(program: ExportedProgram, description: Description, path: Path) -> None:
    """Write ``program``, for one image, with its description as a method that returns bytes."""
    with quiet_export():
        from executorch.exir import to_edge_transform_and_lower

        from ghostnet_small.deploy.executorch_nearest import partitioner

        text = torch.frombuffer(bytearray(description.as_json().encode()), dtype=torch.uint8)
        lowered = to_edge_transform_and_lower(
            program, partitioner=[partitioner()], constant_methods={KEY: text}
        )
        data = lowered.to_executorch().buffer
    # XNNPACK does not check what it reads, so opening checks this first.
    write_atomic(path, signed(data))


class _Pool:
    """The threads of XNNPACK, shared by the whole process.

    A method keeps a pointer to the pool that it was loaded with, and a pool of another size
    replaces that pool: methods of an earlier ``number`` must not run again.
    """

    number = 0

    @classmethod
    def resize(cls, threads: int) -> None:
        from executorch.extension.pybindings import _C

        if _C._threadpool_get_thread_count() != threads:
            _C._unsafe_reset_threadpool(threads)
            cls.number += 1


class ExecutorchSession:
    """A program of ExecuTorch, run by its Python runtime one image at a time."""

    def __init__(self, path: Path, threads: int) -> None:
        # Not executorch.runtime, which imports the exporter too: seconds, and a hundred megabytes.
        from executorch.extension.pybindings import _C

        checked_content(path, LARGEST)
        self._threads = threads
        try:
            with quiet_stderr():
                self._program = _C._load_program(
                    str(path), program_verification=_C.Verification.InternalConsistency
                )
                (text,) = self._program.load_method(KEY)([])
                self._load()
        except RuntimeError as error:
            raise InputError(
                f"{path} is of another version of ExecuTorch ({error}); export the run again"
            ) from None
        self.description = read_description(bytes(text.numpy()).decode(), str(path))

    def __call__(self, pictures: Array) -> Array:
        if self._pool != _Pool.number:
            with quiet_stderr():
                self._load()
        tensor = torch.from_numpy(np.ascontiguousarray(pictures))
        answers = np.empty((len(tensor), len(self.description.classes)), dtype=np.float32)
        for number in range(len(tensor)):
            # Not a copy of the program's own memory: this assignment makes one.
            (answer,) = self._run([tensor[number : number + 1]], False)
            answers[number] = answer.numpy()
        return answers

    def _load(self) -> None:
        _Pool.resize(self._threads)
        self._run = self._program.load_method("forward")
        self._pool = _Pool.number


def open_file(path: Path, threads: int) -> ExecutorchSession:
    """Return a session for ``path`` on ``threads`` threads, XNNPACK's in the whole process.

    Sessions with different numbers of threads may be used in turn, which loads the program again,
    but not at the same time. Raises ``InputError`` where the file is damaged, or of another
    version or program.
    """
    return ExecutorchSession(path, threads)


@contextmanager
def quiet_export() -> Iterator[None]:
    """Hold back the exporter's warnings about its own parts, at import and export."""
    log = logging.getLogger("torch.utils._pytree")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # It opens its own data files with functions that Python has renamed.
            warnings.filterwarnings("ignore", r"(open|read)_\w+ is deprecated", DeprecationWarning)
            yield
    finally:
        log.setLevel(level)
