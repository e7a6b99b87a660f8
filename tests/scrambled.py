"""Modules whose every parameter matters."""

from __future__ import annotations

import torch
from torch import nn


def scrambled(module: nn.Module) -> nn.Module:
    """Random weights everywhere, so that no gradient is zero by symmetry; float64, training."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("bn.weight") or name == "skip.weight":
                parameter.uniform_(0.5, 1.5)
            elif parameter.ndim == 1:
                parameter.normal_()
    return module.double().train()
