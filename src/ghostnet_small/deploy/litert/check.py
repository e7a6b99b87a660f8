"""Refuse a LiteRT file that is not, number by number, what ``export`` writes.

A runtime trusts what a file says of shapes, scales and places. So the bytes of the described
network are made again: a file may differ from them in its weights and scales only.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import ai_edge_litert.schema_py_generated as schema
import numpy as np

from ghostnet_small.deploy.blank import blank_network
from ghostnet_small.deploy.description import KEY, Description, read_description
from ghostnet_small.deploy.litert.content import content_of
from ghostnet_small.deploy.litert.flatbuffer import IDENTIFIER
from ghostnet_small.deploy.litert.graph import Graph, Sum, graph_for
from ghostnet_small.deploy.litert.numbers import HIGH, LOW, SMALLEST, blank_int8, float_numbers
from ghostnet_small.errors import InputError
from ghostnet_small.version import __version__

MOST_METADATA = 16
# Steps of a map. A runtime ends the process where a sum's terms are a million times as coarse.
LARGEST, MOST_RATIO = 1e6, 1 << 18
# The errors of following the wrong offsets.
WRONG = (ValueError, TypeError, IndexError, AttributeError, OverflowError, struct.error)


def description_of(body: bytes, path: Path) -> Description:
    """Return the description in ``body``, the content of ``path``.

    Raises ``InputError`` where there is none.
    """
    text = None
    if body[4:8] == IDENTIFIER:
        try:
            text = _metadata(body)
        except WRONG:
            raise InputError(
                f"{path} is damaged: it names places that it does not have; export the run again"
            ) from None
    return read_description(text, str(path))


def check_body(body: bytes, path: Path) -> None:
    """Raises ``InputError`` where ``body``, the content of ``path``, is no network of ours."""
    description = description_of(body, path)
    try:
        _compare(body, description)
    except (ValueError, InputError) as error:
        # The cure of an InputError does not help here: the bad value is in the file.
        why = str(error).split(";")[0].split("\n")[0]
        raise InputError(
            f"{path} is not what export of ghostnet-small {__version__} writes ({why:.200}), and "
            "a runtime does not check what it reads; export the run again"
        ) from None


def _metadata(body: bytes) -> str | None:
    model = schema.Model.GetRootAs(body)
    for number in range(min(model.MetadataLength(), MOST_METADATA)):
        entry = model.Metadata(number)
        if entry.Name() == KEY.encode():
            return bytes(model.Buffers(entry.Buffer()).DataAsNumpy()).decode()
    return None


def _compare(body: bytes, description: Description) -> None:
    graph = graph_for(blank_network(description, len(body)), description)
    int8 = description.precision == "int8"
    made, places = content_of(graph, (blank_int8 if int8 else float_numbers)(graph), description)
    if len(made) != len(body):
        raise ValueError(f"it has {len(body)} bytes and not {len(made)}")
    same = np.frombuffer(made, np.uint8) == np.frombuffer(body, np.uint8)
    for first, size in (p for k in (places.data, places.steps, places.zeros) for p in k.values()):
        same[first : first + size] = True
    if not same.all():
        raise ValueError(f"byte {int(same.argmin())} differs")
    _check_scales(
        graph,
        {
            name: np.frombuffer(body, np.float32, n // 4, at)
            for name, (at, n) in places.steps.items()
        },
        {name: np.frombuffer(body, np.int64, n // 8, at) for name, (at, n) in places.zeros.items()},
    )


def _check_scales(graph: Graph, steps: dict[str, np.ndarray], zeros: dict[str, np.ndarray]) -> None:
    for name, found in steps.items():
        least = SMALLEST if name in zeros else 0.0
        if not ((found >= least) & (found <= LARGEST)).all() or not found.all():
            raise ValueError(f"the scale of {name}")
    for name, found in zeros.items():
        if not LOW <= int(found[0]) <= HIGH:
            raise ValueError(f"the zero of {name}")
    for op in graph.operators if steps else ():
        if isinstance(op, Sum):
            coarsest = max(float(steps[value.name][0]) for value in op.inputs)
            if not math.isfinite(coarsest) or coarsest > MOST_RATIO * steps[op.output.name][0]:
                raise ValueError(f"the scale of {op.output.name}")
