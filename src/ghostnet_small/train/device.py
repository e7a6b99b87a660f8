"""The device and the arithmetic that a training asks for."""

from __future__ import annotations

import ctypes
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ghostnet_small.errors import InputError
from ghostnet_small.launcher import Launch, launched

if TYPE_CHECKING:
    from accelerate import Accelerator

DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")
# Of mallopt, in glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _NEVER = -1, -4, -1
_MIXED = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


def make_accelerator(device: str = "auto", precision: str = "fp32") -> Accelerator:
    """An ``Accelerator`` on ``device``: "auto" is the best one there.

    In one of several processes, which must have been joined, it is one of theirs: on the CPU, or
    on the GPU with the process's number on its machine.

    Raises ``InputError`` where the device is not known or not there, cannot compute in
    ``precision`` or not in several processes.
    """
    # Who only predicts does not wait for its import.
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedDataParallelKwargs

    launch = launched()
    if device not in DEVICES:
        raise InputError(f"device {device!r} is not known; choose one of {', '.join(DEVICES)}")
    there = torch.accelerator.current_accelerator(check_available=True)
    if device not in ("auto", "cpu") and (there is None or there.type != device):
        have = "cpu" if there is None else f"cpu, {there.type}"
        raise InputError(f"device {device!r} is not there; this machine has {have}")
    on_cpu = device == "cpu" or there is None
    if launch.count > 1 and there is not None and not on_cpu:
        _check_several(there.type, launch)
    if precision == "fp16" and on_cpu:
        raise InputError("precision 'fp16' needs a GPU; on a CPU take bf16 or fp32")
    # Accelerate keeps one state a process; a second training may ask for other arithmetic.
    AcceleratorState._reset_state(reset_partial_state=True)
    # The engine makes the running statistics the same everywhere; the main process's would not do.
    wrapping = DistributedDataParallelKwargs(broadcast_buffers=False)
    with _environment(launch):
        return Accelerator(
            cpu=on_cpu, mixed_precision=_MIXED[precision], kwargs_handlers=[wrapping]
        )


def keep_freed_memory() -> None:
    """Make the C library keep the memory that tensors on the CPU free, for the next step's.

    Else it gives large blocks back to the system, which hands them out again page by page, zeroed:
    a fifth of a step's time. Only glibc is asked; elsewhere nothing changes.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  (AttributeError where it is another library)
        library.mallopt(_M_TRIM_THRESHOLD, _NEVER)
        library.mallopt(_M_MMAP_MAX, 0)


def _check_several(kind: str, launch: Launch) -> None:
    """Raises ``InputError`` where devices of ``kind`` do not serve the processes started here."""
    if kind != "cuda":
        raise InputError(
            f"device {kind!r} serves one process; start one, or give --train.device cpu"
        )
    if launch.local_count > torch.cuda.device_count():
        raise InputError(
            f"the launcher started {launch.local_count} processes on this machine, which has "
            f"{torch.cuda.device_count()} GPU(s); start one for each, or give --train.device cpu"
        )


@contextmanager
def _environment(launch: Launch) -> Iterator[None]:
    """What accelerate reads, such that one process is never wrapped for several."""
    rank = os.environ.pop("LOCAL_RANK", None) if launch.count == 1 else None
    if launch.count > 1 and "OMP_NUM_THREADS" not in os.environ:
        # For this machine's processes to share its cores; torchrun sets it to 1.
        threads = max(1, (os.cpu_count() or 1) // launch.local_count)
        os.environ["OMP_NUM_THREADS"] = str(threads)
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if rank is not None:
            os.environ["LOCAL_RANK"] = rank


def wrap(model: nn.Module, accelerator: Accelerator) -> nn.Module:
    """What to call in place of ``model`` in training: it computes in the precision asked for, and
    its gradients are those of all processes. The parameters are the same ones."""
    with warnings.catch_warnings():
        # Accelerate has no other name for it yet.
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        wrapped: nn.Module = accelerator.prepare_model(Trained(model))
        return wrapped


class Trained(nn.Module):
    """What accelerate may wrap and patch, so that the model in it stays as it is."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.model(x)
        return out
