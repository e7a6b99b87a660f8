"""A session: an exported network, ready to run, and the error of its answers."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ghostnet_small.deploy.description import Description

Array = NDArray[Any]


class Session(Protocol):
    """An exported network, ready to run."""

    description: Description

    def __call__(self, pictures: Array) -> Array:
        """``(N, C, H, W)`` of the type that ``description.input`` says, to float32 ``(N, K)``."""


def relative_error(found: Array, exact: Array) -> float:
    """``max|found - exact| / max|exact|``; not a number where one of them is not."""
    return float(np.abs(found.astype(np.float64) - exact).max() / np.abs(exact).max())
