"""A sequence of kernel calls, listed once and then run again as one call of C.

A small network's step is hundreds of kernels, each of which takes less time than the Python around
it. For one shape of images that Python always gives the same calls: the same kernels, sizes and
places in memory. A ``Recording`` lists them without computing anything; a ``Replay`` gives the
tensors between them places in one block of memory, by the time that each is in use, and runs the
list.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ghostnet_small.fast.cpu.kernels.calls import Pointers, listing
from ghostnet_small.fast.cpu.kernels.entries import PREFIX
from ghostnet_small.fast.cpu.kernels.library import library
from ghostnet_small.fast.cpu.thread_choice import ThreadChoice

ALL = 0  # threads that the process is set to, as ``use_threads`` takes it
_ALIGNMENT = 64
_MAKERS = {
    torch.ops.aten.empty.memory_format,
    torch.ops.aten.empty_like.default,
    torch.ops.aten.empty_strided.default,
    torch.ops.aten.new_empty.default,
    torch.ops.aten.new_empty_strided.default,
}


class NotRecordableError(Exception):
    """The work computes something that is not a kernel; the message says what."""


@dataclass(frozen=True)
class _Inner:
    """A place in a tensor that was made while recording."""

    number: int
    offset: int


@dataclass(frozen=True)
class _Table:
    """A list of places, of which a kernel takes the address."""

    places: list[_Inner | int]


_Argument = _Inner | _Table | int | float


@dataclass
class _Block:
    """The memory of a tensor made while recording, and the first and last call that use it."""

    storage: torch.UntypedStorage
    first: int = -1
    last: int = -1
    start: int = 0

    def used(self, call: int) -> None:
        """Note that ``call`` uses it."""
        self.first = call if self.first < 0 else self.first
        self.last = max(self.last, call)


@dataclass
class Recording:
    """Calls of kernels in order. What is recorded must compute by kernels alone, on tensors of one
    dtype; tensors that were there before keep their places in memory."""

    dtype: torch.dtype
    calls: list[tuple[str, list[_Argument]]] = field(default_factory=list)
    blocks: list[_Block] = field(default_factory=list)
    # Tensors from outside, which must live as long as their addresses are in use.
    kept: list[object] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._mode = _Watch(self)

    def __enter__(self) -> None:
        self._listing = listing(self)
        self._listing.__enter__()
        self._mode.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._mode.__exit__(*error)
        self._listing.__exit__(*error)

    def made(self, tensor: Tensor) -> None:
        """Note that ``tensor`` is new."""
        storage = tensor.untyped_storage()
        self._numbers[storage.data_ptr()] = len(self.blocks)
        self.blocks.append(_Block(storage))

    def listed(self, name: str, like: Tensor, arguments: Sequence[object]) -> None:
        """Take a call of a kernel (``calls.Listener``)."""
        if like.dtype != self.dtype:
            raise NotRecordableError(f"the kernel {name} in {like.dtype}")
        self.calls.append((name, [self._argument(argument) for argument in arguments]))

    def _argument(self, argument: Any) -> _Argument:
        if isinstance(argument, Tensor):
            return self._place(argument)
        if isinstance(argument, Pointers):
            return _Table([0 if t is None else self._place(t) for t in argument.tensors])
        if argument is None:
            return 0
        if isinstance(argument, ctypes.Array):
            self.kept.append(argument)
            return ctypes.addressof(argument)
        value: int | float = getattr(argument, "value", argument)
        return value

    def _place(self, tensor: Tensor) -> _Inner | int:
        storage = tensor.untyped_storage()
        number = self._numbers.get(storage.data_ptr())
        if number is None:
            self.kept.append(tensor)
            return tensor.data_ptr()
        self.blocks[number].used(len(self.calls))
        return _Inner(number, tensor.data_ptr() - storage.data_ptr())

    def keep(self, tensor: Tensor) -> int:
        """Leave ``tensor``, made while recording, in its place until the list is run again.

        Returns the number of its block."""
        number = self._numbers[tensor.untyped_storage().data_ptr()]
        self.blocks[number].used(len(self.calls))
        return number


class _Watch(TorchDispatchMode):
    """Sees each of PyTorch's operations: new tensors are noted, views pass, others raise."""

    def __init__(self, recording: Recording) -> None:
        super().__init__()
        self.recording = recording

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _MAKERS:
            made = func(*args, **(kwargs or {}))
            self.recording.made(made)
            return made
        returns = func._schema.returns
        if all(kind.alias_info is not None and not kind.alias_info.is_write for kind in returns):
            return func(*args, **(kwargs or {}))
        raise NotRecordableError(f"PyTorch's operation {func}")


