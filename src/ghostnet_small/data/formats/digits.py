"""scikit-learn's digits: 1,797 grey images of 8 x 8 that need no download."""

from __future__ import annotations

import numpy as np
import torch

from ghostnet_small.data.listing import ListedSplit, Listing
from ghostnet_small.data.split import hold_out

TEST_SHARE = 0.2
TEST_SEED = 0  # fixed: the test split is part of the source, whatever a recipe's seeds are


def list_digits() -> Listing:
    """The digits, values 0 .. 16 scaled to 0 .. 255, with a fixed stratified test split of 20 %."""
    from sklearn.datasets import load_digits  # slow to import, and only needed here

    bunch = load_digits()
    pixels = np.round(bunch.images * 255 / 16).astype(np.uint8)
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    train, test = hold_out(labels, TEST_SHARE, seed=TEST_SEED)
    splits = {
        name: ListedSplit(
            pictures=pixels[rows.numpy()],
            names=[f"digits row {row}" for row in rows.tolist()],
            labels=labels[rows],
        )
        for name, rows in (("train", train), ("test", test))
    }
    classes = tuple(str(name) for name in bunch.target_names)
    return Listing(splits, classes, origin={"form": "digits"})
