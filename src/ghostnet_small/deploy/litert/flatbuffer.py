"""Write tensors and operators as a LiteRT file, a flatbuffer, and know where its numbers lie."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import ai_edge_litert.schema_py_generated as schema
import flatbuffers
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
Place = tuple[int, int]  # a first byte and a length

VERSION = 3  # of the schema
IDENTIFIER = b"TFL3"
# Of data within the file, so that a runtime can use them where they lie.
ALIGNMENT = 16
# The first versions of operators that know 8 bits; the others have one version for all types.
INT8_VERSIONS = {
    "ADD": 2,
    "AVERAGE_POOL_2D": 2,
    "CONCATENATION": 2,
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "FULLY_CONNECTED": 4,
    "LOGISTIC": 2,
    "MEAN": 2,
    "MUL": 2,
    "QUANTIZE": 2,
    "RESIZE_NEAREST_NEIGHBOR": 2,
    "SOFTMAX": 2,
}


@dataclass
class Places:
    """The places of a file's numbers by the names of tensors: data, and steps and zeros of 8
    bits."""

    data: dict[str, Place] = field(default_factory=dict)
    steps: dict[str, Place] = field(default_factory=dict)
    zeros: dict[str, Place] = field(default_factory=dict)

    def behind(self, length: int) -> Places:
        """Return places counted from the first byte, where these count back from the last."""
        kinds = (self.data, self.steps, self.zeros)
        return Places(*({n: (length - end, size) for n, (end, size) in k.items()} for k in kinds))


class Flatbuffer:
    """A file in the making. Tensors are known by numbers, in the order of ``tensor``."""

    def __init__(self, *, int8: bool) -> None:
        self.int8 = int8
        self.places = Places()
        self._b = flatbuffers.Builder(1 << 20)
        self._tensors: list[int] = []
        self._operators: list[int] = []
        self._metadata: list[int] = []
        self._codes: dict[str, int] = {}
        # What occurs often is written once.
        self._scales: dict[str, int] = {}
        self._zeros: dict[int, int] = {}
        # The first stands for no data.
        self._buffers = [self._buffer(None)]

    def tensor(
        self,
        name: str,
        shape: Iterable[int],
        kind: str,
        *,
        data: Array | None = None,
        scale: int | None = None,
        blank: bool = False,
    ) -> int:
        """Return the number of a new tensor; the places of ``data`` are kept where ``blank``."""
        b = self._b
        buffer = 0
        if data is not None:
            buffer = len(self._buffers)
            self._buffers.append(self._buffer(data, name if blank else None))
        text, sizes = b.CreateString(name), b.CreateNumpyVector(np.array(shape, np.int32))
        schema.TensorStart(b)
        schema.TensorAddShape(b, sizes)
        schema.TensorAddType(b, getattr(schema.TensorType, kind.upper()))
        schema.TensorAddBuffer(b, buffer)
        schema.TensorAddName(b, text)
        if scale is not None:
            schema.TensorAddQuantization(b, scale)
        self._tensors.append(schema.TensorEnd(b))
        return len(self._tensors) - 1

    def constant(self, name: str, values: Iterable[int]) -> int:
        """Return the number of a new tensor of int32 ``values``."""
        data = np.array(values, np.int32)
        return self.tensor(name, data.shape, "int32", data=data)

    def scale(self, name: str, step: float, zero: int, *, blank: bool = True) -> int:
        """Return the scale called ``name``, written once; its places are kept where ``blank``."""
        if name not in self._scales:
            b = self._b
            zeros = b.CreateNumpyVector(np.array([zero], np.int64))
            steps = b.CreateNumpyVector(np.array([step], np.float32))
            if blank:
                self.places.zeros[name] = (zeros - 4, 8)
                self.places.steps[name] = (steps - 4, 4)
            self._scales[name] = self._parameters(steps, zeros, 0)
        return self._scales[name]

    def channels(self, name: str, steps: NDArray[np.float32], dimension: int) -> int:
        """Return the scales of the channels, along ``dimension``, of the tensor ``name``."""
        b = self._b
        if len(steps) not in self._zeros:
            self._zeros[len(steps)] = b.CreateNumpyVector(np.zeros(len(steps), np.int64))
        place = b.CreateNumpyVector(steps)
        self.places.steps[name] = (place - 4, steps.nbytes)
        return self._parameters(place, self._zeros[len(steps)], dimension)

    def call(
        self, name: str, inputs: Iterable[int], output: int, options: str = "", **values: int
    ) -> int:
        """Add the operator ``name`` with ``values`` in its table of ``options``; return
        ``output``."""
        b = self._b
        table = None
        if options:
            getattr(schema, f"{options}Start")(b)
            for key, value in values.items():
                getattr(schema, f"{options}Add{key}")(b, value)
            table = getattr(schema, f"{options}End")(b)
        reads = b.CreateNumpyVector(np.array(inputs, np.int32))
        writes = b.CreateNumpyVector(np.array([output], np.int32))
        schema.OperatorStart(b)
        schema.OperatorAddOpcodeIndex(b, self._codes.setdefault(name, len(self._codes)))
        schema.OperatorAddInputs(b, reads)
        schema.OperatorAddOutputs(b, writes)
        if table is not None:
            schema.OperatorAddBuiltinOptionsType(b, getattr(schema.BuiltinOptions, options))
            schema.OperatorAddBuiltinOptions(b, table)
        self._operators.append(schema.OperatorEnd(b))
        return output

    def metadata(self, name: str, content: bytes) -> None:
        """Add ``content`` under ``name``."""
        b = self._b
        number = len(self._buffers)
        self._buffers.append(self._buffer(np.frombuffer(content, np.uint8)))
        text = b.CreateString(name)
        schema.MetadataStart(b)
        schema.MetadataAddName(b, text)
        schema.MetadataAddBuffer(b, number)
        self._metadata.append(schema.MetadataEnd(b))

    def finish(self, first: int, last: int, text: str) -> tuple[bytes, Places]:
        """Return the file from the tensor ``first`` to ``last``, and the places of its numbers."""
        b = self._b
        tensors, operators = self._tables(self._tensors), self._tables(self._operators)
        inputs, outputs = (b.CreateNumpyVector(np.array([end], np.int32)) for end in (first, last))
        name = b.CreateString("main")
        schema.SubGraphStart(b)
        schema.SubGraphAddTensors(b, tensors)
        schema.SubGraphAddInputs(b, inputs)
        schema.SubGraphAddOutputs(b, outputs)
        schema.SubGraphAddOperators(b, operators)
        schema.SubGraphAddName(b, name)
        subgraphs = self._tables([schema.SubGraphEnd(b)])
        codes = self._tables([self._code(name) for name in self._codes])
        buffers, metadata = self._tables(self._buffers), self._tables(self._metadata)
        said = b.CreateString(text)
        schema.ModelStart(b)
        schema.ModelAddVersion(b, VERSION)
        schema.ModelAddOperatorCodes(b, codes)
        schema.ModelAddSubgraphs(b, subgraphs)
        schema.ModelAddDescription(b, said)
        schema.ModelAddBuffers(b, buffers)
        schema.ModelAddMetadata(b, metadata)
        b.Finish(schema.ModelEnd(b), IDENTIFIER)
        data = bytes(b.Output())
        return data, self.places.behind(len(data))

    def _buffer(self, data: Array | None, name: str | None = None) -> int:
        b = self._b
        content = 0
        if data is not None:
            raw = data.tobytes()
            b.StartVector(1, len(raw), ALIGNMENT)
            b.head -= len(raw)
            b.Bytes[b.head : b.head + len(raw)] = raw
            content = b.EndVector()
            if name is not None:
                self.places.data[name] = (content - 4, len(raw))
        schema.BufferStart(b)
        if data is not None:
            schema.BufferAddData(b, content)
        return int(schema.BufferEnd(b))

    def _parameters(self, steps: int, zeros: int, dimension: int) -> int:
        b = self._b
        schema.QuantizationParametersStart(b)
        schema.QuantizationParametersAddScale(b, steps)
        schema.QuantizationParametersAddZeroPoint(b, zeros)
        schema.QuantizationParametersAddQuantizedDimension(b, dimension)
        return int(schema.QuantizationParametersEnd(b))

    def _code(self, name: str) -> int:
        code, b = getattr(schema.BuiltinOperator, name), self._b
        schema.OperatorCodeStart(b)
        # Old readers know the first of the two; there, 127 sends new ones to the second.
        schema.OperatorCodeAddDeprecatedBuiltinCode(b, min(code, 127))
        schema.OperatorCodeAddVersion(b, INT8_VERSIONS.get(name, 1) if self.int8 else 1)
        schema.OperatorCodeAddBuiltinCode(b, code)
        return int(schema.OperatorCodeEnd(b))

    def _tables(self, offsets: list[int]) -> int:
        b = self._b
        b.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            b.PrependUOffsetTRelative(offset)
        return int(b.EndVector())
