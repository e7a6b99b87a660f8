from __future__ import annotations

import numpy as np
import pytest

from ghostnet_small.deploy.batches import PIECE, in_pieces
from ghostnet_small.deploy.session import Array


@pytest.mark.parametrize(
    ("pictures", "threads", "pieces"),
    [
        (1, 1, [1]),
        (PIECE, 1, [PIECE]),
        (PIECE + 1, 1, [PIECE, 1]),
        (2 * PIECE, 1, [PIECE, PIECE]),
        (4 * PIECE + 3, 2, [2 * PIECE, 2 * PIECE, 3]),
    ],
)
def test_pieces_come_in_their_order(pictures: int, threads: int, pieces: list[int]) -> None:
    seen = []

    def run(x: Array) -> Array:
        seen.append(len(x))
        return 2 * x

    x = np.arange(3 * pictures).reshape(pictures, 3)
    assert np.array_equal(in_pieces(run, x, threads), 2 * x)
    assert seen == pieces
