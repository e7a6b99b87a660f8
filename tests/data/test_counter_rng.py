"""Philox4x32-10 against its library's known answers, and the draws made from it."""

from __future__ import annotations

import pytest
import torch

from ghostnet_small.data.counter_rng import below, philox, philox_words
from ghostnet_small.errors import InputError

ALL_ONES = 0xFFFFFFFF

# Random123's kat_vectors, lines "philox4x32 10": counter, key, answer.
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (ALL_ONES,) * 4,
        (ALL_ONES,) * 2,
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_known_answers(counter, key, answer):
    words = philox_words(tuple(torch.tensor([word]) for word in counter), key)
    assert words.tolist() == [list(answer)]


def test_index_view_stream_and_seed_each_have_their_place():
    index = (0x85A308D3 << 32) | 0x243F6A88
    if index >= 2**63:  # int64 holds it as a negative number with the same bits
        index -= 2**64
    seed = (0x299F31D0 << 32) | 0xA4093822
    words = philox(torch.tensor([index]), 0x13198A2E, 0x03707344, seed)
    assert words.tolist() == [list(KNOWN_ANSWERS[2][2])]


def test_words_of_a_picture_do_not_depend_on_its_neighbours():
    index = torch.arange(50)
    together = philox(index, 3, 1, 7)
    apart = torch.cat([philox(one, 3, 1, 7) for one in index.split(1)])
    assert torch.equal(together, apart)
    assert len(set(together.flatten().tolist())) == 200


def test_below_is_the_scaled_high_half():
    words = torch.tensor([0, 2**31 - 1, 2**31, 2**32 - 1])
    assert below(words, 2).tolist() == [0, 0, 1, 1]
    assert below(words, 9).tolist() == [0, 4, 4, 8]
    assert below(words, 2**31).tolist() == [0, 2**30 - 1, 2**30, 2**31 - 1]


def test_below_is_uniform():
    # 9,000 draws from 9 values: 1,000 each, standard deviation sqrt(9000 * 1/9 * 8/9) = 29.8;
    # the bound is five of them.
    counts = below(philox(torch.arange(9000), 0, 0, 0)[:, 0], 9).bincount(minlength=9)
    assert (counts - 1000).abs().max() <= 149


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, True, "0"])
def test_seed_out_of_range(seed):
    with pytest.raises(InputError, match=r"^seed .* from 0 to 18446744073709551615$"):
        philox(torch.arange(2), 0, 0, seed)


def test_largest_seed_is_allowed():
    assert philox(torch.arange(2), 0, 0, 2**64 - 1).shape == (2, 4)


@pytest.mark.parametrize("view", [-1, 2**32])
def test_view_out_of_range(view):
    with pytest.raises(InputError, match=rf"^view {view} is not allowed"):
        philox(torch.arange(2), view, 0, 0)
