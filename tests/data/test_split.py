"""Stratified choices against answers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from ghostnet_small.data.split import apportion, hold_out, hold_out_fold, limited_rows
from ghostnet_small.errors import InputError


@pytest.mark.parametrize(
    ("count", "sizes", "least", "spare", "expected"),
    [
        (10, [90, 10], 0, 0, [9, 1]),
        (5, [3, 3, 3], 0, 0, [2, 2, 1]),  # 5/3 each: two odd rows, the lower classes first
        (6, [50, 30, 20], 0, 0, [3, 2, 1]),  # 3, 1.8, 1.2
        (4, [97, 2, 1], 1, 0, [2, 1, 1]),  # 3.88, 0.08, 0.04 would leave two classes out
        (3, [1, 1, 4], 0, 1, [0, 0, 3]),  # the single pictures stay
        (5, [2, 2, 2], 0, 0, [2, 2, 1]),
    ],
)
def test_apportion(
    count: int, sizes: list[int], least: int, spare: int, expected: list[int]
) -> None:
    assert apportion(count, sizes, least=least, spare=spare) == expected


def labels_of(*sizes: int) -> torch.Tensor:
    labels = torch.cat([torch.full((size,), k) for k, size in enumerate(sizes)])
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))]


def test_hold_out_cuts_each_class_and_loses_no_row() -> None:
    labels = labels_of(50, 30, 20)
    kept, held = hold_out(labels, 0.1, seed=3)
    assert torch.bincount(labels[held]).tolist() == [5, 3, 2]
    assert sorted([*kept.tolist(), *held.tolist()]) == list(range(100))
    assert kept.tolist() == sorted(kept.tolist())


def test_the_seed_alone_decides() -> None:
    labels = labels_of(50, 30, 20)
    first, again = hold_out(labels, 0.2, seed=0)[1], hold_out(labels, 0.2, seed=0)[1]
    assert torch.equal(first, again)
    assert not torch.equal(first, hold_out(labels, 0.2, seed=1)[1])


def test_rows_are_pinned() -> None:
    # Published splits must not move with a version of NumPy: RandomState(0) shuffles 0 .. 4 to
    # 2 0 1 3 4, then 5 .. 9 to 5 7 6 9 8, and each class gives its first two.
    labels = torch.tensor([0] * 5 + [1] * 5)
    assert limited_rows(labels, 4, seed=0).tolist() == [0, 2, 5, 7]


def test_limit_bounds() -> None:
    labels = labels_of(5, 5, 5)
    assert torch.bincount(labels[limited_rows(labels, 3, seed=0)]).tolist() == [1, 1, 1]
    assert limited_rows(labels, 15, seed=0).tolist() == list(range(15))
    for limit in (2, 16):
        with pytest.raises(InputError, match=rf"data\.limit {limit} .*choose 3 to 15"):
            limited_rows(labels, limit, seed=0)


def test_hold_out_bounds() -> None:
    with pytest.raises(InputError, match=r"0\.9 holds out 9 of 10 .*2 classes must keep one"):
        hold_out(labels_of(5, 5), 0.9, seed=0)
    with pytest.raises(InputError, match=r"0\.01 of 10 training images is none; give 0\.1 or more"):
        hold_out(labels_of(5, 5), 0.01, seed=0)
    # Where each class has one image, none can be held out.
    with pytest.raises(InputError, match=r"0\.1 of 2 training images is none; give 0 to train"):
        hold_out(labels_of(1, 1), 0.1, seed=0)


def test_folds_hold_each_row_out_once_and_each_class_evenly() -> None:
    labels = torch.tensor([0] * 10 + [1] * 20 + [2] * 7)
    every = [hold_out_fold(labels, 5, fold, seed=3) for fold in range(5)]
    assert torch.cat([out for _, out in every]).sort().values.tolist() == list(range(37))
    for kept, out in every:
        assert sorted([*kept.tolist(), *out.tolist()]) == list(range(37))
        counts = torch.bincount(labels[out], minlength=3).tolist()
        assert counts[0] == 2 and counts[1] == 4 and counts[2] in (1, 2)
    other = hold_out_fold(labels, 5, 0, seed=4)[1]
    assert not torch.equal(other, every[0][1])


def test_a_fold_leaves_each_class_an_image() -> None:
    with pytest.raises(InputError, match=r"data\.fold 0 of 2 holds out all images of 1 class"):
        hold_out_fold(torch.tensor([0, 1, 1]), 2, 0, seed=0)
