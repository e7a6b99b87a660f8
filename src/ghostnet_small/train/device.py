"""The device and the arithmetic that a training asks for."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from ghostnet_small.errors import InputError

DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")
_MIXED = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


def make_accelerator(device: str = "auto", precision: str = "fp32") -> Accelerator:
    """An ``Accelerator`` on ``device``: "auto" is the best one there.

    Raises ``InputError`` where the device is not known or not there, or cannot compute in
    ``precision``.
    """
    if device not in DEVICES:
        raise InputError(f"device {device!r} is not known; choose one of {', '.join(DEVICES)}")
    there = torch.accelerator.current_accelerator(check_available=True)
    if device not in ("auto", "cpu") and (there is None or there.type != device):
        have = "cpu" if there is None else f"cpu, {there.type}"
        raise InputError(f"device {device!r} is not there; this machine has {have}")
    on_cpu = device == "cpu" or there is None
    if precision == "fp16" and on_cpu:
        raise InputError("precision 'fp16' needs a GPU; on a CPU take bf16 or fp32")
    # Accelerate keeps one state a process; a second training may ask for other arithmetic.
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(cpu=on_cpu, mixed_precision=_MIXED[precision])


class Trained(nn.Module):
    """What accelerate may wrap and patch, so that the model in it stays as it is."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.model(x)
        return out
