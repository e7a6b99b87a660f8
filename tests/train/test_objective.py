"""Losses by hand: smoothing, weights of classes, labels of mixed pictures, and all together."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ghostnet_small.errors import InputError
from ghostnet_small.train.objective import Batch, class_weights, cross_entropy

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.5]], dtype=torch.float64)
WEIGHTS = torch.tensor([0.5, 1.0, 3.0])


def batch_of(targets: Tensor, partners: Tensor | None = None, share: Tensor | None = None) -> Batch:
    count = len(targets)
    return Batch(torch.zeros(count, 1, 8, 8), targets, torch.arange(count), 0, partners, share)


PLAIN = batch_of(torch.tensor([0, 2]))
MIXED = replace(PLAIN, partner_targets=torch.tensor([1, 2]), share=torch.tensor([0.25, 0.5]))


def by_hand(weights: list[list[float]]) -> float:
    """Minus the mean over the pictures of the log probabilities, weighted as given."""
    return -(torch.tensor(weights, dtype=torch.float64) * LOGITS.softmax(1).log()).sum().item() / 2


@pytest.mark.parametrize(
    ("smoothing", "weights", "batch", "expected"),
    [
        (0.0, None, PLAIN, [[1, 0, 0], [0, 0, 1]]),
        # Of each target 0.3 is spread over all 3 classes: 0.8 stays, 0.1 goes to each other.
        (0.3, None, PLAIN, [[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]),
        (0.0, WEIGHTS, PLAIN, [[0.5, 0, 0], [0, 0, 3]]),
        (0.0, None, MIXED, [[0.25, 0.75, 0], [0, 0, 1]]),
        (0.0, WEIGHTS, MIXED, [[0.25 * 0.5, 0.75, 0], [0, 0, 3]]),
        # The smoothed part belongs to the label, and has its weight.
        (0.3, WEIGHTS, PLAIN, [[0.4, 0.05, 0.05], [0.3, 0.3, 2.4]]),
        (
            0.3,
            WEIGHTS,
            MIXED,
            [[0.25 * 0.4 + 0.75 * 0.1, 0.25 * 0.05 + 0.75 * 0.8, 0.0875], [0.3, 0.3, 2.4]],
        ),
    ],
)
def test_cross_entropy_by_hand(
    smoothing: float, weights: Tensor | None, batch: Batch, expected: list[list[float]]
) -> None:
    loss = cross_entropy(smoothing, weights)(LOGITS, batch).item()
    assert loss == pytest.approx(by_hand(expected), rel=1e-7)


def random_batch(count: int = 12, classes: int = 5) -> tuple[Tensor, Batch]:
    random = torch.Generator().manual_seed(3)
    logits = torch.randn(count, classes, generator=random, dtype=torch.float64)
    labels = torch.randint(classes, (2, count), generator=random)
    share = torch.rand(count, generator=random)
    return logits, batch_of(labels[0], labels[1], share)


FULL = cross_entropy(0.1, torch.tensor([0.2, 1.0, 2.0, 0.7, 1.3]))


def test_gradients_are_those_of_the_loss() -> None:
    logits, batch = random_batch()
    assert torch.autograd.gradcheck(lambda x: FULL(x, batch), logits.requires_grad_())


def test_micro_batches_add_up_to_their_batch() -> None:
    logits, batch = random_batch()
    whole = logits.clone().requires_grad_()
    FULL(whole, batch).backward()
    cut = logits.clone().requires_grad_()
    total = 0.0
    for part in (slice(0, 5), slice(5, 6), slice(6, 12)):
        assert batch.partner_targets is not None and batch.share is not None
        piece = batch_of(batch.targets[part], batch.partner_targets[part], batch.share[part])
        loss = FULL(cut[part], piece) * len(piece.targets) / 12
        loss.backward()
        total += loss.item()
    assert total == pytest.approx(FULL(logits, batch).item(), rel=1e-12)
    assert cut.grad is not None and whole.grad is not None
    assert (cut.grad - whole.grad).abs().max() < 1e-15


def test_weights_of_one_and_shares_of_one_change_nothing() -> None:
    logits, batch = random_batch()
    plain = cross_entropy(0.1)(logits, batch_of(batch.targets)).item()
    alone = replace(batch, share=torch.ones(12))
    for objective in (cross_entropy(0.1), cross_entropy(0.1, torch.ones(5))):
        assert objective(logits, alone).item() == pytest.approx(plain, rel=1e-12)
    itself = replace(batch, partner_targets=batch.targets)
    assert cross_entropy(0.1)(logits, itself).item() == pytest.approx(plain, rel=1e-7)


NAMES = ("ant", "bee", "cat", "dog")
LABELS = torch.tensor([0] * 6 + [1] * 3 + [3] * 1)


def test_balanced_weights_by_hand() -> None:
    # 10 pictures in 3 classes that have some: 10 / (3 * 6) and so on.
    weights = class_weights(LABELS, NAMES, "balanced")
    assert weights is not None and weights.dtype == torch.float32
    assert weights.tolist() == pytest.approx([10 / 18, 10 / 9, 1, 10 / 3], rel=1e-6)
    assert class_weights(LABELS, NAMES, "none") is None


def test_given_weights_keep_their_ratios_with_a_mean_of_one() -> None:
    given = (1.0, 4.0, 7.0, 2.0)
    weights = class_weights(LABELS, NAMES, given)
    assert weights is not None
    assert weights[LABELS].mean().item() == pytest.approx(1, rel=1e-6)
    assert (weights / weights[0]).tolist()[1::2] == pytest.approx([4, 2], rel=1e-6)
    assert weights[2] == 1  # no picture ever asks for it


@pytest.mark.parametrize("count", [0, 3, 5])
def test_other_numbers_than_one_a_class_are_refused(count: int) -> None:
    with pytest.raises(InputError) as raised:
        class_weights(LABELS, NAMES, (1.0,) * count)
    assert str(raised.value) == (
        f"train.class_weights has {count} numbers for 4 classes; give one for each, in the order "
        "ant, bee, cat, dog"
    )
