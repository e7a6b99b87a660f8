"""The form in which a teacher answers: the fastest here whose answers are those of float32."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ghostnet_small.data.augment import Augmentation
from ghostnet_small.data.dataset import ImageData
from ghostnet_small.data.split import stratified_rows
from ghostnet_small.deploy.fast_inference import FORMS, build, exported
from ghostnet_small.distill.teacher import Teacher
from ghostnet_small.train.feed import Feed
from ghostnet_small.train.processes import ALONE
from ghostnet_small.train.settings import TrainSettings
from ghostnet_small.use.classifier import first_line

_log = logging.getLogger(__name__)

EAGER = "eager float32"
# Images that a form is judged by, and those of a turn, in which each form is timed once.
IMAGES, TURN = 512, 64
# The images with the same top-1, in %, and the mean share of their probability that lies on other
# classes.
LEAST_SAME, MOST_MOVED = 99.0, 0.01


@dataclass(frozen=True)
class Compared:
    """A form's answers and speed beside those of eager float32, on the same images in turns.

    ``same_top1`` is in %. ``moved`` is the share of an image's probability that lies on other
    classes (total variation distance), the mean over the images, and ``most_moved`` the largest.
    ``rates`` are images/s of each turn, ``eager_rates`` those of eager float32 in the same turns.
    """

    name: str
    network: nn.Module
    images: int
    same_top1: float
    moved: float
    most_moved: float
    rates: tuple[float, ...]
    eager_rates: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """Return the speed as a multiple of eager float32's, turn by turn."""
        return tuple(a / b for a, b in zip(self.rates, self.eager_rates, strict=True))

    @property
    def accepted(self) -> bool:
        """Return whether its answers are within the bounds."""
        return self.same_top1 >= LEAST_SAME and self.moved <= MOST_MOVED

    def about(self) -> dict[str, Any]:
        """Return a record's part on it."""
        return {
            "form": self.name,
            "images": self.images,
            "same_top1": self.same_top1,
            "moved": self.moved,
            "most_moved": self.most_moved,
            "images_per_s": statistics.median(self.rates),
            "eager_images_per_s": statistics.median(self.eager_rates),
            "times_eager": statistics.median(self.ratios),
            "threads": torch.get_num_threads(),
        }

    def __str__(self) -> str:
        rate, eager = (statistics.median(rates) for rates in (self.rates, self.eager_rates))
        if self.name == EAGER:
            return f"{EAGER} ({eager:,.0f} images/s)"
        return (
            f"{self.name} ({rate:,.0f} images/s, {EAGER} {eager:,.0f}; same top-1 "
            f"{self.same_top1:.1f} %, probability moved {self.moved:.4f})"
        )


def compare_forms(
    teacher: Teacher,
    views: Tensor,
    temperature: float,
    *,
    between: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Compared]:
    """Compare eager float32 and each form that is available here on uint8 ``views`` ``(N, C, H,
    W)``.

    A form that cannot be built is left out, and the reason logged. ``between`` runs before each
    piece of work and may raise.
    """
    networks = {EAGER: teacher.network}
    if views.device.type == "cpu":
        networks |= _forms(teacher, tuple(views.shape[1:]), between)
    asked = {name: replace(teacher, network=network) for name, network in networks.items()}
    answers: dict[str, list[Tensor]] = {name: [] for name in networks}
    rates: dict[str, list[float]] = {name: [] for name in networks}
    # What depends on a batch's size is made at the first call.
    teacher.logits(views[:TURN])
    for shown in views.split(TURN):
        for name, one in asked.items():
            between()
            started = clock()
            answers[name].append(one.logits(shown).cpu())
            rates[name].append(len(shown) / (clock() - started))
    exact = torch.cat(answers[EAGER])
    return [
        Compared(
            name,
            network,
            len(views),
            *difference(torch.cat(answers[name]), exact, temperature),
            tuple(rates[name]),
            tuple(rates[EAGER]),
        )
        for name, network in networks.items()
    ]


def first_views(
    data: ImageData, augment: Augmentation, settings: TrainSettings, device: torch.device
) -> Tensor:
    """The first view of ``IMAGES`` training images, of each class its share: uint8
    ``(N, C, H, W)``."""
    train = data.train
    count = min(IMAGES, len(train))
    rows = stratified_rows(train.labels.cpu(), count, seed=0, least=0, spare=0)
    some = replace(data, train=train.take(rows.to(train.labels.device)))
    return next(Feed(some, augment, settings, device, ALONE).whole_view(0, count)).views


def difference(found: Tensor, exact: Tensor, temperature: float) -> tuple[float, float, float]:
    """Return ``same_top1``, ``moved`` and ``most_moved`` of ``Compared``, of two sets of logits
    ``(N, K)``.

    Of an image that moves more at ``temperature`` than at 1, the one counts, else the other:
    recipes of other temperatures share the targets.
    """
    same = (found.argmax(1) == exact.argmax(1)).double().mean()
    softened = [[(z.double() / t).softmax(1) for z in (found, exact)] for t in (1.0, temperature)]
    moved = torch.stack([(one - other).abs().sum(1) / 2 for one, other in softened]).amax(0)
    return 100 * float(same), float(moved.mean()), float(moved.max())


def fastest(compared: Sequence[Compared]) -> Compared:
    """The fastest of those within the bounds; the first, eager float32, where none is faster."""
    within = [compared[0]]
    for one in compared[1:]:
        if one.accepted:
            within.append(one)
        else:
            _log.warning(
                f"the teacher does not answer by {one}: that is beyond the bounds, same top-1 "
                f"{LEAST_SAME:g} % and probability moved {MOST_MOVED:g}"
            )
    return max(within, key=lambda one: statistics.median(one.ratios))


def _forms(
    teacher: Teacher, image: tuple[int, ...], between: Callable[[], None]
) -> dict[str, nn.Module]:
    threads = torch.get_num_threads()
    between()
    # Each library raises errors of its own, without a common class.
    try:
        program = exported(teacher.network, image, threads)
    except Exception as error:
        _log.warning(f"the teacher answers by {EAGER}: it has no graph ({first_line(error)})")
        return {}
    found = {}
    for name, form in FORMS.items():
        if not form.there():
            continue
        between()
        try:
            found[name] = build(form, program, threads)
        except Exception as error:
            _log.warning(f"the teacher does not answer by {name}: {first_line(error)}")
    return found
