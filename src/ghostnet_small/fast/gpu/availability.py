"""Whether Triton's kernels run on a device."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable

import torch

_log = logging.getLogger(__name__)


def runs_on(device: torch.device, trial: Callable[[], object], kernels: str) -> bool:
    """Whether ``trial()``, which launches one of the ``kernels``, works on ``device``, a GPU; where
    it should and does not, says so. Of a CPU, or without Triton, nothing is tried."""
    if device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return False
    try:
        # Triton can be there and fail still: it needs a C compiler, and a GPU that it knows.
        trial()
    except Exception as error:
        _log.warning("training goes on without the %s kernels, slower: %s", kernels, error)
        return False
    return True
