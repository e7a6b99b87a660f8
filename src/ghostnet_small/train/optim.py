"""Optimisers, and which parameters they decay."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from ghostnet_small.errors import InputError

OptimizerName = Literal["sgd", "adamw"]
# The devices for which PyTorch has optimisers of one kernel. It goes over parameter, gradient and
# momentum number by number in memory, so all must have one memory format: autograd and
# ``restore_optimizer`` see to that, and a test holds it.
FUSED = ("cpu", "cuda")


@dataclass(frozen=True)
class OptimizerSettings:
    """SGD with momentum, or AdamW.

    Args:
        name: "sgd" or "adamw".
        learning_rate: the peak of the schedule.
        weight_decay: coupled for SGD, decoupled for AdamW, as PyTorch defines them.
        decay_norm_and_bias: whether batch-norm scales and all biases decay too.
        momentum: of SGD.
        nesterov: of SGD.
        betas: of AdamW.
    """

    name: OptimizerName = "sgd"
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    decay_norm_and_bias: bool = False
    momentum: float = 0.9
    nesterov: bool = True
    betas: tuple[float, float] = (0.9, 0.999)

    def __post_init__(self) -> None:
        """Raises ``InputError`` for a value outside its range."""
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise InputError(
                f"learning_rate {self.learning_rate!r} is not allowed; give a number above 0"
            )
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise InputError(
                f"weight_decay {self.weight_decay!r} is not allowed; give a number of at least 0"
            )
        for name, value in (("momentum", self.momentum), *(("betas", b) for b in self.betas)):
            if not 0 <= value < 1:
                raise InputError(f"{name} {value!r} is not allowed; give 0 <= {name} < 1")
        if self.nesterov and self.momentum == 0 and self.name == "sgd":
            raise InputError("nesterov needs a momentum above 0; set nesterov to false")


def build_optimizer(model: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """An optimiser over the parameters of ``model``, in two groups: decayed and not.

    A parameter of one dimension is a norm's or a bias. A step is one kernel for all parameters
    where PyTorch has it: hundreds of small tensors otherwise cost more than their arithmetic.
    """
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for parameter in model.parameters():
        decays = parameter.ndim > 1 or settings.decay_norm_and_bias
        (decayed if decays else spared).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    fused = all(parameter.device.type in FUSED for parameter in (*decayed, *spared))
    if settings.name == "adamw":
        return torch.optim.AdamW(
            groups,
            lr=settings.learning_rate,
            betas=settings.betas,
            fused=fused,
            # The kernel is the same; a step may then be recorded (``recorded.py``).
            capturable=all(p.device.type == "cuda" for p in (*decayed, *spared)),
        )
    return torch.optim.SGD(
        groups,
        lr=settings.learning_rate,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        fused=fused,
    )
