"""The objective of a student: the loss of the labels and of its teachers' logits and maps."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ghostnet_small.distill.feature_maps import MapLosses
from ghostnet_small.distill.losses import (
    dist_loss,
    dkd_loss,
    kd_loss,
    logit_standardized_kd_loss,
)
from ghostnet_small.distill.settings import DistillSettings
from ghostnet_small.distill.targets import Targets
from ghostnet_small.train.objective import Batch, Objective

LogitLoss = Callable[[Tensor, Tensor, Batch], Tensor]
"""A function of student and teacher logits ``(N, K)`` and their batch; returns nats."""


def logit_loss(settings: DistillSettings) -> LogitLoss:
    """Return the loss that ``settings`` name, with their temperature and weights."""
    temperature = settings.temperature

    def kd(student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        return kd_loss(student, teacher, temperature)

    def dkd(student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        return dkd_loss(
            student,
            teacher,
            batch.targets,
            temperature,
            settings.target_weight,
            settings.nontarget_weight,
        )

    def dist(student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        return dist_loss(
            student, teacher, temperature, settings.inter_weight, settings.intra_weight
        )

    def standardized(student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        return logit_standardized_kd_loss(student, teacher, temperature)

    known = {"kd": kd, "dkd": dkd, "dist": dist, "logit_standardized": standardized}
    return known[settings.loss]


def distillation(
    labels: Objective, targets: Targets, settings: DistillSettings, maps: MapLosses | None = None
) -> Objective:
    """Return the sum of ``ce_weight`` times the loss of the ``labels``, ``kd_weight`` times that of
    the targets, and that of the ``maps``.

    Source: arXiv:1503.02531, section 2.
    """
    compare = logit_loss(settings)

    def objective(logits: Tensor, batch: Batch) -> Tensor:
        loss = logits.new_zeros(())
        if settings.ce_weight:
            loss = loss + settings.ce_weight * labels(logits, batch)
        said = batch.teacher_logits
        if said is None and (settings.kd_weight or maps is not None):
            said = targets(batch)  # also fills the teacher's maps
        if settings.kd_weight:
            assert said is not None
            loss = loss + settings.kd_weight * compare(logits, said, batch)
        if maps is not None:
            loss = loss + maps()
        return loss

    return objective
