"""Losses of logits: by hand, by identities, by other people's code."""

from __future__ import annotations

import math

import pytest
import torch

from ghostnet_small.distill import dist_loss, dkd_loss, kd_loss, logit_standardized_kd_loss
from logits_kit import LOSSES, STUDENT, TARGETS, TEACHER, Loss, every_loss, gradient, random_logits

# By hand


def test_kd_by_hand() -> None:
    # Softened by 2, the teacher gives 3/4 and 1/4, the student one half each.
    teacher = torch.tensor([[2 * math.log(3), 0.0]])
    expected = 4 * (0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5))
    assert kd_loss(torch.zeros(1, 2), teacher, 2.0).item() == pytest.approx(expected, rel=1e-6)
    # The mean over pictures, not the sum: a second picture that fits halves it.
    two = torch.cat((teacher, torch.zeros(1, 2)))
    assert kd_loss(torch.zeros(2, 2), two, 2.0).item() == pytest.approx(expected / 2, rel=1e-6)


def test_dkd_by_hand() -> None:
    # Softened by 2: teacher 6/9, 2/9, 1/9; student a third each. The target is the first class.
    teacher = torch.tensor([[6.0, 2.0, 1.0]]).log() * 2
    target_part = 2 / 3 * math.log(2) + 1 / 3 * math.log(1 / 2)
    other_part = 2 / 3 * math.log(4 / 3) + 1 / 3 * math.log(2 / 3)
    loss = dkd_loss(torch.zeros(1, 3), teacher, torch.tensor([0]), 2.0, 3.0, 5.0).item()
    assert loss == pytest.approx(4 * (3 * target_part + 5 * other_part), rel=1e-6)


def test_dist_by_hand() -> None:
    # Probabilities (1/2, 1/3, 1/6) and (1/6, 1/3, 1/2): rows in reverse, so the correlation is -1;
    # the columns of two such pictures are the same where they swap roles, and the middle is even.
    one, other = [3.0, 2.0, 1.0], [1.0, 2.0, 3.0]
    student = 2 * torch.tensor([one, other], dtype=torch.float64).log()
    teacher = 2 * torch.tensor([other, one], dtype=torch.float64).log()
    assert dist_loss(student, teacher, 2.0, 1.0, 0.0).item() == pytest.approx(4 * 2, rel=1e-6)
    # Columns: -1, 0 (constant), -1; their mean is -2/3.
    assert dist_loss(student, teacher, 2.0, 0.0, 1.0).item() == pytest.approx(4 * 5 / 3, rel=1e-6)
    assert dist_loss(student, teacher, 2.0, 3.0, 6.0).item() == pytest.approx(24 + 40, rel=1e-6)


def test_logit_standardized_kd_by_hand() -> None:
    # The deviations of (3, 1, 2) and (0, 0, 3) from their means, as of a sample, are 1 and sqrt 3.
    student, teacher = torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([[0.0, 0.0, 3.0]])
    root = math.sqrt(3)
    expected = kd_loss(
        torch.tensor([[1.0, -1.0, 0.0]]), torch.tensor([[-1 / root, -1 / root, 2 / root]]), 2.0
    )
    loss = logit_standardized_kd_loss(student, teacher)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


# By other people's code

# What torchdistill 1.1.5 gave for STUDENT and TEACHER in float64: KDLoss and LogitStdKDLoss with
# alpha=0.5, beta=1.0 less half of the cross-entropy, DISTLoss with (beta, gamma) as named. DKD's
# are those of dkd_loss in megvii-research/mdistiller at e8c5bb3, with alpha and beta as named.
# timm 1.0.31's LogitDistillationTask gave kd_loss at T = 4 too.
PUBLISHED = [
    ("kd", 1.0, 0.5017729916500462),
    ("kd", 2.0, 0.6786764203627462),
    ("kd", 4.0, 0.7443343305139059),
    ("logit_standardized", 1.0, 0.15070600221829644),
    ("logit_standardized", 2.0, 0.13459507909347435),
    ("logit_standardized", 4.0, 0.1216545176221624),
    ("dist 1 1", 1.0, 0.4018374864177471),
    ("dist 1 0", 1.0, 0.3961710004919047),
    ("dist 0 1", 2.0, 0.049953865212322146),
    ("dist 1 1", 4.0, 3.9898217461158634),
    ("dkd 1 8", 1.0, 0.7852949299631625),
    ("dkd 1 0", 2.0, 0.644721060378721),
    ("dkd 0 1", 2.0, 0.0879252644178707),
    ("dkd 1 8", 4.0, 1.6990211915984939),
]


@pytest.mark.parametrize(("name", "temperature", "expected"), PUBLISHED)
def test_the_values_of_published_code(name: str, temperature: float, expected: float) -> None:
    method, *weights = name.split()
    numbers = [float(weight) for weight in weights]
    if method == "dkd":
        loss = dkd_loss(STUDENT, TEACHER, TARGETS, temperature, *numbers)
    elif method == "dist":
        loss = dist_loss(STUDENT, TEACHER, temperature, *numbers)
    else:
        loss = LOSSES[method](STUDENT, TEACHER, temperature)
    # The z-score there adds 1e-7 to the deviation.
    assert loss.item() == pytest.approx(
        expected, rel=1e-6 if method == "logit_standardized" else 1e-12
    )


