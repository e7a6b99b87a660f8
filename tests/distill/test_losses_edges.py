"""Losses of logits where they could break: half precision, large and constant logits, misuse."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ghostnet_small.distill import (
    dist_loss,
    dkd_loss,
    ensemble_logits,
    kd_loss,
    logit_standardized_kd_loss,
    share_above,
    target_entropy,
)
from ghostnet_small.errors import InputError
from logits_kit import LOSSES, STUDENT, TARGETS, TEACHER, Loss, every_loss, gradient, random_logits


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(loss: Loss, dtype: torch.dtype) -> None:
    student, teacher = (x.to(dtype) for x in random_logits())
    value = loss(student, teacher, 2.0)
    assert value.dtype == torch.float32
    exact = loss(student.double(), teacher.double(), 2.0).item()
    assert value.item() == pytest.approx(exact, rel=1e-5)
    assert gradient(loss, student, teacher, 2.0).dtype == dtype
    assert loss(student.double(), teacher, 2.0).dtype == torch.float64


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_large_logits_stay_finite(loss: Loss, dtype: torch.dtype) -> None:
    rows = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 0.0, 1e4], [0.0, 1e4, 1e4]]).to(dtype)
    for student, teacher in (
        (rows, rows.flip(1)),
        (rows, rows),
        (rows, rows * 0),
        (rows * 0, rows),
    ):
        assert loss(student, teacher, 1.0).isfinite()
        assert gradient(loss, student, teacher, 1.0).isfinite().all()


def test_a_large_disagreement_is_counted_in_full() -> None:
    # The teacher is sure of the first class, which the student puts 2e4 below the second.
    teacher = torch.tensor([[1e4, -1e4, 0.0]])
    student = torch.tensor([[-1e4, 1e4, 0.0]])
    assert kd_loss(student, teacher, 1.0).item() == pytest.approx(2e4)
    assert dkd_loss(student, teacher, torch.tensor([0]), 1.0, 1.0, 0.0).item() == pytest.approx(2e4)
    # Among the other two, the teacher is sure of the last, 1e4 below the second here.
    assert dkd_loss(student, teacher, torch.tensor([0]), 1.0, 0.0, 1.0).item() == pytest.approx(1e4)


CONSTANT = {
    "zeros": torch.zeros(6, 10),
    # A tenth is not exact, and neither is the mean of ten.
    "tenths": torch.full((6, 10), 0.1),
    "rows apart": torch.linspace(-50, 50, 6)[:, None].expand(6, 10),
    "same rows": torch.linspace(-2, 3, 10).expand(6, 10),
}


@every_loss
@pytest.mark.parametrize("constant", CONSTANT.values(), ids=CONSTANT)
def test_constant_logits_give_no_nan_and_no_boundless_gradient(
    loss: Loss, constant: Tensor
) -> None:
    varied = random_logits(6, 10)[0].float()
    for student, teacher in ((constant, varied), (varied, constant), (constant, constant)):
        assert loss(student, teacher, 2.0).isfinite()
        slope = gradient(loss, student, teacher, 2.0)
        assert slope.isfinite().all() and slope.abs().max() < 10


def test_a_constant_row_correlates_with_nothing_and_is_uniform() -> None:
    varied = random_logits(6, 10)[0].float()
    zeros = torch.zeros(6, 10)
    assert dist_loss(zeros, varied, 2.0).item() == pytest.approx(8)
    assert gradient(dist_loss, zeros, varied, 2.0).abs().max() == 0
    # Nor does a teacher's, whatever the rounding of the mean leaves of it.
    for classes in (3, 7, 10, 100):
        student = random_logits(6, classes)[0].float()
        assert dist_loss(student, torch.full((6, classes), 0.1), 2.0).item() == 8
        assert gradient(dist_loss, student, torch.zeros(6, classes), 2.0).abs().max() == 0
    assert gradient(logit_standardized_kd_loss, zeros, varied, 2.0).abs().max() == 0
    expected = logit_standardized_kd_loss(varied, zeros).item()
    standardized = (varied - varied.mean(1, keepdim=True)) / varied.std(1, keepdim=True)
    assert kd_loss(standardized, zeros, 2.0).item() == pytest.approx(expected, rel=1e-5)


def test_small_differences_are_no_noise() -> None:
    """What a network's first logits may look like: near one another, yet not the same."""
    student, teacher = (x.float() for x in random_logits(6, 10))
    loss = dist_loss(1e-3 * student, teacher, 1.0, 1.0, 0.0).item()
    exact = dist_loss(1e-3 * student.double(), teacher.double(), 1.0, 1.0, 0.0).item()
    assert loss == pytest.approx(exact, rel=1e-2) and abs(loss - 1) > 0.01
    full = logit_standardized_kd_loss(student, teacher).item()
    small = logit_standardized_kd_loss(1e-3 * student, teacher).item()
    assert small == pytest.approx(full, rel=1e-3)


@pytest.mark.parametrize("temperature", [0, 0.0, -1.0, math.inf, math.nan, True, "4"])
def test_a_temperature_that_is_no_number_above_0_is_refused(temperature: float) -> None:
    calls = [
        *(lambda loss=loss: loss(STUDENT, TEACHER, temperature) for loss in LOSSES.values()),
        lambda: ensemble_logits([TEACHER], mean="logits", temperature=temperature),
        lambda: target_entropy(TEACHER, temperature),
        lambda: share_above(TEACHER, temperature),
    ]
    for call in calls:
        with pytest.raises(InputError) as raised:
            call()
        assert str(raised.value) == (
            f"temperature is {temperature!r}; it must be a number above 0, such as 1.0 or 4.0"
        )


@every_loss
def test_logits_that_do_not_fit_are_refused(loss: Loss) -> None:
    with pytest.raises(InputError, match=r"logits are \(3, 4\) and \(3, 3\); they must have one"):
        loss(STUDENT, TEACHER[:, :3], 4.0)
    with pytest.raises(InputError, match=r"logits are \(3, 4\) and \(1, 4\)"):
        loss(STUDENT, TEACHER[:1], 4.0)
    for wrong in (TEACHER.long(), TEACHER[None], TEACHER[:0], TEACHER[:, :0]):
        described = f"logits are {str(wrong.dtype)[6:]} {tuple(wrong.shape)}; they must be floating"
        for pair in ((STUDENT, wrong), (wrong, TEACHER)):
            with pytest.raises(InputError) as raised:
                loss(*pair, 4.0)
            assert described in str(raised.value)


@every_loss
def test_one_class_alone_is_refused_where_classes_are_compared(loss: Loss) -> None:
    if loss is kd_loss:
        assert kd_loss(STUDENT[:, :1], TEACHER[:, :1]).item() == 0
        return
    with pytest.raises(InputError, match=r"\(3, 1\): this loss compares classes .* at least 2"):
        loss(STUDENT[:, :1], TEACHER[:, :1], 4.0)


@pytest.mark.parametrize("targets", [TARGETS[:2], TARGETS.int(), TARGETS[:, None], STUDENT])
def test_targets_that_are_no_labels_are_refused(targets: Tensor) -> None:
    with pytest.raises(InputError, match=r"for 3 rows of logits; they must be int64 \(N,\)"):
        dkd_loss(STUDENT, TEACHER, targets)
