"""LiteRT's format, ``.tflite``, for phones and, in tflite-micro, for microcontrollers.

The file is written operator by operator, not by a converter, whose files are larger and need more
memory. It takes one image, its channels side by side: ``(1, H, W, C)``.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ghostnet_small.deploy.deployable import Deployable
from ghostnet_small.deploy.description import Description
from ghostnet_small.deploy.digest import checked_content, signed
from ghostnet_small.deploy.litert.check import check_body, description_of
from ghostnet_small.deploy.litert.content import content_of
from ghostnet_small.deploy.litert.graph import graph_for
from ghostnet_small.deploy.litert.numbers import (
    HIGH,
    LOW,
    float_numbers,
    int8_numbers,
    picture_bounds,
)
from ghostnet_small.deploy.quiet import quiet_stderr
from ghostnet_small.deploy.ranges import check_calibration
from ghostnet_small.deploy.session import Array
from ghostnet_small.errors import InputError
from ghostnet_small.files import read_bytes, write_atomic

LARGEST = (1 << 31) - 1  # bytes; a flatbuffer can hold no more
ARENA = re.compile(r"Arena allocation total (\d+) bytes")


def export(network: Deployable, description: Description, path: Path) -> None:
    """Write ``network``, folded and in evaluation mode, in float32."""
    graph = graph_for(network, description)
    write_atomic(path, signed(content_of(graph, float_numbers(graph), description)[0]))


def quantize(network: Deployable, description: Description, calibration: Array, path: Path) -> None:
    """Write ``network`` in 8 bits: weights with a scale a channel, maps with one each.

    ``calibration`` is what the session takes, ``(N, C, H, W)``, of the training split.

    Raises ``InputError`` where there are no images.
    """
    check_calibration(len(calibration))
    graph = graph_for(network, description)
    pictures = torch.from_numpy(calibration).float()
    numbers = int8_numbers(graph, pictures, picture_bounds(description))
    write_atomic(path, signed(content_of(graph, numbers, description)[0]))


def working_memory(path: Path) -> int | None:
    """Return the memory that tflite-micro takes to run ``path``, which ``export`` wrote; None
    where tflite-micro, which has no packages for some systems, is not installed.

    Pointers have 8 bytes here: a microcontroller takes less.
    """
    if importlib.util.find_spec("tflite_micro") is None:
        return None
    from tflite_micro.python.tflite_micro import runtime

    with quiet_stderr() as said:
        runtime.Interpreter.from_bytes(read_bytes(path, LARGEST)).print_allocations()
        found = ARENA.search(said())
    return int(found[1]) if found else None


class LitertSession:
    """A network run by LiteRT on the CPU, one image at a time."""

    def __init__(self, path: Path, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        body = checked_content(path, LARGEST)
        self.description = description_of(body, path)
        try:
            # It reports the delegate that it uses.
            with quiet_stderr():
                self._runtime = Interpreter(model_content=body, num_threads=threads)
                self._runtime.allocate_tensors()
                (first,), (last,) = (
                    self._runtime.get_input_details(),
                    self._runtime.get_output_details(),
                )
        except (RuntimeError, ValueError) as error:
            said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise InputError(
                f"{path} is no network that LiteRT runs ({said}); export the run again"
            ) from None
        self._check_ends(path, first, last)
        self._first, self._last = first["index"], last["index"]
        self._kind = first["dtype"]
        self._step, self._zero = first["quantization"]
        self._out_step, self._out_zero = last["quantization"]

    def __call__(self, pictures: Array) -> Array:
        rows = pictures.transpose(0, 2, 3, 1)
        if self._kind == np.int8:
            rows = np.clip(np.round(rows / self._step) + self._zero, LOW, HIGH)
        rows = np.ascontiguousarray(rows, self._kind)
        answers = np.empty((len(rows), len(self.description.classes)), np.float32)
        for number in range(len(rows)):
            self._runtime.set_tensor(self._first, rows[number : number + 1])
            self._runtime.invoke()
            answers[number] = self._runtime.get_tensor(self._last)[0]
        if self.description.precision == "int8":
            answers = (answers - np.float32(self._out_zero)) * np.float32(self._out_step)
        return answers

    def _check_ends(self, path: Path, first: dict[str, Any], last: dict[str, Any]) -> None:
        described = self.description
        kinds: tuple[type, type] = (np.float32, np.float32)
        if described.precision == "int8":
            kinds = (np.int8, np.int8)
        if described.input == "pixels":
            kinds = (np.uint8, kinds[1])
        takes = [1, *described.size, described.channels]
        wanted = (takes, [1, len(described.classes)], *kinds)
        ends = (list(first["shape"]), list(last["shape"]), first["dtype"], last["dtype"])
        if ends != wanted:
            raise InputError(
                f"{path} has another input or output than it says ({ends[0]}, {ends[1]}); export "
                "the run again"
            )


def open_file(path: Path, threads: int) -> LitertSession:
    """Return a session for ``path`` on ``threads`` threads.

    Raises ``InputError`` where the file is damaged or of another version or program.
    """
    return LitertSession(path, threads)


def check_file(path: Path) -> None:
    """Raises ``InputError`` where ``path`` is anything else than what ``export`` writes."""
    check_body(checked_content(path, LARGEST), path)