def test_the_defaults() -> None:
    assert kd_loss(STUDENT, TEACHER).item() == pytest.approx(0.7443343305139059)
    assert dist_loss(STUDENT, TEACHER).item() == pytest.approx(3.9898217461158634)
    assert dkd_loss(STUDENT, TEACHER, TARGETS).item() == pytest.approx(1.6990211915984939)
    standardized = logit_standardized_kd_loss(STUDENT, TEACHER).item()
    assert standardized == pytest.approx(0.13459507909347435)


# By identities


@every_loss
def test_a_student_like_its_teacher_loses_nothing(loss: Loss) -> None:
    student, teacher = random_logits()
    shifts = torch.arange(12.0)[:, None]
    assert abs(loss(teacher + shifts, teacher, 2.0).item()) < 1e-6
    assert gradient(loss, teacher + shifts, teacher, 2.0).abs().max() < 1e-6
    assert loss(student, teacher, 2.0).item() > 0.1


@every_loss
def test_shifting_the_logits_of_a_picture_changes_nothing(loss: Loss) -> None:
    student, teacher = random_logits()
    shifted = loss(student - 7, teacher + torch.arange(12.0)[:, None], 2.0).item()
    assert shifted == pytest.approx(loss(student, teacher, 2.0).item(), rel=1e-9)


def test_t_squared_keeps_the_gradient_of_kd_at_its_size() -> None:
    """At a large T it tends to that of ``|s - t|^2 / (2 K)``, logits less their means."""
    student, teacher = random_logits()
    difference = student - teacher
    limit = (difference - difference.mean(1, keepdim=True)) / student.numel()
    assert (gradient(kd_loss, student, teacher, 1e4) - limit).norm() < 1e-3 * limit.norm()
    at_one, at_four = (gradient(kd_loss, student, teacher, t).norm() for t in (1.0, 4.0))
    assert 1 / 3 < at_four / at_one < 3


def test_dkd_with_the_teachers_own_weights_is_kd() -> None:
    """KD = TCKD + (1 - p_t) NCKD, row by row, in value and gradient."""
    student, teacher = random_logits()
    for row, target in enumerate((0, 4, 2)):
        s, t = student[row : row + 1].requires_grad_(), teacher[row : row + 1]
        rest = 1 - (t / 2).softmax(1)[0, target].item()
        loss = dkd_loss(s, t, torch.tensor([target]), 2.0, 1.0, rest)
        assert loss.item() == pytest.approx(kd_loss(s, t, 2.0).item(), rel=1e-12)
        (slope,) = torch.autograd.grad(loss, s)
        assert (slope - gradient(kd_loss, s.detach(), t, 2.0)).abs().max() < 1e-12


def test_dkd_of_two_classes_has_no_others() -> None:
    student, teacher = random_logits(classes=2)
    targets = torch.arange(12) % 2
    assert dkd_loss(student, teacher, targets, 2.0, 0.0, 8.0).item() == 0
    both = dkd_loss(student, teacher, targets, 2.0).item()
    assert both == pytest.approx(kd_loss(student, teacher, 2.0).item(), rel=1e-12)


def test_dist_asks_only_for_a_linear_relation_of_probabilities() -> None:
    teacher = random_logits()[1]
    towards_uniform = 0.3 * teacher.softmax(1) + 0.7 / 5
    assert abs(dist_loss(towards_uniform.log(), teacher, 1.0).item()) < 1e-6
    assert kd_loss(towards_uniform.log(), teacher, 1.0).item() > 0.1


def test_standardized_logits_know_no_scale() -> None:
    student, teacher = random_logits()
    scales = torch.linspace(0.1, 9, 12)[:, None]
    plain = logit_standardized_kd_loss(student, teacher, 2.0).item()
    scaled = logit_standardized_kd_loss(scales * student - 3, 5 * teacher + scales, 2.0).item()
    assert scaled == pytest.approx(plain, rel=1e-5)
    assert abs(logit_standardized_kd_loss(0.2 * teacher + 1, teacher).item()) < 1e-10


# Not of DIST, whose columns are the batch.
@pytest.mark.parametrize("name", ["kd", "dkd", "logit_standardized"])
def test_the_mean_is_over_the_batch(name: str) -> None:
    loss = LOSSES[name]
    student, teacher = random_logits(10)
    halves = [loss(student[half], teacher[half], 2.0).item() for half in (slice(5), slice(5, 10))]
    assert sum(halves) / 2 == pytest.approx(loss(student, teacher, 2.0).item(), rel=1e-12)


# Gradients


@every_loss
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_gradients_are_those_of_the_loss(loss: Loss, temperature: float) -> None:
    student, teacher = random_logits(6)
    student.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, teacher, temperature), student)


@every_loss
def test_the_teacher_gets_no_gradient(loss: Loss) -> None:
    student, teacher = (x.requires_grad_() for x in random_logits())
    loss(student, teacher, 2.0).backward()
    assert teacher.grad is None
    assert student.grad is not None and student.grad.abs().max() > 0
