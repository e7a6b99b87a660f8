"""The objective of a student: the loss of the labels and of its teachers' logits and maps."""

from __future__ import annotations

from torch import Tensor

from ghostnet_small.distill.feature_maps import MapLosses
from ghostnet_small.distill.losses import LOSSES
from ghostnet_small.distill.settings import DistillSettings
from ghostnet_small.distill.targets import Targets
from ghostnet_small.train.objective import Batch, Objective


def distillation(
    labels: Objective, targets: Targets, settings: DistillSettings, maps: MapLosses | None = None
) -> Objective:
    """Return the sum of ``ce_weight`` times the loss of the ``labels``, ``kd_weight`` times that of
    the targets, and that of the ``maps``.

    Source: arXiv:1503.02531, section 2.
    """
    compare = LOSSES[settings.loss]

    def objective(logits: Tensor, batch: Batch) -> Tensor:
        loss = logits.new_zeros(())
        if settings.ce_weight:
            loss = loss + settings.ce_weight * labels(logits, batch)
        said = batch.teacher_logits
        if said is None and (settings.kd_weight or maps is not None):
            said = targets(batch)  # also fills the teacher's maps
        if settings.kd_weight:
            assert said is not None
            loss = loss + settings.kd_weight * compare(logits, said, batch.targets, settings)
        if maps is not None:
            loss = loss + maps()
        return loss

    return objective
