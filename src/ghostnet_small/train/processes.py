"""The processes that train one model together, and the values that they must agree on.

``Processes`` is a single process, whose methods do nothing; ``Group`` is one of several. The
engine calls the same methods of both.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ghostnet_small.errors import InputError, os_error_text
from ghostnet_small.launcher import Launch, launched
from ghostnet_small.tensorfile import on_cpu
from ghostnet_small.train.interfaces import ProcessFailed, Store

Result = TypeVar("Result")

# A process that does not answer for this long within a step hangs or has lost its machine.
STEP_TIMEOUT = timedelta(minutes=10)
# The others wait while one decodes a large dataset for the first time, or saves to a slow disk.
WORK_TIMEOUT = timedelta(days=2)


class Processes:
    """A single training process."""

    count = 1
    rank = 0

    @property
    def is_main(self) -> bool:
        """Return whether this process writes and prints."""
        return self.rank == 0

    def agree(self, *numbers: int) -> tuple[int, ...]:
        """Return the maximum of each of ``numbers`` over all processes."""
        return numbers

    def gather(self, values: Tensor) -> Tensor:
        """Return the ``values`` ``(...)`` of all processes, as ``(W, ...)`` by rank, on the CPU."""
        return values.cpu()[None]

    def average_statistics(self, model: nn.Module) -> None:
        """Give every process the mean over all processes of ``model``'s running statistics.

        Each process normalises its own images, so the statistics differ; their mean is an equally
        good estimate of lower variance. The weights are the same in all processes.
        """

    def check_same(self, value: Callable[[], Any], what: str) -> None:
        """Raise ``InputError`` in all processes where ``value()`` is not the same in all."""

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """Wait at the end for all processes; an ``InputError`` in one is raised in all."""
        yield

    @contextmanager
    def together(self) -> Iterator[None]:
        """Turn errors of one process, or of a lost connection, into ``ProcessFailed``."""
        yield

    def main_first(self, work: Callable[[], Result]) -> Result:
        """Run ``work()`` in one process per machine, then in the others, which use its cache."""
        return work()

    def on_main(self, work: Callable[[], None]) -> None:
        """Run ``work()`` only in the main process; the others wait, and fail if it fails."""
        work()


ALONE = Processes()
_groups = itertools.count()


class Group(Processes):
    """One of several processes."""

    def __init__(self, launch: Launch, patient: dist.ProcessGroup) -> None:
        self.count, self.rank = launch.count, launch.rank
        self.first_here = launch.local_rank == 0
        self.patient = patient

    def agree(self, *numbers: int) -> tuple[int, ...]:
        found = torch.tensor(numbers, dtype=torch.int64)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return tuple(found.tolist())

    def gather(self, values: Tensor) -> Tensor:
        mine = values.detach().cpu().contiguous()
        found = [torch.empty_like(mine) for _ in range(self.count)]
        dist.all_gather(found, mine)
        return torch.stack(found)

    @torch.no_grad()
    def average_statistics(self, model: nn.Module) -> None:
        kept = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        if not kept:
            return
        # In one tensor: a network has hundreds of them, each too small to send separately.
        flat = torch.cat([buffer.flatten() for buffer in kept])
        dist.all_reduce(flat)
        flat /= self.count
        for buffer, mean in zip(kept, flat.split([b.numel() for b in kept]), strict=True):
            buffer.copy_(mean.view_as(buffer))

    def check_same(self, value: Callable[[], Any], what: str) -> None:
        found = self._exchange(value())
        other = next((rank for rank, its in enumerate(found) if its != found[0]), None)
        if other is not None:
            raise _Agreed(
                f"the processes differ in {what}: {found[0]} in process 0, {found[other]} in "
                f"process {other}; give all of them the same command, data and libraries"
            )

    @contextmanager
    def agreed(self) -> Iterator[None]:
        said = ""
        try:
            yield
        except OSError as error:
            said = os_error_text(error)
        except InputError as error:
            said = str(error)
        for rank, its in enumerate(self._exchange(said)):
            if its:
                raise _Agreed(f"process {rank}: {its}" if rank else its)

    @contextmanager
    def together(self) -> Iterator[None]:
        try:
            yield
        except _Agreed:
            raise
        except OSError as error:
            raise ProcessFailed(f"process {self.rank}: {os_error_text(error)}") from None
        except InputError as error:
            raise ProcessFailed(f"process {self.rank}: {error}") from None
        except RuntimeError as error:
            if not _lost(error):
                raise
            raise ProcessFailed(
                f"process {self.rank} stops because another one ended or no longer answers"
            ) from error

    def main_first(self, work: Callable[[], Result]) -> Result:
        found: list[Result] = []
        for turn in (True, False):
            with self.agreed():
                if self.first_here == turn:
                    found.append(work())
        return found[0]

    def on_main(self, work: Callable[[], None]) -> None:
        with self.agreed():
            if self.is_main:
                work()

    def _exchange(self, value: Any) -> list[Any]:
        found: list[Any] = [None] * self.count
        dist.all_gather_object(found, value, group=self.patient)
        return found


class MainStore:
    """A ``Store`` that only the main process writes; the others wait until it is written."""

    def __init__(self, store: Store, processes: Processes) -> None:
        self.store, self.processes = store, processes

    def save_state(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        self.processes.on_main(lambda: self.store.save_state(tensors, values))

    def save_weights(self, name: str, model: nn.Module) -> None:
        self.processes.on_main(lambda: self.store.save_weights(name, model))

    def save_metrics(self, rows: list[dict[str, Any]]) -> None:
        self.processes.on_main(lambda: self.store.save_metrics(rows))


@contextmanager
def joined() -> Iterator[Processes]:
    """Join the processes that torchrun or accelerate started with this one, if they did.

    Raises ``InputError`` where they cannot be reached.
    """
    launch = launched()
    if launch.count == 1:
        yield ALONE
        return
    # Tensors on the CPU, such as those of agreements, use gloo even where the model uses NCCL.
    both = torch.cuda.is_available() and dist.is_nccl_available()
    try:
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if both else "gloo",
            # Values of an earlier group of these processes must not be read as those of this group.
            store=dist.PrefixStore(f"{next(_groups)}", _meeting_place()),
            rank=launch.rank,
            world_size=launch.count,
            timeout=STEP_TIMEOUT,
        )
        patient = dist.new_group(backend="gloo", timeout=WORK_TIMEOUT)
        assert isinstance(patient, dist.ProcessGroup)  # every process is a member
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"process {launch.rank} of {launch.count} cannot reach the others ({reason}); check "
            "the launcher's address and port"
        ) from None
    try:
        yield Group(launch, patient)
    finally:
        dist.destroy_process_group()


@cache
def _meeting_place() -> dist.Store:
    store, _, _ = next(iter(dist.rendezvous("env://", timeout=STEP_TIMEOUT)))
    return store


def digest(tensors: dict[str, Tensor]) -> int:
    """Return a number that changes with the bits of floating-point ``tensors``.

    It is a sum of whole numbers, which is the same on every device.
    """
    whole = {4: torch.int32, 8: torch.int64}
    sums = [
        tensor.detach().view(whole[tensor.element_size()]).sum(dtype=torch.int64)
        for tensor in tensors.values()
        if tensor.is_floating_point()
    ]
    return int(torch.stack(on_cpu(sums)).sum())


class _Agreed(InputError):
    """An error that all processes raise."""


def _lost(error: RuntimeError) -> bool:
    """Return whether ``error`` comes from a connection to another process."""
    return isinstance(error, dist.DistError) or bool(
        re.search("gloo|connection|nccl|timed out", str(error), re.IGNORECASE)
    )
