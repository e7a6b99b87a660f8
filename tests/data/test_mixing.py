"""Mixup and CutMix: exact arithmetic, labels' shares to match, the same in every batch split."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ghostnet_small.data.augment import Augmentation
from ghostnet_small.data.counter_rng import philox
from ghostnet_small.data.mixing import mix_pictures, partner_rows, shares, sides
from makers import sha256, uneven_pictures

COUNT = 70
FILL = (125, 123, 114)
SETTINGS = {
    "mixup": Augmentation(mixup=0.4),
    "cutmix": Augmentation(cutmix=1.0),
    "both": Augmentation(mixup=1.0, cutmix=0.5, mix_probability=0.8, view_seed=2**64 - 1),
    "augmented": Augmentation(crop_padding=3, flip="random", cutout=5, mixup=0.2, cutmix=1.0),
}
every_setting = pytest.mark.parametrize("name", SETTINGS)


def mixed(
    augment: Augmentation, index: Tensor, view: int | Tensor, device: str = "cpu"
) -> tuple[Tensor, Tensor, Tensor]:
    """Mixed views of a training split, as the engine makes them; shares; partners' rows."""
    images, index = uneven_pictures(COUNT).to(device), index.to(device)
    rows = augment.partner(index, view, COUNT)
    views = augment(images[index], index, view, FILL)
    partners = augment(images[rows], rows, view, FILL)
    return *augment.mix(views, partners, index, view), rows


def digest(augment: Augmentation, view: int, device: str = "cpu") -> str:
    """Of views, shares (in 2**24ths) and partners together."""
    views, share, rows = mixed(augment, torch.arange(COUNT), view, device)
    parts = (views.flatten(1).long(), (share * 2**24).long()[:, None], rows[:, None])
    return sha256(torch.cat(parts, dim=1))


@every_setting
def test_mixed_views_are_equal_in_every_batch_split(name: str) -> None:
    whole = mixed(SETTINGS[name], torch.arange(COUNT), 4)
    for size in (1, 7, 64):
        parts = [mixed(SETTINGS[name], part, 4) for part in torch.arange(COUNT).split(size)]
        for one, of_parts in zip(whole, zip(*parts, strict=True), strict=True):
            assert torch.equal(one, torch.cat(of_parts)), size
    views = torch.arange(COUNT) % 3
    each = mixed(SETTINGS[name], torch.arange(COUNT), views)
    for view in range(3):
        alone = mixed(SETTINGS[name], torch.arange(COUNT), view)
        for one, other in zip(each, alone, strict=True):
            assert torch.equal(one[views == view], other[views == view])


# A mixed view can be made again years later: these hashes never change.
PINNED = {
    "mixup": "fc88f26e062e671003e81597381afb976880c3ba075cfc7fe19556597eb93d34",
    "cutmix": "ca6db24d296163f8bc3a8bb27d56d91189ef9801e78f8252e57bd827027dae03",
    "both": "91c72d3099ed18682bad042aa6a53d6a5d6cf40529e5803c74ba2b7826a3de6d",
    "augmented": "ce678b2176da3e90c25a41de0e7c3c7a822df34d301d50c8300713a76e0eb24b",
}


@every_setting
def test_mixed_views_never_change(name: str) -> None:
    assert digest(SETTINGS[name], 4) == PINNED[name]


@every_setting
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_mixed_views_are_equal_on_a_gpu(name: str) -> None:
    assert digest(SETTINGS[name], 4, "cuda") == PINNED[name]


@every_setting
def test_view_seed_and_view_each_change_the_mix(name: str) -> None:
    augment = SETTINGS[name]
    found = {digest(augment, 0), digest(augment, 1), digest(replace(augment, view_seed=9), 0)}
    assert len(found) == 3


@every_setting
def test_mixing_leaves_the_views_before_it_as_they_were(name: str) -> None:
    images, index = uneven_pictures(COUNT), torch.arange(COUNT)
    plain = replace(SETTINGS[name], mixup=0.0, cutmix=0.0)
    assert not plain.mixes and SETTINGS[name].mixes
    assert torch.equal(plain(images, index, 2, FILL), SETTINGS[name](images, index, 2, FILL))


def test_partners_are_any_rows_alike() -> None:
    # 9,000 draws of 9 rows: 1,000 each, standard deviation 29.8; the bound is five of them.
    augment = Augmentation(mixup=1.0)
    counts = augment.partner(torch.arange(9000), 0, 9).bincount(minlength=9)
    assert (counts - 1000).abs().max() <= 149
    # Far more rows than 32 bits tell apart are all reached.
    far = augment.partner(torch.arange(1000), 0, 2**40)
    assert far.min() >= 0 and 2**39 < far.max() < 2**40 and len(far.unique()) == 1000


def test_a_partner_is_the_first_two_words_modulo_the_rows() -> None:
    words = torch.tensor([[5, 3, 0, 0], [2**32 - 1, 2**32 - 1, 0, 0], [0, 14, 0, 0]])
    rows = partner_rows(words, 10)
    assert rows.tolist() == [(5 * 2**31 + 1) % 10, (2**63 - 1) % 10, 7]


