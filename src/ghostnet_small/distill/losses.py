"""Losses between student and teacher logits: pure functions of ``(N, K)`` tensors.

All losses are means over the batch, send no gradient to the teacher and compute in float32 where
the logits are of half precision. Unless noted otherwise, a loss has the factor T^2 of
arXiv:1503.02531, section 2, which keeps the size of its gradient while the temperature T grows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from ghostnet_small.errors import InputError, nearest

if TYPE_CHECKING:
    from ghostnet_small.distill.settings import DistillSettings

Mean = Literal["probabilities", "logits"]


def kd_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 4.0) -> Tensor:
    """Return ``T^2 KL(softmax(t / T) || softmax(s / T))`` of logits ``(N, K)``, in nats.

    Raises ``InputError`` where the logits are not floating ``(N, K)`` of one shape, or where the
    temperature is not a number above 0.

    Source: arXiv:1503.02531, section 2.
    Differs from the paper: the divergence, not the cross-entropy; the gradients are the same.
    """
    student, teacher = _checked(student_logits, teacher_logits, temperature)
    return temperature**2 * _divergence(student / temperature, teacher / temperature)


def dkd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    targets: Tensor,
    temperature: float = 4.0,
    target_weight: float = 1.0,
    nontarget_weight: float = 8.0,
) -> Tensor:
    """Return the decoupled loss of logits ``(N, K)``, labels ``targets`` int64 ``(N,)``, in nats.

    It is ``target_weight`` times the divergence of "the target or not" (TCKD) plus
    ``nontarget_weight`` times that among the other classes (NCKD), both times T^2.
    ``kd_loss`` is the same with a
    ``nontarget_weight`` of one minus the teacher's softened probability of the target, row by row.

    Raises ``InputError`` as ``kd_loss`` does, and where there are fewer than 2 classes or the
    targets are not int64 ``(N,)``.

    Source: arXiv:2203.08679, section 3.2; T^2 and the weights 1 and 8 are those of its code.
    """
    student, teacher = _checked(student_logits, teacher_logits, temperature, classes=2)
    if targets.dtype != torch.int64 or targets.shape != student.shape[:1]:
        raise InputError(
            f"targets are {_described(targets)} for {len(student)} rows of logits; they must be "
            "int64 (N,), one class number per row: for mixed images use another loss"
        )
    student_pair, student_rest = _decoupled(student / temperature, targets)
    teacher_pair, teacher_rest = _decoupled(teacher / temperature, targets)
    return temperature**2 * (
        target_weight * _divergence(student_pair, teacher_pair)
        + nontarget_weight * _divergence(student_rest, teacher_rest)
    )


def dist_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    temperature: float = 4.0,
    inter_weight: float = 1.0,
    intra_weight: float = 1.0,
) -> Tensor:
    """Return T^2 times one minus the correlation of softened probabilities, by rows and columns.

    Logits are ``(N, K)``. ``inter_weight`` is for the correlation of each row (the classes of an
    image), ``intra_weight`` for that of each column (a class over the batch); no unit. The
    second depends on how a batch is cut. A row or column that is constant up to rounding has the
    correlation 0 and sends no gradient, which would be unbounded.

    A correlation does not shrink as T grows, so here T^2 increases the loss: at T = 4 it is
    up to 16 (1 - r) for each of the two, and the gradients grow alike.

    Raises ``InputError`` as ``kd_loss`` does, and where there are fewer than 2 classes.

    Source: arXiv:2205.10536, section 4. Differs from the paper: the T^2, which is that of the
    authors' code; unlike there, nothing is added to the denominator of a correlation.
    """
    student, teacher = _checked(student_logits, teacher_logits, temperature, classes=2)
    rows = (student / temperature).softmax(1), (teacher / temperature).softmax(1)
    inter = 1 - _correlation(*rows).mean()
    intra = 1 - _correlation(rows[0].T, rows[1].T).mean()
    return temperature**2 * (inter_weight * inter + intra_weight * intra)


def logit_standardized_kd_loss(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float = 2.0
) -> Tensor:
    """Return ``kd_loss`` of z-scores, rows ``(N, K)`` minus mean, over deviation, in nats.

    Neither the scale nor the shift of a row matters. A row that is constant up to rounding counts
    as all zeros, which is the uniform distribution, and sends no gradient, which would be
    unbounded. The authors weight this loss by 9 and the cross-entropy by 0.1.

    Raises ``InputError`` as ``kd_loss`` does, and where there are fewer than 2 classes.

    Source: arXiv:2403.01427, section 4; T^2 and T = 2 are those of the authors' code.
    Differs from the paper: the deviation is that of a sample (by K - 1), as in the authors' code;
    unlike there, nothing is added to it.
    """
    student, teacher = _checked(student_logits, teacher_logits, temperature, classes=2)
    return kd_loss(_standardized(student), _standardized(teacher), temperature)


@torch.no_grad()
def ensemble_logits(
    teacher_logits: Sequence[Tensor],
    *,
    mean: Mean,
    weights: Sequence[float] | None = None,
    temperature: float,
) -> Tensor:
    """Return the combined logits ``(N, K)`` of several teachers, without a gradient.

    "probabilities": the softmax of the result by T is the mean of the teachers' softened
    probabilities. "logits": the mean of the logits, as in arXiv:2509.12380; T is not used, and a
    teacher with large logits has more weight. ``weights``, one per teacher, are scaled to sum 1;
    without them all teachers have equal weight. The logits of a single teacher are returned
    unchanged, up to a shift of each row.

    Raises ``InputError`` for no teacher, logits that are not floating ``(N, K)`` of one shape, an
    unknown ``mean``, weights that are not one number of at least 0 per teacher with a sum above 0,
    or a temperature that is not a number above 0.
    """
    if mean not in get_args(Mean):
        raise InputError(
            f"mean {mean!r} is not known; {nearest(mean, get_args(Mean))}, of "
            f"{', '.join(get_args(Mean))}"
        )
    if not teacher_logits:
        raise InputError("teacher_logits are those of no teacher; give at least one")
    teachers = [_checked(logits, teacher_logits[0], temperature)[0] for logits in teacher_logits]
    stacked = torch.stack(teachers)
    shares = torch.tensor(_shares(weights, len(teachers)), dtype=stacked.dtype)
    shares = shares.to(stacked.device)[:, None, None]
    if mean == "logits":
        return (shares * stacked).sum(0)
    softened = (stacked / temperature).log_softmax(2)
    return temperature * (shares.log() + softened).logsumexp(0)


def target_entropy(logits: Tensor, temperature: float) -> Tensor:
    """Return the entropy of the softened probabilities by row, in nats: ``(N, K) -> (N,)``.

    It is 0 where a row contains no more than a label, and at most ``log(K)``.

    Raises ``InputError`` as ``kd_loss`` does.
    """
    logits, _ = _checked(logits, logits, temperature)
    log_p = (logits / temperature).log_softmax(1)
    return -(log_p.exp() * log_p).sum(1)


def share_above(logits: Tensor, temperature: float, threshold: float = 0.98) -> float:
    """Return the share of rows ``(N, K)`` whose top softened probability is above ``threshold``.

    Raises ``InputError`` as ``kd_loss`` does, and for a threshold that is not within 0 and 1.
    """
    logits, _ = _checked(logits, logits, temperature)
    if not (_is_number(threshold) and 0 <= threshold <= 1):
        raise InputError(f"threshold is {threshold!r}; it must be a probability, such as 0.98")
    return ((logits / temperature).softmax(1).amax(1) > threshold).cpu().double().mean().item()


def _checked(
    student: Tensor, teacher: Tensor, temperature: float, *, classes: int = 1
) -> tuple[Tensor, Tensor]:
    """Check the arguments; return both logits in at least float32, the teacher's detached."""
    if not (_is_number(temperature) and temperature > 0):
        raise InputError(
            f"temperature is {temperature!r:.40}; it must be a number above 0, such as 1.0 or 4.0"
        )
    for logits in (student, teacher):
        if not logits.is_floating_point() or logits.ndim != 2 or logits.numel() == 0:
            raise InputError(
                f"logits are {_described(logits)}; they must be floating (N, K), a row for each "
                "image and a column for each class"
            )
    if student.shape != teacher.shape:
        raise InputError(
            f"logits are {tuple(student.shape)} and {tuple(teacher.shape)}; they must have one "
            "shape (N, K): give all models the same images and the same number of classes"
        )
    if student.shape[1] < classes:
        raise InputError(
            f"logits are {tuple(student.shape)}: this loss compares classes and needs at least "
            f"{classes} of them"
        )
    return at_least_float32(student), at_least_float32(teacher.detach())


