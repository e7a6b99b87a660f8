"""Views: the same in every batch split, each setting doing what its name says."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ghostnet_small.data.augment import Augmentation
from ghostnet_small.errors import InputError
from makers import sha256
from makers import uneven_pictures as pictures

COLOUR_FILL = (125, 123, 114)

SETTINGS = {
    "none": Augmentation(),
    "crop": Augmentation(crop_padding=4),
    "reflect": Augmentation(crop_padding=4, padding_mode="reflect"),
    "flip": Augmentation(flip="random"),
    "alternating": Augmentation(flip="alternating"),
    "cutout": Augmentation(cutout=8),
    "trivialaugment": Augmentation(policy="trivialaugment"),
    "randaugment": Augmentation(policy="randaugment", randaugment_ops=3),
    "all": Augmentation(
        crop_padding=3, flip="random", cutout=6, policy="trivialaugment", view_seed=2**64 - 1
    ),
}


def every_setting(test):
    return pytest.mark.parametrize("name", SETTINGS)(test)


@every_setting
def test_views_are_equal_in_every_batch_split(name):
    augment = SETTINGS[name]
    images, index = pictures(70), torch.arange(70) * 3 + 5
    whole = sha256(augment(images, index, 4, COLOUR_FILL))
    for size in (1, 7, 64):
        parts = [
            augment(part, rows, 4, COLOUR_FILL)
            for part, rows in zip(images.split(size), index.split(size), strict=True)
        ]
        assert sha256(torch.cat(parts)) == whole, size
    order = torch.arange(70) * 11 % 70
    shuffled = augment(images[order], index[order], 4, COLOUR_FILL)
    assert sha256(shuffled[order.argsort()]) == whole


@every_setting
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_views_are_equal_on_a_gpu(name):
    images, index = pictures(70), torch.arange(70)
    on_gpu = SETTINGS[name](images.cuda(), index.cuda(), 4, COLOUR_FILL)
    assert sha256(on_gpu) == sha256(SETTINGS[name](images, index, 4, COLOUR_FILL))


# A view can be made again years later: these hashes never change.
PINNED = {
    "none": "66767e5d466683d9c2c33eb1038c215f1d04ae765d957b8b10cf4779e45ac0a4",
    "crop": "940be61b1ef273e262bc8dd3603a11eebd4e72763899d3268db76f0914c3796b",
    "reflect": "6ea59318317d2e7b97fbe62e498926557fae0ddb27f9c62203ff5a853d85eb57",
    "flip": "310384c0bfa1e760c106b1bd55bb6172b81f8f2916e88717b31f9e469f44be2c",
    "alternating": "31197096165d048d076b193c773ab37bf60444f72ee5376e1a95540370783475",
    "cutout": "e009992ed4b19691b0541c0c288b3fc149d2439cf3df1046616c47d6533506db",
    "trivialaugment": "c71ff2cf9365920aff2828e5b61164d4e9c50e3c11268986663901ab9e997ddc",
    "randaugment": "1741b1ebbf52a3bb7d3decdab729c2940d7e0f52441d912a6fdf04edc850ee90",
    "all": "a1ba47fc3e91b8bd0678e6d6623e1a72f22481d5bda1ea5632b88a7d28676d46",
}


@every_setting
def test_views_never_change(name):
    assert sha256(SETTINGS[name](pictures(70), torch.arange(70), 4, COLOUR_FILL)) == PINNED[name]


@every_setting
@pytest.mark.parametrize("channels", [1, 3])
def test_a_view_is_a_new_tensor_of_the_same_form(name, channels):
    images = pictures(12, channels, 9, 14)
    before = images.clone()
    for given in (images, images.to(memory_format=torch.channels_last)):
        view = SETTINGS[name](given, torch.arange(12), 0, COLOUR_FILL[:channels])
        assert view.dtype == torch.uint8
        assert view.shape == images.shape
        assert view.is_contiguous()
        assert view.data_ptr() != given.data_ptr()
        assert torch.equal(given, before)


@every_setting
def test_an_empty_batch_stays_empty(name):
    view = SETTINGS[name](pictures(2)[:0], torch.arange(0), 0, COLOUR_FILL)
    assert view.shape == (0, 3, 20, 24)


@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "none"])
def test_view_seed_and_index_each_change_the_view(name):
    augment = SETTINGS[name]
    images, index = pictures(40), torch.arange(40)
    other_seed = Augmentation(**{**vars(augment), "view_seed": 1})
    views = [
        augment(images, index, 0, COLOUR_FILL),
        augment(images, index, 1, COLOUR_FILL),
        augment(images, index + 2**32, 0, COLOUR_FILL),
        other_seed(images, index, 0, COLOUR_FILL),
    ]
    assert len({sha256(view) for view in views}) == 4


def test_epochs_use_views_modulo_their_number():
    assert [Augmentation().view_of_epoch(epoch) for epoch in range(5)] == [0, 1, 2, 3, 4]
    assert [Augmentation(views=2).view_of_epoch(epoch) for epoch in range(5)] == [0, 1, 0, 1, 0]


@every_setting
def test_every_picture_can_have_a_view_of_its_own(name):
    images, index = pictures(30), torch.arange(30)
    views = torch.arange(30) % 4
    mixed = SETTINGS[name](images, index, views, COLOUR_FILL)
    for view in range(4):
        one = SETTINGS[name](images, index, view, COLOUR_FILL)
        assert torch.equal(mixed[views == view], one[views == view])
    epochs = Augmentation(views=3).view_of_epoch(torch.arange(5))
    assert epochs.tolist() == [0, 1, 2, 0, 1]


def positions(n: int, height: int, width: int) -> Tensor:
    """Grey pictures whose every pixel holds its own place, from 1 up."""
    place = torch.arange(1, height * width + 1, dtype=torch.uint8)
    return place.view(1, 1, height, width).repeat(n, 1, 1, 1)


def test_crops_are_the_padded_picture_at_every_offset():
    # 4,000 draws of 9 offsets: the chance that one never appears is 9 (8/9)^4000 < 1e-200. Each
    # is expected 444 times, standard deviation 19.9; the bound is five of them.
    images = positions(4000, 5, 7)
    crops = Augmentation(crop_padding=1)(images, torch.arange(4000), 0, (0,))
    padded = torch.zeros(7, 9, dtype=torch.uint8)
    padded[1:-1, 1:-1] = images[0, 0]
    seen = 0
    for y in range(3):
        for x in range(3):
            equal = (crops[:, 0] == padded[y : y + 5, x : x + 7]).all(2).all(1).sum().item()
            assert abs(equal - 4000 / 9) <= 100
            seen += equal
    assert seen == 4000


def test_reflection_does_not_repeat_the_border():
    images = torch.tensor([[10, 20, 30, 40]] * 3, dtype=torch.uint8).expand(400, 1, 3, 4)
    crops = Augmentation(crop_padding=2, padding_mode="reflect")(images, torch.arange(400), 0, (0,))
    assert {tuple(row) for row in crops[:, 0].flatten(0, 1).tolist()} == {
        (30, 20, 10, 20),
        (20, 10, 20, 30),
        (10, 20, 30, 40),
        (20, 30, 40, 30),
        (30, 40, 30, 20),
    }


def flips(augment: Augmentation, view: int, n: int = 2000) -> Tensor:
    images = positions(n, 3, 5)
    views = augment(images, torch.arange(n), view, (0,))
    flipped = (views == images.flip(3)).flatten(1).all(1)
    assert torch.equal(flipped, (views != images).flatten(1).any(1))
    return flipped


def test_random_flips_are_about_half_in_every_view():
    # 2,000 fair coins: standard deviation 22.4; the bound is five of them.
    augment = Augmentation(flip="random")
    first, second = flips(augment, 0), flips(augment, 1)
    for count in (first.sum(), second.sum(), (first == second).sum()):
        assert abs(count.item() - 1000) <= 112


def test_alternating_flips_turn_every_picture_in_every_view():
    augment = Augmentation(flip="alternating")
    first = flips(augment, 0)
    assert abs(first.sum().item() - 1000) <= 112
    for view in range(1, 5):
        assert torch.equal(flips(augment, view), first ^ bool(view % 2))


@pytest.mark.parametrize("side", [1, 4, 5])
def test_cutout_is_a_filled_square_cut_at_the_border(side):
    images = torch.full((3000, 3, 5, 7), 9, dtype=torch.uint8)
    views = Augmentation(cutout=side)(images, torch.arange(3000), 0, (0, 50, 255))
    cut = views[:, 0] == 0
    assert torch.equal(views[:, 1], torch.where(cut, 50, 9))
    assert torch.equal(views[:, 2], torch.where(cut, 255, 9))
    # A square covers side pixels from centre - side // 2, less those beyond the border, and every
    # one of the 35 centres is drawn: the chance of a miss is 35 (34/35)^3000 < 1e-35.
    squares = set()
    for y in range(-(side // 2), 5 - side // 2):
        for x in range(-(side // 2), 7 - side // 2):
            square = torch.zeros(5, 7, dtype=torch.bool)
            square[max(y, 0) : y + side, max(x, 0) : x + side] = True
            squares.add(tuple(square.flatten().tolist()))
    assert {tuple(picture) for picture in cut.flatten(1).tolist()} == squares


def test_cutout_leaves_the_crops_as_they_were():
    images, index = pictures(30), torch.arange(30)
    plain = Augmentation(crop_padding=4, flip="random")(images, index, 2, COLOUR_FILL)
    cut = Augmentation(crop_padding=4, flip="random", cutout=3)(images, index, 2, (255, 255, 255))
    changed = (cut != plain).any(1)
    assert 0 < changed.sum() <= 30 * 9
    assert (cut.movedim(1, -1)[changed] == 255).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"padding_mode": "edge"}, "padding_mode 'edge' is not known; choose one of zero, reflect"),
        ({"flip": "always"}, "flip 'always' is not known; choose one of none, random, alternating"),
        (
            {"policy": "auto"},
            "policy 'auto' is not known; choose one of none, trivialaugment, randaugment",
        ),
        ({"crop_padding": -1}, "crop_padding -1 is not allowed; give a whole number from 0 up"),
        ({"cutout": 1.5}, "cutout 1.5 is not allowed; give a whole number from 0 up"),
        ({"randaugment_ops": 0}, "randaugment_ops 0 is not allowed; give a whole number from 1 up"),
        (
            {"randaugment_magnitude": 31},
            "randaugment_magnitude 31 is not allowed; give a whole number from 0 to 30",
        ),
        ({"views": 0}, "views 0 is not allowed; give a whole number from 1 up"),
        (
            {"view_seed": -1},
            "view_seed -1 is not allowed; give a whole number from 0 to 18446744073709551615",
        ),
        (
            {"mixup": -0.5},
            "mixup -0.5 is not allowed; give a number from 0.01 to 100, or 0 for none",
        ),
        (
            {"cutmix": 1e3},
            "cutmix 1000.0 is not allowed; give a number from 0.01 to 100, or 0 for none",
        ),
        (
            {"mix_probability": 1.5},
            "mix_probability 1.5 is not allowed; give a number from 0 to 1",
        ),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(values, message):
    with pytest.raises(InputError) as raised:
        Augmentation(**values)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("augment", "largest"),
    [
        (lambda side: Augmentation(cutout=side), 8),
        (lambda side: Augmentation(crop_padding=side), 8),
        (lambda side: Augmentation(crop_padding=side, padding_mode="reflect"), 7),
    ],
)
def test_a_setting_too_large_for_the_pictures_is_refused(augment, largest):
    augment(largest).check(8, 12)
    augment(largest)(pictures(4, 1, 8, 12), torch.arange(4), 0, (0,))
    for height, width in ((8, 12), (12, 8)):
        with pytest.raises(InputError, match=f"{largest + 1} .* {height}x{width} .*{largest}"):
            augment(largest + 1).check(height, width)
