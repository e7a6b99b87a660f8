"""The sheet of views, mixed ones among them, and how unequal the classes are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from engine_kit import made_data
from ghostnet_small.data.augment import Augmentation
from ghostnet_small.use.describe_data import SHEET_VIEWS, describe_data, draw_views


def sheet(augment: Augmentation, path: Path) -> np.ndarray:
    """The sheet's tiles, ``(lines, columns, 8, 8, 3)``, at the pictures' own size."""
    draw_views(made_data(), augment, path)
    pixels = np.asarray(Image.open(path))
    scale, edge = 8, 2
    side = 8 * scale + 2 * edge
    lines, columns = pixels.shape[0] // side, pixels.shape[1] // side
    assert pixels.shape == (lines * side, columns * side, 3)
    tiles = pixels.reshape(lines, side, columns, side, 3).swapaxes(1, 2)
    return tiles[:, :, edge + scale // 2 : -edge : scale, edge + scale // 2 : -edge : scale]


def test_the_sheet_shows_what_training_sees(tmp_path: Path) -> None:
    train = made_data().train
    plain = sheet(Augmentation(flip="alternating"), tmp_path / "plain.png")
    augment = Augmentation(flip="alternating", cutmix=1.0)
    mixed = sheet(augment, tmp_path / "mixed.png")
    assert plain.shape[1] == mixed.shape[1] == 1 + SHEET_VIEWS
    assert (plain[:, 0] == mixed[:, 0]).all() and (plain[:, 1:] != mixed[:, 1:]).any()
    # Line 0 is the first picture of the first class; its third view, made by hand.
    row = torch.tensor([int((train.labels == 0).nonzero()[0])])
    index = train.index[row]
    partner = augment.partner(index, 2, len(train))
    own = augment(train.images[row], index, 2, (0, 0, 0))
    other = augment(train.images[partner], train.index[partner], 2, (0, 0, 0))
    expected, _ = augment.mix(own, other, index, 2)
    assert (mixed[0, 3] == expected[0].permute(1, 2, 0).numpy()).all()


def test_what_was_found_is_told() -> None:
    origin = {"form": "parquet", "image_column": "img", "label_column": "label"}
    assert origin.items() <= describe_data(replace(made_data(), origin=origin)).items()


def test_imbalance_is_that_of_the_classes_with_training_pictures() -> None:
    data = made_data()
    labels = torch.tensor([0] * 18 + [1] * 4 + [3] * 6)
    train = replace(data.train, labels=labels)
    assert describe_data(replace(data, train=train))["imbalance"] == 4.5
