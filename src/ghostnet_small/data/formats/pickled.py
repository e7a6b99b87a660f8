"""Replacements for the functions that numpy names in a pickle; each gives only data."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

# Types of arrays: bool and integers, numpy's code without the order of the bytes.
_CODES = ("b1", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8")


class Refused(Exception):
    """The reason, in a few words, why a pickle is not read."""


@dataclass
class Kind:
    """An array's type, whose order of bytes comes after it."""

    code: str
    order: str = "="

    def get(self) -> np.dtype:
        """The type as numpy has it."""
        return np.dtype(self.order + self.code)


@dataclass
class Array:
    """An array, whose values come after it."""

    values: np.ndarray | None = None

    def get(self) -> np.ndarray:
        """The values, which a damaged pickle may not have brought."""
        if self.values is None:
            raise Refused("an array has no values")
        return self.values


@dataclass(frozen=True)
class Known:
    """One of numpy's functions, with its replacement."""

    make: Callable[[tuple[Any, ...]], Any]


def as_text(value: Any) -> str:
    """Text as it is, and Python 2's strings as Latin-1."""
    if isinstance(value, bytes):
        return value.decode("latin1")
    if not isinstance(value, str):
        raise Refused(f"a {type(value).__name__} stands for a name")
    return value


def view(content: Any, kind: Any, shape: Any, order: str) -> np.ndarray:
    """``content`` as an array, not copied, where it has just the size that it should have."""
    if not isinstance(content, bytes) or not isinstance(kind, Kind):
        raise Refused("an array holds something other than integers")
    if (
        not isinstance(shape, tuple)
        or len(shape) > 8
        or not all(isinstance(side, int) and 0 <= side < 2**40 for side in shape)
        or math.prod(shape) * kind.get().itemsize != len(content)
    ):
        raise Refused("an array's shape is not that of its values")
    return np.frombuffer(content, kind.get()).reshape(shape, order="F" if order == "F" else "C")


def _make_array(arguments: tuple[Any, ...]) -> Array:
    return Array()


def _make_kind(arguments: tuple[Any, ...]) -> Kind:
    code = arguments[0]
    if not isinstance(code, str | bytes) or as_text(code[:8]) not in _CODES:
        raise Refused("an array holds something other than integers")
    return Kind(as_text(code))


def _make_scalar(arguments: tuple[Any, ...]) -> int:
    kind, content = arguments
    return int(view(content, kind, (), "C"))


def _make_from_buffer(arguments: tuple[Any, ...]) -> Array:
    content, kind, shape, order = arguments
    return Array(view(content, kind, shape, order))


def _make_bytes(arguments: tuple[Any, ...]) -> bytes:
    """``_codecs.encode(text, 'latin1')``, by which old protocols write bytes."""
    if not arguments:
        return b""
    text, encoding = arguments
    if not isinstance(text, str) or encoding != "latin1":
        raise Refused("text is in an unknown encoding")
    return text.encode("latin1")


def _make_nothing(arguments: tuple[Any, ...]) -> Any:
    raise Refused("it makes an array in an unknown way")


NAMES = {
    ("numpy", "ndarray"): Known(_make_nothing),
    ("numpy", "dtype"): Known(_make_kind),
    ("_codecs", "encode"): Known(_make_bytes),
    ("__builtin__", "bytes"): Known(_make_bytes),
    ("builtins", "bytes"): Known(_make_bytes),
}
for _package in ("numpy.core", "numpy._core"):
    NAMES |= {
        (f"{_package}.multiarray", "_reconstruct"): Known(_make_array),
        (f"{_package}.multiarray", "scalar"): Known(_make_scalar),
        (f"{_package}.numeric", "_frombuffer"): Known(_make_from_buffer),
    }
