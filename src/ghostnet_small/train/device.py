"""The device and the precision of a training."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import torch

from ghostnet_small.errors import InputError
from ghostnet_small.launcher import Launch, launched

if TYPE_CHECKING:
    from accelerate import Accelerator

DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")
# Options of mallopt, from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _NEVER = -1, -4, -1
_MIXED = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


def make_accelerator(device: str = "auto", precision: str = "fp32") -> Accelerator:
    """Return an ``Accelerator`` on ``device``: "auto" is the best one available.

    With several processes, which must have been joined, each uses the CPU, or the GPU with its own
    number on its machine.

    Raises ``InputError`` where the device is unknown or missing, or does not support ``precision``
    or several processes.
    """
    # Imported here, so that prediction does not wait for it.
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
    # Accelerate keeps one state per process; a second training may use another precision.
    AcceleratorState._reset_state(reset_partial_state=True)
    # The engine averages the running statistics; a broadcast of the main process's would be wrong.
    wrapping = DistributedDataParallelKwargs(broadcast_buffers=False)
    with _environment(launch):
        return Accelerator(
            cpu=on_cpu, mixed_precision=_MIXED[precision], kwargs_handlers=[wrapping]
        )


def keep_freed_memory() -> None:
    """Make the C library keep memory that CPU tensors free, for the next step.

    By default it returns large blocks to the system, which gives them back page by page, zeroed:
    a fifth of a step's time. Only glibc is changed.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  (AttributeError where it is another library)
        library.mallopt(_M_TRIM_THRESHOLD, _NEVER)
        library.mallopt(_M_MMAP_MAX, 0)


def _check_several(kind: str, launch: Launch) -> None:
    """Raise ``InputError`` where devices of ``kind`` do not suit the processes started here."""
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
    """Set the environment for accelerate, so that a single process is not wrapped for several."""
    rank = os.environ.pop("LOCAL_RANK", None) if launch.count == 1 else None
    if launch.count > 1 and "OMP_NUM_THREADS" not in os.environ:
        # The processes of this machine share its cores; torchrun sets it to 1.
        threads = max(1, (os.cpu_count() or 1) // launch.local_count)
        os.environ["OMP_NUM_THREADS"] = str(threads)
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if rank is not None:
            os.environ["LOCAL_RANK"] = rank
