"""The C format: a C99 file with the weights inside, and its header; compiled to run here."""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ghostnet_small.deploy.c.compiled import loaded, note_written
from ghostnet_small.deploy.c.float32 import write_float
from ghostnet_small.deploy.c.footprint import blank_code, flash_of, workspace_bytes
from ghostnet_small.deploy.c.grids import picture_grid
from ghostnet_small.deploy.c.int8 import write_int8
from ghostnet_small.deploy.c.plan import plan_of
from ghostnet_small.deploy.c.quantize import quantize as quantize_plan
from ghostnet_small.deploy.c.source import header_text, read_tag, source_text
from ghostnet_small.deploy.c.text import Code
from ghostnet_small.deploy.deployable import Deployable
from ghostnet_small.deploy.description import Description, read_description
from ghostnet_small.deploy.session import Array
from ghostnet_small.errors import InputError
from ghostnet_small.files import read_text

LARGEST = 1 << 30  # bytes of a C file


def export(network: Deployable, description: Description, path: Path) -> None:
    """Write ``path`` and, beside it, its header.

    Raises ``InputError`` for a network that is no ``GhostNetV3``.
    """
    plan = plan_of(network.network, description.size)
    _write(path, description, write_float(plan, pixels=network.normalization()))


def quantize(
    network: Deployable,
    description: Description,
    calibration: Array,
    path: Path,
    keep_float: Collection[str] = (),
) -> None:
    """Write ``path`` and its header in 8 bits; ``calibration``: images as the network takes
    them, ``(N, C, H, W)``.

    Raises ``InputError`` for a network that is no ``GhostNetV3``, for no images, and for
    ``keep_float``: the C code has no parts in float32.
    """
    if keep_float:
        raise InputError(
            f"format c cannot keep parts in float32, such as {', '.join(keep_float)}; leave "
            "them out"
        )
    if not len(calibration):
        raise InputError("int8 needs images to calibrate on, and there are none; give some")
    plan = plan_of(network.network, description.size)
    pictures = torch.from_numpy(calibration).float()
    if network.pixels:
        pictures = pictures * network.scale + network.shift
    grid = picture_grid(description.mean, description.std)
    steps, _ = quantize_plan(plan, pictures, grid, head_bits=description.head_bits)
    _write(path, description, write_int8(plan, steps, grid, pixels=network.pixels).shared())


def export_blank(config: Mapping[str, Any], description: Description, path: Path) -> None:
    """Write ``path`` and its header, in 8 bits with placeholder weights, for a network that is
    ``config``: it takes the flash, the memory and the time of one that is trained."""
    _write(path, description, blank_code(config, description).shared())


def flash(path: Path) -> tuple[int, str]:
    """Return the bytes of flash that ``path``, which this process wrote, takes on a device, and
    how they were counted."""
    return flash_of(path.read_text())


def working_memory(path: Path) -> int:
    """Return the bytes of the workspace."""
    return workspace_bytes(path.with_suffix(".h").read_text())


def _write(path: Path, description: Description, code: Code) -> None:
    source, header = source_text(description, code), header_text(description, code)
    path.write_text(source)
    path.with_suffix(".h").write_text(header)
    note_written(source, header)


class CSession:
    """A compiled C file; each of several threads runs images of its own."""

    def __init__(self, path: Path, threads: int) -> None:
        try:
            source = read_text(path, LARGEST)
            header = read_text(path.with_suffix(".h"))
        except UnicodeDecodeError:
            raise InputError(f"{path} is no text, so no C file; export the run again") from None
        self.description = read_description(read_tag(source), str(path))
        library = loaded(path, source, header, self.description)
        self._run = library.ghostnet_run
        bytes_needed = ctypes.c_int.in_dll(library, "ghostnet_workspace").value
        self._run.argtypes = [ctypes.c_void_p] * 3
        self._run.restype = None
        self._memory = [_aligned(bytes_needed) for _ in range(threads)]
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self._type = np.uint8 if self.description.input == "pixels" else np.float32

    def __call__(self, pictures: Array) -> Array:
        shape = (self.description.channels, *self.description.size)
        pictures = np.ascontiguousarray(pictures, dtype=self._type)
        if pictures.shape[1:] != shape:
            raise InputError(f"images are {pictures.shape[1:]}; this network takes {shape}")
        answers = np.empty((len(pictures), len(self.description.classes)), np.float32)
        if self._pool is None or len(pictures) == 1:
            self._answer(pictures, answers, 0)
            return answers
        threads = range(len(self._memory))
        # A part may be empty. The function is called without Python's lock.
        shares = (np.array_split(a, len(threads)) for a in (pictures, answers))
        parts = zip(*shares, threads, strict=True)
        list(self._pool.map(lambda part: self._answer(*part), parts))
        return answers

    def _answer(self, pictures: Array, answers: Array, thread: int) -> None:
        memory = self._memory[thread].ctypes.data
        source, target = pictures.ctypes.data, answers.ctypes.data
        for _ in range(len(pictures)):
            self._run(source, target, memory)
            source += pictures.strides[0]
            target += answers.strides[0]


def open_file(path: Path, threads: int) -> CSession:
    """Return a session for ``path``, compiled once and kept in the cache.

    The compiled code is this program's own, with the numbers of the file's tables.

    Raises ``InputError`` if the rest of the file differs from what ``export`` writes, it is of
    another version, or there is no compiler.
    """
    return CSession(path, threads)


def _aligned(count: int) -> Array:
    room = np.empty(count + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + count]