def at_least_float32(x: Tensor) -> Tensor:
    """Return ``x``, in float32 where it is of half precision."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _described(x: Tensor) -> str:
    return f"{str(x.dtype).removeprefix('torch.')} {tuple(x.shape)}"


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def _shares(weights: Sequence[float] | None, count: int) -> list[float]:
    """Return ``weights`` divided by their sum."""
    given = [1.0] * count if weights is None else list(weights)
    fit = len(given) == count and all(_is_number(weight) and weight >= 0 for weight in given)
    total = math.fsum(given) if fit else 0.0
    if not 0 < total < math.inf:
        raise InputError(
            f"weights are {given} for {count} teachers; give one number from 0 for each, one of "
            "them above 0"
        )
    return [weight / total for weight in given]


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Return ``KL(softmax(teacher) || softmax(student))`` over columns, the mean over rows."""
    # With the teacher's logarithms, a probability that underflows to 0 gives 0 and not NaN.
    return functional.kl_div(
        student.log_softmax(1), teacher.log_softmax(1), reduction="batchmean", log_target=True
    )


def _decoupled(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits ``(N, 2)`` of target against others, and ``(N, K - 1)`` of the others."""
    others = torch.arange(logits.shape[1] - 1, device=logits.device)
    # Left out by position: a target hidden behind -inf would give 0 * inf in the divergence.
    rest = logits.gather(1, others + (others >= targets[:, None]).long())
    own = logits.gather(1, targets[:, None])
    return torch.cat((own, rest.logsumexp(1, keepdim=True)), 1), rest


def _deviations(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return each row minus its mean, its length ``(rows, 1)``, and whether it exceeds noise.

    Noise is the most that the rounding of the row's numbers can add up to.
    """
    deviation = x - x.mean(1, keepdim=True)
    length = deviation.norm(dim=1, keepdim=True)
    noise = torch.finfo(x.dtype).eps * x.detach().abs().sum(1, keepdim=True)
    return deviation, length, length > noise


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """Return Pearson's correlation ``(rows,)`` of each row of ``a`` with that of ``b``."""
    a, a_length, a_varies = _deviations(a)
    b, b_length, b_varies = _deviations(b)
    # Lengths below this belong to classes of almost no probability; their product could become 0.
    lengths = a_length.clamp_min(1e-8) * b_length.clamp_min(1e-8)
    return torch.where(a_varies & b_varies, (a * b).sum(1, keepdim=True) / lengths, 0).squeeze(1)


def _standardized(logits: Tensor) -> Tensor:
    deviation, length, varies = _deviations(logits)
    # The division must be safe even where it is not used: in backward NaN times 0 is NaN.
    spread = torch.where(varies, length, 1) / math.sqrt(logits.shape[1] - 1)
    return torch.where(varies, deviation / spread, 0)


def _dkd(student: Tensor, teacher: Tensor, targets: Tensor, of: DistillSettings) -> Tensor:
    return dkd_loss(
        student, teacher, targets, of.temperature, of.target_weight, of.nontarget_weight
    )


def _dist(student: Tensor, teacher: Tensor, targets: Tensor, of: DistillSettings) -> Tensor:
    return dist_loss(student, teacher, of.temperature, of.inter_weight, of.intra_weight)


LogitLoss = Callable[[Tensor, Tensor, Tensor, "DistillSettings"], Tensor]
LOSSES: dict[str, LogitLoss] = {
    "kd": lambda student, teacher, targets, of: kd_loss(student, teacher, of.temperature),
    "dkd": _dkd,
    "dist": _dist,
    "logit_standardized": lambda student, teacher, targets, of: logit_standardized_kd_loss(
        student, teacher, of.temperature
    ),
}
"""The values of ``distill.loss``: logits of student and teacher ``(N, K)``, the batch's targets
and the settings, to nats."""
