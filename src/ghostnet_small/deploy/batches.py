"""Run large batches in pieces that fit into a core's cache."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ghostnet_small.deploy.session import Array

# Images that a thread takes at a time. A batch of hundreds goes through memory at every operator.
PIECE = 8


def in_pieces(run: Callable[[Array], Array], pictures: Array, threads: int) -> Array:
    """Return ``run(pictures)``, computed with at most ``PIECE`` images per thread at a time."""
    most = PIECE * threads
    if len(pictures) <= most:
        return run(pictures)
    return np.concatenate([run(pictures[i : i + most]) for i in range(0, len(pictures), most)])
