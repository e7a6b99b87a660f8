"""Sessions, which run exported networks, and the error of their answers."""

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
        """Return float32 ``(N, K)`` for ``(N, C, H, W)`` of the type of ``description.input``."""


def relative_error(found: Array, exact: Array) -> float:
    """Return ``max|found - exact| / max|exact|``; not a number where one of them is not."""
    return float(np.abs(found.astype(np.float64) - exact).max() / np.abs(exact).max())