def words(mix: int = 0, share: int = 0, row: int = 0, column: int = 0) -> Tensor:
    return torch.tensor([[mix, share, row, column]])


def one(value: int, channels: int = 1, height: int = 4, width: int = 6) -> Tensor:
    return torch.full((1, channels, height, width), value, dtype=torch.uint8)


@pytest.mark.parametrize(("own", "partner"), [(0, 255), (255, 0), (200, 77), (255, 255), (3, 3)])
def test_mixup_is_the_rounded_mean_with_the_share_of_the_label(own: int, partner: int) -> None:
    # Of Beta(1, 1), which is uniform, the quantiles are their own middles.
    for quantile in (0, 1, 1000, 2048, 4095):
        out, share = mix_pictures(
            one(own), one(partner), words(0, quantile << 20), mixup=1.0, cutmix=0, probability=1
        )
        part = round(256 * (quantile + 0.5) / 4096) / 256
        assert share.dtype == torch.float32 and share.tolist() == [part]
        assert out.dtype == torch.uint8
        assert out.unique().tolist() == [int(part * own + (1 - part) * partner + 0.5)]


def test_cutmix_by_hand() -> None:
    """A share of 3/4 cuts half of each side; the middle is in row 1 and column 5 of 4 x 6."""
    quantile = 3072  # uniform: (3072 + 1/2) / 4096 is 192 256ths
    out, share = mix_pictures(
        one(7, 3),
        one(90, 3),
        words(0, quantile << 20, 1 << 30, 5 * 2**32 // 6 + 1),
        mixup=0,
        cutmix=1.0,
        probability=1,
    )
    # Two rows from 0 on; three columns from 4 on, of which two are in the picture.
    expected = [[7, 7, 7, 7, 90, 90]] * 2 + [[7] * 6] * 2
    assert out[0].tolist() == [expected] * 3
    assert share.tolist() == [torch.tensor(20 / 24).item()]


def test_the_share_is_that_of_the_pixels_left() -> None:
    count, height, width = 4000, 5, 7
    own = torch.zeros(count, 1, height, width, dtype=torch.uint8)
    random = philox(torch.arange(count), 0, 0, 0)
    out, share = mix_pictures(own, own + 1, random, mixup=0, cutmix=1.0, probability=1)
    left = (out == 0).sum((1, 2, 3))
    assert torch.equal(share, left / (height * width))
    assert {0, height * width} <= set(left.tolist())
    # Every pixel is replaced in some pictures and kept in others.
    assert out[:, 0].sum(0).min() > 0 and out[:, 0].sum(0).max() < count


def test_either_kind_and_none_have_their_probabilities() -> None:
    count = 9000
    own = torch.zeros(count, 1, 8, 8, dtype=torch.uint8)
    random = philox(torch.arange(count), 0, 0, 0)
    out, share = mix_pictures(own, own + 255, random, mixup=100.0, cutmix=50.0, probability=2 / 3)
    low, high = out.amin((1, 2, 3)), out.amax((1, 2, 3))
    same = (high == 0).sum().item()
    blended = (low > 0).sum().item()
    pasted = ((low == 0) & (high == 255)).sum().item()
    # Alphas this large leave no share near 0 or 1. 3,000 each, standard deviation 44.7; the bound
    # is five of them.
    assert same + blended + pasted == count
    assert max(abs(number - 3000) for number in (same, blended, pasted)) <= 224
    assert torch.equal(share == 1, high == 0)
    assert torch.equal(out[share == 1], own[share == 1])


@pytest.mark.parametrize("alpha", [0.01, 0.2, 1.0, 4.0, 100.0])
def test_shares_follow_the_distribution(alpha: float) -> None:
    table = torch.tensor(shares(alpha)).double() / 256
    assert len(table) == 4096 and (table.diff() >= 0).all()
    assert torch.equal(table + table.flip(0), torch.ones(4096).double())
    # Beta(a, a) has the variance 1 / (4 (2a + 1)); a rounding to 256ths adds 1 / (12 * 256^2).
    assert table.var(correction=0).item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.01)


@pytest.mark.parametrize("length", [1, 5, 32, 33, 224])
def test_sides_are_rounded_roots(length: int) -> None:
    exact = [length * ((256 - share) / 256) ** 0.5 for share in range(257)]
    assert sides(length) == tuple(int(side + 0.5) for side in exact)


@every_setting
def test_an_empty_batch_stays_empty(name: str) -> None:
    views, share, rows = mixed(SETTINGS[name], torch.arange(0), 0)
    assert views.shape == (0, 3, 20, 24) and share.shape == rows.shape == (0,)


def test_no_probability_is_no_mixing() -> None:
    assert not Augmentation(mixup=1.0, cutmix=1.0, mix_probability=0.0).mixes
