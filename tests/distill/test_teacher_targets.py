"""The logits of several teachers as those of one, and what a report says of them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ghostnet_small.distill import ensemble_logits, share_above, target_entropy
from ghostnet_small.errors import InputError
from logits_kit import STUDENT, TEACHER, random_logits


def test_the_mean_of_probabilities_by_hand() -> None:
    one = torch.tensor([[2 * math.log(3), 0.0]])
    other = torch.tensor([[0.0, 2 * math.log(7)]])
    softened = (ensemble_logits([one, other], mean="probabilities", temperature=2.0) / 2).softmax(1)
    assert softened[0].tolist() == pytest.approx([(3 / 4 + 1 / 8) / 2, (1 / 4 + 7 / 8) / 2])
    weighted = ensemble_logits([one, other], mean="probabilities", weights=(3, 1), temperature=2.0)
    expected = [(9 / 4 + 1 / 8) / 4, (3 / 4 + 7 / 8) / 4]
    assert (weighted / 2).softmax(1)[0].tolist() == pytest.approx(expected)


def test_the_mean_of_logits_by_hand() -> None:
    one, other = torch.tensor([[4.0, 0.0]]), torch.tensor([[0.0, 8.0]])
    assert ensemble_logits([one, other], mean="logits", temperature=3.0).tolist() == [[2.0, 4.0]]
    weighted = ensemble_logits([one, other], mean="logits", weights=(3, 1), temperature=1.0)
    assert weighted.tolist() == [[3.0, 2.0]]


@pytest.mark.parametrize("mean", ["probabilities", "logits"])
def test_one_teacher_stays_itself(mean: str) -> None:
    teacher, other = random_logits()

    def shape_of(logits: Tensor) -> Tensor:
        return logits - logits.mean(1, keepdim=True)

    alone = ensemble_logits([teacher], mean=mean, temperature=4.0)
    twice = ensemble_logits([teacher, teacher], mean=mean, temperature=4.0)
    without = ensemble_logits([teacher, other], mean=mean, weights=(2, 0), temperature=4.0)
    for ensemble in (alone, twice, without):
        assert (shape_of(ensemble) - shape_of(teacher)).abs().max() < 1e-12


@pytest.mark.parametrize("mean", ["probabilities", "logits"])
def test_an_ensemble_is_finite_and_without_gradient(mean: str) -> None:
    large = torch.tensor([[1e4, -1e4, 0.0]], dtype=torch.float16, requires_grad=True)
    ensemble = ensemble_logits([large, large.flip(1)], mean=mean, temperature=1.0)
    assert ensemble.isfinite().all() and ensemble.dtype == torch.float32
    assert not ensemble.requires_grad


def test_entropy_and_share_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [2 * math.log(3), 0.0, -9e3, -9e3]])
    three_quarters = -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    expected = [math.log(4), three_quarters]
    assert target_entropy(logits, 2.0).tolist() == pytest.approx(expected, rel=1e-6)
    assert target_entropy(logits.half(), 2.0).dtype == torch.float32
    # Not softened, the second row's largest is 9/10.
    assert [share_above(logits, t, 0.8) for t in (1.0, 2.0)] == [0.5, 0.0]
    assert share_above(torch.tensor([[5.0, 0.0], [3.0, 0.0], [0.0, 4.0]]), 1.0) == pytest.approx(
        2 / 3
    )


@pytest.mark.parametrize(
    "weights", [(1,), (1, 2, 3), (), (0, 0), (1, -0.5), (1, math.nan), (math.inf, 1), (1, "1")]
)
def test_weights_that_do_not_fit_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="for 2 teachers; give one number from 0 for each"):
        ensemble_logits([STUDENT, TEACHER], mean="logits", weights=weights, temperature=1.0)


def test_ensembles_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InputError, match="no teacher; give at least one"):
        ensemble_logits([], mean="logits", temperature=1.0)
    with pytest.raises(InputError, match="'logit' is not known; the nearest is logits,"):
        ensemble_logits([TEACHER], mean="logit", temperature=1.0)
    with pytest.raises(InputError, match="one shape"):
        ensemble_logits([TEACHER, TEACHER[:, :3]], mean="logits", temperature=1.0)
    with pytest.raises(InputError, match=r"threshold is 98; it must be a probability"):
        share_above(TEACHER, 1.0, 98)
