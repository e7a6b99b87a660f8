"""Each operation against identities, values worked out by hand, and Pillow."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from ghostnet_small.data import policy
from ghostnet_small.data.counter_rng import philox

ONE = 1 << 16
BLENDS = {
    "brightness": (policy.brightness, ImageEnhance.Brightness),
    "color": (policy.color, ImageEnhance.Color),
    "contrast": (policy.contrast, ImageEnhance.Contrast),
    "sharpness": (policy.sharpness, ImageEnhance.Sharpness),
}
SPACES = {"trivialaugment": policy.trivialaugment_space, "randaugment": policy.randaugment_space}


def pictures(n: int = 6, channels: int = 3, height: int = 32, width: int = 40) -> Tensor:
    """Smooth pictures with noise, of different contrast."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(n, channels, 4, 4, generator=generator) * 200
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    noise = torch.rand(n, channels, height, width, generator=generator) * 40
    span = torch.linspace(0.3, 1.06, n)[:, None, None, None]
    return ((smooth + noise) * span).clamp(0, 255).to(torch.uint8)


def grey(values: list[list[int]]) -> Tensor:
    return torch.tensor(values, dtype=torch.uint8)[None, None]


def run(operation: policy.Operation, images: Tensor, level: int, fill: int = 7) -> Tensor:
    colour = torch.full((images.shape[1],), fill, dtype=torch.uint8)
    return operation(images, torch.full((len(images),), level), colour)


def to_pillow(image: Tensor) -> Image.Image:
    return Image.fromarray(
        image.squeeze(0).numpy() if len(image) == 1 else image.movedim(0, -1).numpy()
    )


def by_pillow(images: Tensor, change) -> Tensor:
    """``change``, a function of one Pillow picture, applied to each picture."""
    changed = [np.array(change(to_pillow(image))) for image in images]
    stacked = torch.from_numpy(np.stack(changed))
    return stacked[:, None] if stacked.ndim == 3 else stacked.movedim(-1, 1)


def assert_close(ours: Tensor, theirs: Tensor, levels: int) -> None:
    assert ours.dtype == torch.uint8
    assert ours.shape == theirs.shape
    assert (ours.int() - theirs.int()).abs().max().item() <= levels


# Geometry


