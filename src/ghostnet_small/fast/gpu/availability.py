"""A check that Triton kernels run on a device."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable

import torch

_log = logging.getLogger(__name__)


def runs_on(device: torch.device, trial: Callable[[], object], kernels: str) -> bool:
    """Return whether ``trial()``, which launches one of the ``kernels``, works on ``device``.

    Warns where it should and does not. On a CPU, or without Triton, nothing is tried.
    """
    if device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return False
    try:
        # An installed Triton can still fail: it needs a C compiler and a GPU that it supports.
        trial()
    except Exception as error:
        _log.warning("training continues without the %s kernels, slower: %s", kernels, error)
        return False
    return True
