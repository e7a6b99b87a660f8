"""Epochs: every picture once, or every class equally often, as a function of (seed, epoch)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ghostnet_small.data.sampling import epoch_rows

# Classes 0, 1, 2 and 4 of 23, 5, 2 and 1 pictures; class 3 has none.
LABELS = torch.tensor([0] * 9 + [2] + [1] * 3 + [0] * 8 + [4] + [1] * 2 + [2] + [0] * 6)


def balanced(epoch: int, seed: int = 0, labels: Tensor = LABELS) -> tuple[Tensor, Tensor]:
    return epoch_rows(labels, epoch, seed=seed, shuffle=True, sampler="balanced")


def test_the_order_of_all_never_changes() -> None:
    rows, repeat = epoch_rows(torch.zeros(12).long(), 3, seed=7, shuffle=True, sampler="all")
    assert rows.tolist() == [4, 10, 9, 0, 6, 11, 3, 7, 8, 2, 1, 5]
    assert repeat.tolist() == [0] * 12
    rows, repeat = epoch_rows(torch.zeros(12).long(), 3, seed=7, shuffle=False, sampler="all")
    assert rows.tolist() == list(range(12)) and repeat.tolist() == [0] * 12


def test_a_balanced_order_never_changes() -> None:
    """A run that was stopped in an epoch goes on in the same one, years later too."""
    rows, repeat = balanced(5, seed=3, labels=torch.tensor([0, 0, 0, 0, 0, 1, 1, 2]))
    assert rows.tolist() == ROWS
    assert repeat.tolist() == REPEAT


ROWS = [5, 0, 7, 6, 1, 6, 7, 7]
REPEAT = [0, 0, 0, 0, 0, 1, 1, 2]


@pytest.mark.parametrize("epoch", range(7))
def test_classes_are_equal_and_pictures_take_turns(epoch: int) -> None:
    rows, repeat = balanced(epoch)
    assert rows.shape == repeat.shape == LABELS.shape
    # 31 pictures for 4 classes: 8 for three of them, 7 for the other.
    drawn = torch.bincount(LABELS[rows], minlength=5).tolist()
    assert drawn.pop(3) == 0 and sorted(drawn) == [7, 8, 8, 8]
    came = torch.zeros(len(LABELS), dtype=torch.int64)
    for row, before in zip(rows.tolist(), repeat.tolist(), strict=True):
        assert came[row] == before
        # No other picture of its class has come less often.
        assert before == came[LABELS.eq(LABELS[row])].min()
        came[row] += 1


def test_over_the_epochs_nothing_is_left_out() -> None:
    came = torch.zeros(len(LABELS), dtype=torch.int64)
    for epoch in range(40):
        came += torch.bincount(balanced(epoch)[0], minlength=len(LABELS))
        totals = [came[LABELS.eq(k)] for k in (0, 1, 2, 4)]
        assert all(of_class.max() - of_class.min() <= 1 for of_class in totals)
        sums = torch.stack([of_class.sum() for of_class in totals])
        assert sums.max() - sums.min() <= 1
    # The largest class shows 8 of its 23 pictures an epoch: three epochs show them all.
    assert totals[0].min() == 40 * 31 // 4 // 23


def test_seed_and_epoch_each_change_the_order() -> None:
    orders = {tuple(balanced(*which)[0].tolist()) for which in ((0, 0), (0, 1), (1, 0), (1, 1))}
    assert len(orders) == 4
    assert torch.equal(balanced(1, 2)[0], balanced(1, 2)[0])
    # Which pictures of the largest class an epoch shows follows from the seed too.
    shown = [{row for row in balanced(0, seed)[0].tolist() if LABELS[row] == 0} for seed in (0, 1)]
    assert shown[0] != shown[1]


def test_repetitions_are_shuffled_anew() -> None:
    labels = torch.tensor([0] * 40 + [1] * 8)
    rows, repeat = balanced(0, labels=labels)
    passes = [tuple(rows[(labels[rows] == 1) & (repeat == r)].tolist()) for r in range(3)]
    assert [sorted(one) for one in passes] == [list(range(40, 48))] * 3
    assert len(set(passes)) == 3


def test_classes_are_mixed_within_an_epoch() -> None:
    labels = torch.tensor([0] * 900 + [1] * 100)
    rows, _ = balanced(0, labels=labels)
    # 999 neighbours of a fair sequence: half of them differ, standard deviation sqrt(999) / 2 =
    # 15.8; the bound is five of them.
    changes = (labels[rows].diff() != 0).sum().item()
    assert abs(changes - 499.5) <= 79


def test_equal_classes_are_all_shown_once() -> None:
    labels = torch.arange(30) % 3
    rows, repeat = balanced(4, labels=labels)
    assert rows.sort().values.tolist() == list(range(30)) and repeat.max() == 0
    one, again = balanced(0, labels=torch.full((9,), 2))
    assert one.sort().values.tolist() == list(range(9)) and again.max() == 0
