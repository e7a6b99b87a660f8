"""Sets whose decoded images can hardly be what was meant are told, at each start."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cache_kit import decoded, kept, load_set

__all__ = ["decoded", "kept"]  # fixtures


def write_set(root: Path, images: Any) -> Path:
    for label, name in enumerate(("a", "b")):
        (root / "train" / name).mkdir(parents=True)
        for k in range(2):
            images(label, k).save(root / "train" / name / f"{k}.png")
    return root


def remarks_of(root: Path, caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        load_set(root, validation=0)
    return caplog.messages


@pytest.mark.parametrize(("bits", "factor"), [(8, 256), (12, 16), (14, 4), (16, None)])
def test_a_part_of_16_bits(
    tmp_path: Path,
    kept: Path,
    decoded: list[int],
    caplog: pytest.LogCaptureFixture,
    bits: int,
    factor: int | None,
) -> None:
    def image(label: int, k: int) -> Image.Image:
        share = np.random.default_rng(2 * label + k).random((8, 8))
        return Image.fromarray((share * (2**bits - 1)).astype(np.uint16))

    root = write_set(tmp_path / "set", image)
    for again in (False, True):
        decoded.clear()
        said = remarks_of(root, caplog)
        if factor is None:
            assert said == []
        else:
            assert len(said) == 1
            assert f"use {bits} of them" in said[0]
            assert f"multiply the values in the files by {factor}" in said[0]
        assert (decoded == []) == again


def test_dark_images_of_8_bits_are_taken_as_they_are(
    tmp_path: Path, kept: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ramp = np.arange(64, dtype=np.uint8).reshape(8, 8) // 4
    root = write_set(tmp_path / "set", lambda label, k: Image.fromarray(ramp + np.uint8(label)))
    assert remarks_of(root, caplog) == []


def test_one_colour(tmp_path: Path, kept: Path, caplog: pytest.LogCaptureFixture) -> None:
    clear = Image.new("RGBA", (8, 8), (255, 255, 255, 0))
    root = write_set(tmp_path / "white", lambda label, k: clear)
    for _ in range(2):
        (said,) = remarks_of(root, caplog)
        assert "have almost one value (standard deviation 0.0039)" in said
    # One channel of three.
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    noise[..., 1] = 7
    root = write_set(tmp_path / "green", lambda label, k: Image.fromarray(noise))
    (said,) = remarks_of(root, caplog)
    assert "have almost one value in channel 2" in said