class Replay:
    """A recording with its tensors placed in memory; ``run`` runs a range of its calls."""

    def __init__(self, recording: Recording) -> None:
        kernels = library(recording.dtype)
        assert kernels is not None
        self._library, self._kept = kernels, recording.kept
        size = _arrange(recording.blocks)
        self.memory = torch.empty(size + _ALIGNMENT, dtype=torch.uint8)
        base = -(-self.memory.data_ptr() // _ALIGNMENT) * _ALIGNMENT
        self._base = base - self.memory.data_ptr()
        self._starts = [block.start for block in recording.blocks]
        self._tables: list[ctypes.Array[ctypes.c_void_p]] = []

        def address(place: _Inner | int) -> int:
            if isinstance(place, int):
                return place
            return base + self._starts[place.number] + place.offset

        def slot(argument: _Argument) -> _Slot:
            if isinstance(argument, float):
                return _Slot(d=argument)
            if isinstance(argument, _Table):
                table = (ctypes.c_void_p * len(argument.places))(*map(address, argument.places))
                self._tables.append(table)
                return _Slot(i=ctypes.addressof(table))
            return _Slot(i=address(argument))

        flat = [slot(argument) for _, arguments in recording.calls for argument in arguments]
        self._slots = (_Slot * len(flat))(*flat)
        self._calls = (_Call * len(recording.calls))()
        at = ctypes.addressof(self._slots)
        for call, (name, arguments) in zip(self._calls, recording.calls, strict=True):
            entry = getattr(kernels, PREFIX + name)
            call.entry, call.slots = ctypes.cast(entry, ctypes.c_void_p).value, at
            at += ctypes.sizeof(_Slot) * len(arguments)
        self._names = [name for name, _ in recording.calls]

    def tensor(self, number: int, like: Tensor) -> Tensor:
        """Return the tensor of block ``number``, of the shape and strides of ``like``."""
        start = self._base + self._starts[number]
        flat = self.memory[start : start + like.untyped_storage().nbytes()].view(like.dtype)
        offset = flat.storage_offset() + like.storage_offset()
        return flat.as_strided(like.shape, like.stride(), offset)

    def runner(self, first: int, last: int) -> Callable[[], None]:
        """Return a function that runs the calls from ``first`` up to ``last``.

        It raises ``MemoryError`` where a kernel cannot get its scratch memory.
        """
        run, use_threads = self._library.replay, self._library.use_threads
        run.restype = ctypes.c_int64
        choice = ThreadChoice(torch.get_num_threads())
        start = ctypes.byref(self._calls, first * ctypes.sizeof(_Call))
        count = ctypes.c_int64(last - first)

        def replay(threads: int) -> None:
            use_threads(threads)
            failed = run(start, count)
            use_threads(ALL)
            if failed:
                raise MemoryError(f"no memory for the kernel {self._names[first + failed - 1]}")

        return partial(choice.run, replay)


class _Slot(ctypes.Union):
    _fields_ = (("i", ctypes.c_int64), ("d", ctypes.c_double))


class _Call(ctypes.Structure):
    _fields_ = (("entry", ctypes.c_void_p), ("slots", ctypes.c_void_p))


def _arrange(blocks: Sequence[_Block]) -> int:
    """Set where each block starts, so that those in use at one time are apart; returns the size.

    The largest first, each in the first gap that is free while it is in use.

    Source: arXiv:2001.03288, section 5.2, "greedy by size".
    """
    placed: list[_Block] = []
    for block in sorted(blocks, key=lambda block: -block.storage.nbytes()):
        if block.first < 0:
            continue
        block.start = 0
        for other in placed:  # in order of their starts
            if other.last < block.first or block.last < other.first:
                continue
            if block.start + _room(block) <= other.start:
                break
            block.start = max(block.start, other.start + _room(other))
        placed.append(block)
        placed.sort(key=lambda block: block.start)
    return max((block.start + _room(block) for block in placed), default=0)


def _room(block: _Block) -> int:
    return -(-block.storage.nbytes() // _ALIGNMENT) * _ALIGNMENT
