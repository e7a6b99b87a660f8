"""Calls of the C kernels with tensors."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from torch import Tensor

from ghostnet_small.fast.cpu.kernels.library import library

Size = tuple[int, int]

_OUT_OF_RANGE = 2

long = ctypes.c_int64
double = ctypes.c_double


def usable(x: Tensor) -> bool:
    """Return whether ``x`` ``(N, C, H, W)`` suits the kernels: on the CPU, channels_last memory."""
    return (
        usable_for(x) and x.dim() == 4 and x.numel() > 0 and x.permute(0, 2, 3, 1).is_contiguous()
    )


def usable_for(parameters: Tensor) -> bool:
    """Return whether ``fold`` and ``unfold`` take tensors like ``parameters``."""
    return parameters.device.type == "cpu" and library(parameters.dtype) is not None


class Listener(Protocol):
    """A receiver of calls that are listed and not made."""

    def listed(self, name: str, like: Tensor, arguments: Sequence[object]) -> None:
        """Take a call of the kernel ``name`` for the dtype of ``like``."""


_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listing(listener: Listener) -> Iterator[None]:
    """Give ``listener`` the calls of kernels within, which compute nothing then."""
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)


class Pointers:
    """Pointers to tensors; keeps the tensors alive."""

    def __init__(self, tensors: Sequence[Tensor | None]) -> None:
        self.tensors = tensors
        addresses = [None if tensor is None else tensor.data_ptr() for tensor in tensors]
        self.array = (ctypes.c_void_p * len(addresses))(*addresses)


class LastingPointers:
    """Pointers to the same tensors in every call, which seldom move in memory."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = list(tensors)
        self.addresses: list[int] = []
        self._pointers = Pointers([])

    def now(self) -> Pointers:
        """Return where the tensors are now."""
        addresses = list(map(Tensor.data_ptr, self.tensors))
        if addresses != self.addresses:
            self.addresses, self._pointers = addresses, Pointers(self.tensors)
        return self._pointers


def call(name: str, like: Tensor, *arguments: object) -> None:
    """Call a kernel for the dtype of ``like``; tensors are passed by address.

    Raises ``MemoryError`` where the kernel cannot get its scratch memory, and ``IndexError`` where
    it found an index out of range.
    """
    listener = _listener.get()
    if listener is not None:
        listener.listed(name, like, arguments)
        return
    kernels = library(like.dtype)
    assert kernels is not None
    plain = [
        ctypes.c_void_p(argument.data_ptr())
        if isinstance(argument, Tensor)
        else argument.array
        if isinstance(argument, Pointers)
        else ctypes.c_void_p(None)
        if argument is None
        else argument
        for argument in arguments
    ]
    failed = getattr(kernels, name)(*plain)
    if failed == _OUT_OF_RANGE:
        raise IndexError(f"the kernel {name} got an index that is out of range")
    if failed:
        raise MemoryError(f"no memory for the kernel {name}")


def dims(x: Tensor) -> tuple[ctypes.c_int64, int, int, int]:
    """Return the dimensions of images ``(N, H, W, C)``, as the kernels take them."""
    n, h, w, c = x.shape
    return long(n), h, w, c


def in_order(kernel: Tensor) -> Tensor:
    """Return ``kernel`` ``(O, I, h, w)`` as contiguous ``(O, h, w, I)``."""
    return kernel.permute(0, 2, 3, 1).contiguous()