def test_shear_by_hand():
    # Row y reads at x + (y + 1/2) / 2 of the same row: 1/4 further for the first, 3/4, 5/4; from
    # the middle of a pixel that is 0, 1 and 1 whole pixels to the right.
    rows = grey([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    sheared = [[1, 2, 3], [5, 6, 0], [8, 9, 0]]
    assert run(policy.shear_x, rows, ONE // 2, 0)[0, 0].tolist() == sheared
    down = run(policy.shear_y, rows.mT, ONE // 2, 0)
    assert down[0, 0].T.tolist() == sheared


def test_translate_by_hand():
    rows = grey([[1, 2, 3], [4, 5, 6]])
    assert run(policy.translate_x, rows, 2, 0)[0, 0].tolist() == [[0, 0, 1], [0, 0, 4]]
    assert run(policy.translate_x, rows, -1, 9)[0, 0].tolist() == [[2, 3, 9], [5, 6, 9]]
    assert run(policy.translate_y, rows, 1, 0)[0, 0].tolist() == [[0, 0, 0], [1, 2, 3]]
    assert run(policy.translate_y, rows, -2, 5)[0, 0].tolist() == [[5, 5, 5], [5, 5, 5]]


def test_rotate_by_right_angles():
    square = pictures(height=9, width=9)
    assert torch.equal(run(policy.rotate, square, 180), square.rot90(1, (2, 3)))
    assert torch.equal(run(policy.rotate, square, -180), square.rot90(-1, (2, 3)))
    wide = pictures(height=6, width=9)
    assert torch.equal(run(policy.rotate, wide, 360), wide.rot90(2, (2, 3)))


def test_every_channel_is_filled_with_its_own_value():
    images, level = pictures(2), torch.tensor([3, -5])
    moved = policy.translate_x(images, level, torch.tensor([1, 2, 3], dtype=torch.uint8))
    for channel in range(3):
        assert (moved[0, channel, :, :3] == channel + 1).all()
        assert (moved[1, channel, :, -5:] == channel + 1).all()
    assert torch.equal(moved[0, :, :, 3:], images[0, :, :, :-3])
    assert torch.equal(moved[1, :, :, :-5], images[1, :, :, 5:])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("factor", [-0.99, -0.25, 0.13, 0.66])
def test_shear_is_pillows(factor, channels):
    images = pictures(channels=channels)
    fill = (7,) * channels if channels > 1 else 7
    for operation, matrix in (
        (policy.shear_x, (1, factor, 0, 0, 1, 0)),
        (policy.shear_y, (1, 0, 0, factor, 1, 0)),
    ):
        theirs = by_pillow(
            images,
            lambda image, matrix=matrix: image.transform(
                image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST, fillcolor=fill
            ),
        )
        ours = run(operation, images, math.floor(factor * ONE + 0.5))
        assert_close(ours, theirs, 0)


@pytest.mark.parametrize("half_degrees", [-251, -91, -9, 1, 60, 153])
def test_rotate_is_pillows(half_degrees):
    images = pictures()
    theirs = by_pillow(
        images, lambda image: image.rotate(half_degrees / 2, fillcolor=(7, 7, 7), expand=False)
    )
    # Both round positions to 16 bits, at different places, so a position on the border of two
    # pixels may fall either way.
    different = (run(policy.rotate, images, half_degrees) != theirs).any(1).float().mean()
    assert different <= 0.005


# Colour


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", BLENDS)
def test_blends_are_pillows(name, channels):
    operation, enhance = BLENDS[name]
    images = pictures(channels=channels)
    for level in (-0.99, -0.4, 0.0, 0.3, 0.99):
        theirs = by_pillow(images, lambda image, level=level: enhance(image).enhance(1 + level))
        assert_close(run(operation, images, round(level * ONE)), theirs, 1)


def test_blends_by_hand():
    row = grey([[0, 3, 100, 200]])
    assert run(policy.brightness, row, ONE // 2).flatten().tolist() == [0, 5, 150, 255]
    assert run(policy.brightness, row, -ONE // 2).flatten().tolist() == [0, 2, 50, 100]
    # The mean is 303 / 4 = 75.75, rounded 76; half way to it: 38, 39.5, 88, 138.
    assert run(policy.contrast, row, -ONE // 2).flatten().tolist() == [38, 40, 88, 138]
    assert run(policy.contrast, row, ONE).flatten().tolist() == [0, 0, 124, 255]


def test_color_by_hand():
    red = torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1)
    # The luma of pure red is 0.299 * 255 = 76.2.
    assert run(policy.color, red, -ONE).flatten().tolist() == [76, 76, 76]
    assert run(policy.color, red, ONE).flatten().tolist() == [255, 0, 0]


def test_sharpness_by_hand():
    dot = grey([[0, 0, 0], [0, 130, 0], [0, 0, 0]])
    # The smoothed middle is 5/13 of 130 = 50; the border stays.
    assert run(policy.sharpness, dot, -ONE)[0, 0].tolist() == [[0, 0, 0], [0, 50, 0], [0, 0, 0]]
    assert run(policy.sharpness, dot, ONE // 2)[0, 0, 1, 1] == 170
    thin = grey([[0, 130, 0], [9, 50, 0]])
    assert torch.equal(run(policy.sharpness, thin, -ONE), thin)


# Tables


@pytest.mark.parametrize("channels", [1, 3])
def test_tables_are_pillows(channels):
    images = pictures(channels=channels)
    for bits in range(1, 9):
        theirs = by_pillow(images, lambda image, bits=bits: ImageOps.posterize(image, bits))
        assert_close(run(policy.posterize, images, bits), theirs, 0)
    for threshold in (0, 1, 128, 255, 256):
        theirs = by_pillow(images, lambda image, t=threshold: ImageOps.solarize(image, t))
        assert_close(run(policy.solarize, images, threshold), theirs, 0)
    assert_close(run(policy.equalize, images, 0), by_pillow(images, ImageOps.equalize), 0)
    assert_close(run(policy.autocontrast, images, 0), by_pillow(images, ImageOps.autocontrast), 1)


def test_posterize_and_solarize_by_hand():
    row = grey([[0, 15, 63, 64, 200, 255]])
    assert run(policy.posterize, row, 2).flatten().tolist() == [0, 0, 0, 64, 192, 192]
    assert run(policy.posterize, row, 8).flatten().tolist() == [0, 15, 63, 64, 200, 255]
    assert run(policy.solarize, row, 64).flatten().tolist() == [0, 15, 63, 191, 55, 0]


def test_autocontrast_by_hand():
    assert run(policy.autocontrast, grey([[10, 12, 14]]), 0).flatten().tolist() == [0, 128, 255]
    assert run(policy.autocontrast, grey([[10, 10, 10]]), 0).flatten().tolist() == [10, 10, 10]


def test_equalize_by_hand():
    uniform = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(run(policy.equalize, uniform, 0), uniform)
    # 510 pixels below the highest value make steps of 2, and a value becomes the pixels below it,
    # counted in rounded steps: (0 + 1) // 2, (255 + 1) // 2, (510 + 1) // 2.
    thirds = torch.tensor([[3] * 255 + [90] * 255 + [91] * 10], dtype=torch.uint8).view(
        1, 1, 20, 26
    )
    assert run(policy.equalize, thirds, 0).unique().tolist() == [0, 128, 255]
    flat = torch.full((1, 1, 32, 32), 5, dtype=torch.uint8)
    assert torch.equal(run(policy.equalize, flat, 0), flat)


# Spaces


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("channels", [1, 3])
def test_magnitude_zero_is_the_identity(space, channels):
    images = pictures(channels=channels)
    unscaled = {policy.autocontrast, policy.equalize}
    for scaled in SPACES[space](32, 40):
        if scaled.operation not in unscaled:
            assert torch.equal(run(scaled.operation, images, scaled.levels[0]), images), scaled


@pytest.mark.parametrize("space", SPACES)
def test_a_space_holds_fourteen_operations_of_growing_strength(space):
    operations = SPACES[space](32, 40)
    assert len({scaled.operation for scaled in operations}) == 14
    for scaled in operations:
        steps = [abs(level - scaled.levels[0]) for level in scaled.levels]
        assert len(steps) == 31
        assert steps == sorted(steps)


def strongest(space: policy.Space) -> dict[policy.Operation, int]:
    return {scaled.operation: scaled.levels[30] for scaled in space}


def test_strongest_levels():
    wide = strongest(policy.trivialaugment_space(32, 40))
    assert wide[policy.shear_x] == wide[policy.shear_y] == math.floor(0.99 * ONE)
    assert wide[policy.translate_x] == wide[policy.translate_y] == 32
    assert wide[policy.rotate] == 2 * 135
    assert wide[policy.brightness] == wide[policy.sharpness] == math.floor(0.99 * ONE)
    assert wide[policy.posterize] == 2
    assert wide[policy.solarize] == 0
    usual = strongest(policy.randaugment_space(32, 40))
    assert usual[policy.shear_x] == math.floor(0.3 * ONE)
    assert usual[policy.translate_x] == 18  # 40 * 150 / 331 = 18.1
    assert usual[policy.translate_y] == 14  # 32 * 150 / 331 = 14.5
    assert usual[policy.rotate] == 2 * 30
    assert usual[policy.posterize] == 4
    tiny = strongest(policy.trivialaugment_space(8, 10))
    assert (tiny[policy.translate_y], tiny[policy.translate_x]) == (8, 10)


def test_grey_pictures_have_no_colour_to_change():
    images = pictures(channels=1)
    assert torch.equal(run(policy.color, images, ONE), images)


def test_every_operation_is_drawn_equally_often_and_with_both_signs(monkeypatch):
    # 14,000 draws of 14 operations: 1,000 each, standard deviation 30.5; the bound is five.
    seen: dict[str, Tensor] = {}

    def spy(name: str) -> policy.Operation:
        def operation(images: Tensor, level: Tensor, fill: Tensor) -> Tensor:
            seen[name] = level
            return images

        return operation

    space = policy.trivialaugment_space(4, 4)
    spies = tuple(
        policy.Scaled(spy(scaled.operation.__name__), scaled.levels, scaled.signed)
        for scaled in space
    )
    monkeypatch.setattr(policy, "trivialaugment_space", lambda height, width: spies)
    images = torch.zeros(14000, 1, 4, 4, dtype=torch.uint8)
    policy.trivialaugment(images, philox(torch.arange(14000), 0, 0, 0), (0,))
    assert len(seen) == 14
    for scaled in space:
        drawn = seen[scaled.operation.__name__]
        assert abs(len(drawn) - 1000) <= 153
        # With 1,000 draws of 31 magnitudes the chance to miss one is 31 (30/31)^847 < 1e-10.
        both = {-level for level in scaled.levels} if scaled.signed else set()
        assert set(drawn.tolist()) == set(scaled.levels) | both


def test_randaugment_uses_its_magnitude():
    # In a white picture only a geometric operation can leave the fill's value.
    images = torch.full((600, 1, 33, 33), 255, dtype=torch.uint8)
    words = philox(torch.arange(600), 0, 0, 0)
    unmoved = policy.randaugment(images, words, 0, (1,))
    assert not (unmoved == 1).any()
    assert (policy.randaugment(images, words, 30, (1,)) == 1).any(3).any(2).sum() > 100
