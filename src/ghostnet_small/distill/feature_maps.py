"""Feature maps of student and teacher, compared in pairs: attention and hints."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ghostnet_small.distill.features import (
    Taps,
    attention_transfer_loss,
    channels_of,
    hint_loss,
    make_adapter,
)
from ghostnet_small.distill.losses import at_least_float32
from ghostnet_small.distill.settings import DistillSettings
from ghostnet_small.distill.teacher import Teacher


class MapLosses:
    """The losses between the maps of the last forward of ``student`` and those of ``teacher``.

    ``adapters`` are trained with the student, and discarded afterwards: for each hint a 1x1
    convolution where the channels differ. ``picture`` is the shape ``(C, H, W)`` of an image.

    Raises ``InputError`` where a network has no module of a given name, or it outputs no map.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: Teacher,
        settings: DistillSettings,
        picture: tuple[int, int, int],
    ) -> None:
        self.attention, self.hints = _pairs(settings.attention), _pairs(settings.hints)
        self.attention_weight, self.hint_weight = settings.attention_weight, settings.hint_weight
        ours = list(dict.fromkeys(own for own, _ in (*self.attention, *self.hints)))
        theirs = list(dict.fromkeys(other for _, other in (*self.attention, *self.hints)))
        channels = channels_of(student, ours, picture)
        of_teacher = channels_of(teacher.network, theirs, picture)
        self.adapters = nn.ModuleList(
            make_adapter(channels[own], of_teacher[other]) for own, other in self.hints
        )
        self.student_taps = Taps(student, ours)
        self.teacher_taps = Taps(teacher.network, theirs)

    def __call__(self) -> Tensor:
        """Return the weighted losses of all pairs; both networks must have seen the batch."""
        ours, theirs = self.student_taps.take(), self.teacher_taps.take()
        losses = [
            self.attention_weight * attention_transfer_loss(ours[own], theirs[other])
            for own, other in self.attention
        ]
        for adapter, (own, other) in zip(self.adapters, self.hints, strict=True):
            adapted = adapter(at_least_float32(ours[own]))
            losses.append(self.hint_weight * hint_loss(adapted, theirs[other]))
        return torch.stack(losses).sum()


def _pairs(texts: Sequence[str]) -> list[tuple[str, str]]:
    return [(own, other) for own, _, other in (text.partition("=") for text in texts)]
