"""Numbers that stay the same, kept on the device that computes with them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor


@lru_cache(maxsize=256)
@torch.inference_mode(False)  # A cached inference tensor could never be saved for a backward pass.
def constant(values: tuple[Any, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """``values``, numbers or tuples of numbers, as a tensor that must not be changed.

    Copied once: each copy from the CPU makes a GPU wait, and cannot be part of a recorded step.
    """
    return torch.tensor(values, dtype=dtype, device=device)
