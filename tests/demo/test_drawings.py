"""The drawings that the page offers: the shipped networks know them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ghostnet_small.demo.drawings import CLOTHES, DIGITS, THINGS, draw, examples
from ghostnet_small.use.prediction import predict

IMAGES = Path(__file__).parents[2] / "docs" / "images"


@pytest.mark.parametrize(
    ("model", "channels", "drawings"),
    [
        ("ghostnetv3_small_w1.0_cifar10", 3, THINGS),
        ("ghostnetv3_small_w2.8_cifar10", 3, THINGS),
        ("ghostnetv3_small_w1.0_fashion_mnist", 1, CLOTHES),
    ],
)
def test_the_shipped_networks_know_them(
    model: str, channels: int, drawings: dict[str, str], tmp_path: Path
) -> None:
    files = {}
    for number, (name, content) in enumerate(examples(list(drawings), channels).items()):
        files[name] = tmp_path / f"{number}.png"
        files[name].write_bytes(content)
    answers = predict(Path(model), list(files.values()), say=lambda text: None)
    assert [answer["label"] for answer in answers] == list(drawings)


def test_digits_are_white_in_the_middle_of_black() -> None:
    assert list(DIGITS) == list("0123456789")
    for text in DIGITS.values():
        ink = np.asarray(draw(text).convert("L")) > 128
        rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
        for places in (rows, columns):
            assert abs(places[0] + places[-1] - 191) <= 12
        assert 130 < len(rows) < 170


def test_the_images_of_the_documents_are_these_drawings() -> None:
    files = sorted(IMAGES.glob("*.png"))
    assert len(files) == 3
    for file in files:
        drawn = np.asarray(draw(THINGS[file.stem]), int)
        # Another Pillow may round an edge to either side.
        assert np.abs(np.asarray(Image.open(file), int) - drawn).mean() < 1
