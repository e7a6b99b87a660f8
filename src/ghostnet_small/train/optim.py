"""Optimisers, and which parameters they decay."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from ghostnet_small.errors import InputError
from ghostnet_small.fast.cpu.updates import SGD
from ghostnet_small.fields import LATER

OptimizerName = Literal["sgd", "adamw"]
# The devices for which PyTorch has optimisers of one kernel. It goes over parameter, gradient and
# momentum number by number in memory, so all must have one memory format: autograd and
# ``restore_optimizer`` see to that, and a test holds it.
FUSED = ("cpu", "cuda")
SHARE = "share"  # of the learning rate, that a group of parameters has


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
        backbone_rate: rate of all layers before the classifier, as a share of the learning rate;
            0 freezes them, with the statistics of their batch norms.
    """

    name: OptimizerName = "sgd"
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    decay_norm_and_bias: bool = False
    momentum: float = 0.9
    nesterov: bool = True
    betas: tuple[float, float] = (0.9, 0.999)
    backbone_rate: float = field(default=1.0, metadata=LATER)

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
        if not (math.isfinite(self.backbone_rate) and self.backbone_rate >= 0):
            raise InputError(
                f"backbone_rate {self.backbone_rate!r} is not allowed; give 1 (as the classifier), "
                "less, or 0 (frozen)"
            )
        for name, value in (("momentum", self.momentum), *(("betas", b) for b in self.betas)):
            if not 0 <= value < 1:
                raise InputError(f"{name} {value!r} is not allowed; give 0 <= {name} < 1")
        if self.nesterov and self.momentum == 0 and self.name == "sgd":
            raise InputError("nesterov needs a momentum above 0; set nesterov to false")


def backbone_of(model: nn.Module) -> list[nn.Parameter]:
    """The parameters of all layers but the last, which gives the logits."""
    network: Any = model
    last = {id(parameter) for parameter in network.last_layer().parameters()}
    return [parameter for parameter in model.parameters() if id(parameter) not in last]


def freeze(model: nn.Module, backbone: Iterable[nn.Parameter]) -> list[nn.Module]:
    """Make the parameters of ``backbone`` need no gradient; returns the modules to be kept in
    evaluation mode while the rest of ``model`` is in training: all that hold nothing else."""
    apart: set[int] = {id(parameter.requires_grad_(False)) for parameter in backbone}
    within = ((module, [id(p) for p in module.parameters()]) for module in model.modules())
    return [module for module, own in within if own and apart.issuperset(own)]


def build_optimizer(
    model: nn.Module, settings: OptimizerSettings, backbone: Iterable[nn.Parameter] = ()
) -> torch.optim.Optimizer:
    """An optimiser over the parameters of ``model``, in groups: decayed and not, those of the
    ``backbone`` apart where they have another rate, or none where they are frozen.

    A parameter of one dimension is a norm's or a bias. A step is one kernel for all parameters
    where PyTorch has it: hundreds of small tensors otherwise cost more than their arithmetic.
    """
    apart = {id(parameter) for parameter in backbone}
    kinds: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        slower = id(parameter) in apart
        if slower and settings.backbone_rate == 0:
            continue
        decays = parameter.ndim > 1 or settings.decay_norm_and_bias
        kinds.setdefault((not slower, decays), []).append(parameter)
    groups: list[dict[str, Any]] = [
        {
            "params": kinds[whole, decays],
            "weight_decay": settings.weight_decay if decays else 0.0,
            SHARE: 1.0 if whole else settings.backbone_rate,
        }
        for whole, decays in sorted(kinds, reverse=True)
    ]
    devices = {parameter.device.type for group in groups for parameter in group["params"]}
    fused = devices <= set(FUSED)
    if settings.name == "adamw":
        return torch.optim.AdamW(
            groups,
            lr=settings.learning_rate,
            betas=settings.betas,
            fused=fused,
            # The kernel is the same; a step may then be recorded (``recorded.py``).
            capturable=devices == {"cuda"},
        )
    return SGD(
        groups,
        lr=settings.learning_rate,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        fused=fused,
    )
