"""Settings of distillation: teachers, losses and their weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from ghostnet_small.data.counter_rng import check_seed
from ghostnet_small.distill.losses import LOSSES, Mean
from ghostnet_small.errors import InputError, nearest
from ghostnet_small.fields import LATER, PLACE

TargetsMode = Literal["cached", "live"]
Answers = Literal["float32", "fastest"]


@dataclass(frozen=True)
class DistillSettings:
    """The teachers, and how the student learns from them; only used where there are teachers.

    Args:
        teachers: folders of runs, or of weights, or weights by name (of the program's own, or
            ``hf-hub:owner/name``). Their classes, in the same order, and channels must be the
            student's.
        teacher_shares: how much each of several teachers counts, numbers above 0; null: all alike.
        mean: what several teachers' answers are averaged as, "probabilities" (softened) or
            "logits" (as in the paper).
        loss: "kd" (Hinton's), "dkd" (decoupled), "dist", or "logit_standardized" KD.
        temperature: that both sides are softened by, above 0.
        ce_weight: of the cross-entropy with the labels in the loss.
        kd_weight: of the distillation loss in it; its factor T^2 is in the loss already.
        target_weight: of the target class's part in "dkd".
        nontarget_weight: of the other classes' part in "dkd".
        inter_weight: of the relation between an image's classes in "dist".
        intra_weight: of the relation between a class's images in "dist".
        targets: "cached" asks each teacher once for every view that training will show and keeps
            its logits as float16; "live" asks it at every step.
        cache: the folder that keeps cached targets; null: one below the cache of decoded images,
            found by what the targets depend on.
        answers: how teachers compute cached targets on a CPU: "float32", or "fastest", the fastest
            of bfloat16 and the runtimes that are installed whose answers to training images are
            those of float32 within stated bounds.
        view_seed: of the views that the teachers are shown; null: the student's own, which is what
            distillation is about. Another one shows them other crops of the same images, to
            measure what that costs (cached targets only).
        attention: maps whose attention the student imitates, "student=teacher" pairs of module
            names such as "blocks.4=layer2" (live targets and one teacher only).
        attention_weight: of that in the loss.
        hints: maps that the student imitates value by value, through a 1x1 convolution where the
            channels differ; pairs as in ``attention``.
        hint_weight: of that in the loss.

    Source: KD arXiv:1503.02531; DKD arXiv:2203.08679; DIST arXiv:2205.10536; logit
    standardisation arXiv:2403.01427; attention arXiv:1612.03928; hints arXiv:1412.6550.
    """

    teachers: tuple[str, ...] = field(default=(), metadata=PLACE)
    teacher_shares: tuple[float, ...] | None = None
    mean: Mean = "probabilities"
    loss: str = "kd"
    temperature: float = 4.0
    ce_weight: float = 0.1
    kd_weight: float = 0.9
    target_weight: float = 1.0
    nontarget_weight: float = 8.0
    inter_weight: float = 1.0
    intra_weight: float = 1.0
    targets: TargetsMode = "cached"
    cache: str | None = field(default=None, metadata=PLACE)
    answers: Answers = field(default="float32", metadata=LATER)
    view_seed: int | None = None
    attention: tuple[str, ...] = ()
    attention_weight: float = 1000.0
    hints: tuple[str, ...] = ()
    hint_weight: float = 1.0

    def __post_init__(self) -> None:
        """Raises ``InputError`` for a value outside its range, or two that exclude each other."""
        if self.loss not in LOSSES:
            raise InputError(
                f"loss {self.loss!r} is not known; {nearest(self.loss, LOSSES)}, of "
                f"{', '.join(LOSSES)}"
            )
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise InputError(
                f"temperature {self.temperature!r} is not allowed; give a number above 0"
            )
        for name in WEIGHTS:
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"{name} {value!r} is not allowed; give a number of at least 0")
        for share in self.teacher_shares or ():
            if not 0 < share < math.inf:
                raise InputError(f"teacher_shares {share!r} is not allowed; give numbers above 0")
        for name in ("attention", "hints"):
            for pair in getattr(self, name):
                student, equals, teacher = pair.partition("=")
                if not (student and equals and teacher):
                    raise InputError(
                        f"{name} {pair!r} is no pair of module names; write student=teacher, such "
                        "as blocks.4=layer2"
                    )
        if self.on_maps and self.targets == "cached":
            raise InputError(
                "targets 'cached' keeps logits and no feature maps, which attention and hints "
                "compare; give targets live, or leave attention and hints out"
            )
        if self.answers == "fastest" and self.targets == "live":
            raise InputError(
                "answers 'fastest' is for targets cached: live teachers answer in float32; give "
                "targets cached, or answers float32"
            )
        if self.view_seed is not None:
            check_seed(self.view_seed, "view_seed")
            if self.targets == "live":
                raise InputError(
                    f"view_seed {self.view_seed} is for targets cached: live teachers see what the "
                    "student sees; give targets cached, or view_seed null"
                )
        if self.teachers:
            self._check_teachers()

    @property
    def on_maps(self) -> bool:
        """True where feature maps are compared."""
        return bool(self.attention or self.hints)

    def _check_teachers(self) -> None:
        count = len(self.teachers)
        if self.teacher_shares is not None and len(self.teacher_shares) != count:
            raise InputError(
                f"teacher_shares has {len(self.teacher_shares)} numbers for {count} teacher(s); "
                "give one for each, in the teachers' order"
            )
        twice = [name for name in self.teachers if self.teachers.count(name) > 1]
        if twice:
            raise InputError(
                f"teachers names {twice[0]} twice; name each once, teacher_shares weighs them"
            )
        if self.on_maps and count > 1:
            raise InputError(
                f"attention and hints compare with one teacher's maps, and teachers names {count}; "
                "name one, or leave attention and hints out"
            )
        if self.ce_weight == self.kd_weight == 0 and not self.on_maps:
            raise InputError("ce_weight and kd_weight are both 0; give one of them a weight")


WEIGHTS = (
    "ce_weight",
    "kd_weight",
    "target_weight",
    "nontarget_weight",
    "inter_weight",
    "intra_weight",
    "attention_weight",
    "hint_weight",
)
