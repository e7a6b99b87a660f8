"""The plan of a fit: which network fits, and what is trained in the time that there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from typing import Any

from ghostnet_small.errors import InputError
from ghostnet_small.fit.needs import Shape
from ghostnet_small.fit.speed import Speed
from ghostnet_small.models.heads import HEAD_FEATURES, head_text
from ghostnet_small.report.words import counted

# Shipped weights that a training may start from, by width, and the heads that may be left of
# theirs where flash is short.
# Of width 1, the distilled ones gave more than those from scratch (validation, two seeds of ten
# classes of CIFAR-100, 10 epochs: 93.6 % and 93.6, against 92.3 and 91.8).
SHIPPED = {1.0: "ghostnetv3_small_w1.0_cifar10_distilled", 2.8: "ghostnetv3_small_w2.8_cifar10"}
HEADS = (HEAD_FEATURES, 640, 320, 160)
# Shares of the time: of the teacher, and of all trainings that only measure what helps. The student
# has the rest.
TEACHER_SHARE, MEASURED_SHARE = 0.35, 0.2
# Of the time that is left for a student and its teacher's answers, those may take.
ANSWERS_SHARE = 0.3
# Seconds apart from training: reading, measuring, files, figures, the report; and of each training,
# to start and to end.
APART, EACH = 60.0, 15.0
# Beside its steps, a training evaluates and saves; and a shared machine is slower than measured.
OVERHEAD = 1.2
MOST_EPOCHS = 200
# With fewer, wider weights were no better than narrower ones: by validation on the same images, 2.8
# had 86 to 87 % after 3 to 5 epochs and 92.8 after 12, where 1.0 had 93.6 after 10.
FEWEST_WIDE_EPOCHS = 24
FEWEST_MEASURED_EPOCHS = 2
MOST_VIEWS = 16  # of each image, that a teacher answers for
FEW_IMAGES = 20  # of a class
FEW_HELD_OUT = 100
FOLDS = 5
UNEQUAL = 3.0  # times as many images as the smallest class has
# Peak rates: from scratch as recorded; from weights that know other images, the best of 0.01, 0.02,
# 0.05 and 0.1 by validation, in one training each of ten classes of CIFAR-100.
FRESH_RATE, TUNING_RATE = 0.1, 0.05


@dataclass(frozen=True)
class Facts:
    """Figures of the data that a plan depends on.

    ``images`` are those trained on, ``held_out`` those of ``split``, on which the result is
    measured, and ``copies`` how many of those are nearly in training too; ``least`` and ``most``
    are the training images of the smallest and the largest class; ``known`` are the shipped weights
    that have seen these data.
    """

    images: int
    held_out: int
    split: str
    classes: tuple[str, ...]
    least: int
    most: int
    height: int
    width: int
    channels: int
    copies: int = 0
    fingerprint: str = ""
    known: frozenset[str] = frozenset()

    @property
    def values(self) -> dict[str, Any]:
        """Return them as plain values."""
        return {**asdict(self), "classes": list(self.classes), "known": sorted(self.known)}

    @property
    def batch(self) -> int:
        """Return the batch size: at least some ten steps an epoch."""
        return next(size for size in (64, 32, 16, 8) if size * 10 <= self.images or size == 8)

    @property
    def symbols(self) -> bool:
        """Return whether all classes are named by one letter or a number: their mirror images are
        other symbols, or none."""
        return all(len(name) == 1 or name.isdigit() for name in self.classes)

    @property
    def few(self) -> bool:
        """Return whether too few images are held out to say much."""
        return self.held_out < FEW_HELD_OUT


@dataclass(frozen=True)
class Reason:
    """A decision: what it is about, what was chosen, and why."""

    what: str
    chosen: str
    why: str


@dataclass(frozen=True)
class Part:
    """A training: the network's width and head, the weights that it starts from, its epochs."""

    width: float
    head: int
    weights: str | None
    epochs: int

    def named(self) -> str:
        """Return the network's name."""
        return f"GhostNetV3-Small {self.width:g}{head_text(self.head)}"


@dataclass(frozen=True)
class Kept:
    """A teacher that an earlier plan has trained: its run's name, and its width."""

    name: str
    width: float


@dataclass(frozen=True)
class Plan:
    """The trainings of a fit, ``views`` of each image that the teacher answers for, the settings
    of all, the expected ``seconds``, and the reasons for what was decided.

    ``measured`` are the epochs of trainings that only show what helps: without the teacher, with
    it, and with half of the images; 0: none. ``folds``: trainings for a cross-validated figure.
    """

    student: Part
    teacher: Part | Kept | None
    measured: int
    folds: int
    views: int
    data: Mapping[str, Any]  # settings of the data
    half: Mapping[str, Any]  # and those that leave half of the images
    settings: Mapping[str, Any]
    seconds: float
    reasons: tuple[Reason, ...]

    def entries(self, number: int, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the entries of a study's file: its ``runs``, with ``seed``, and its students'
        ``strategies``, without.

        ``number`` is the plan's: a later plan in the same folder adds entries of other names.
        """
        runs: dict[str, Any] = {}
        strategies: dict[str, Any] = {}

        def add(name: str, part: Part, data: Mapping[str, Any]) -> None:
            settings = self._settings(part)
            own = {"train": {**settings["train"], "seed": seed}}
            runs[name] = {"settings": {**settings, **own, "data": {**self.data, **data}}}

        for fold in range(self.folds):
            cut = {"validation": 1 / self.folds, "fold": fold}
            add(f"fold-{number}-{fold}", self.student, cut)
        short = replace(self.student, epochs=self.measured)
        if self.measured:
            strategies[f"alone-{number}"] = {"settings": self._settings(short)}
            # Twice the epochs of half of the images are as many steps.
            add(f"half-{number}", replace(short, epochs=2 * self.measured), self.half)
        if self.teacher is None:
            strategies[f"fit-{number}"] = {"settings": self._settings(self.student)}
            return runs, strategies
        if isinstance(self.teacher, Part):
            add(f"teacher-{number}", self.teacher, {})
        if self.measured:
            strategies[f"taught-{number}"] = self._taught(short, number)
        strategies[f"fit-{number}"] = self._taught(self.student, number)
        return runs, strategies

    def asked(self, what: str, chosen: str) -> Plan:
        """Return the plan with a decision that the user has taken."""
        own = Reason(what, chosen, "asked for")
        return replace(self, reasons=tuple(own if r.what == what else r for r in self.reasons))

    def teacher_name(self, number: int) -> str:
        """Return the name of the teacher's run."""
        return self.teacher.name if isinstance(self.teacher, Kept) else f"teacher-{number}"

    def _taught(self, part: Part, number: int) -> dict[str, Any]:
        settings = self._settings(part)
        augment = {**settings["augment"], "views": self.views}
        return {
            "settings": {**settings, "augment": augment, "distill": {"answers": "fastest"}},
            "teachers": [self.teacher_name(number)],
        }

    def _settings(self, part: Part) -> dict[str, Any]:
        rate = TUNING_RATE if part.weights else FRESH_RATE
        model = {"width": part.width, "head": part.head, "weights": part.weights}
        return {
            **deepcopy(dict(self.settings)),  # YAML would write what is shared as an alias
            **({"data": dict(self.data)} if self.data else {}),
            "model": model,
            "optimizer": {**self.settings["optimizer"], "learning_rate": rate},
            "train": {**self.settings["train"], "epochs": part.epochs},
        }


def choose_network(
    shape: Shape,
    fits: Callable[[Shape], bool],
    widest: Callable[[], float],
    known: frozenset[str],
    epochs: Callable[[float], int],
) -> tuple[Part, Reason]:
    """Return the student for the images of ``shape``, and the reason: the widest of the shipped
    weights that ``fits``, with as much of its head as does, or the ``widest`` of all from scratch.

    Weights in ``known`` are left out, and wide ones, where narrower ones are there, that the time
    has too few ``epochs`` for, which are asked by width. A head that ``shape`` names is kept.
    """
    heads = HEADS if shape.head is None else (shape.head,)
    usable = [
        width
        for width, name in sorted(SHIPPED.items())
        if name not in known and fits(shape.of(width, heads[-1]))
    ]
    if usable:
        slow: list[str] = []
        while len(usable) > 1 and (count := epochs(usable[-1])) < FEWEST_WIDE_EPOCHS:
            slow.append(f"{usable.pop():g} would have {counted(count, 'epoch')} in the time")
        width = usable[-1]
        name, head = SHIPPED[width], next(one for one in heads if fits(shape.of(width, one)))
        part = Part(width, head, name, 1)
        why = "the widest pretrained network that fits; training that starts from it learns faster"
        if slow:
            why = f"pretrained, and training that starts from it learns faster; {', '.join(slow)}"
        if head < HEAD_FEATURES:
            why += f"; {head} of its {HEAD_FEATURES} last features have room"
        return part, Reason("network", f"{part.named()} from {name}", why)
    width = widest()
    part = Part(width, shape.of(width).features, None, 1)
    why = "the widest that fits; no shipped weights are as small"
    if known:
        why = f"the widest that fits; {', '.join(sorted(known))} has seen these very images"
    return part, Reason("network", f"{part.named()} from scratch", why)


def student_epochs(facts: Facts, speed: Speed, minutes: float) -> int:
    """Return about how many epochs a student of this ``speed`` has, without a teacher."""
    folds = FOLDS if facts.few else 0
    left = 60 * minutes - APART - EACH * (1 + folds)
    share = 1 / (1 + folds) if folds else 1 - MEASURED_SHARE
    return _epochs(left * share, OVERHEAD * facts.images / speed.trained)


def plan_fit(
    facts: Facts,
    student: Part,
    speeds: Mapping[float, Speed],
    minutes: float,
    *,
    kept: Kept | None = None,
    data: Mapping[str, Any] | None = None,
    reasons: tuple[Reason, ...] = (),
) -> Plan:
    """Return what is trained within ``minutes`` for the network of ``student``.

    ``speeds`` are those measured here, by width: of the student, and of what may be its teacher.
    ``kept`` is a teacher that an earlier plan has trained; ``data`` are settings of the images, and
    ``reasons`` are of earlier decisions.

    Raises ``InputError`` where ``minutes`` are too few for an epoch of the student.
    """
    folds = FOLDS if facts.few else 0
    apart = APART + EACH * (1 + folds)
    left = whole = 60 * minutes - apart
    epoch = OVERHEAD * facts.images / speeds[student.width].trained
    if left < epoch * (1 + folds):
        least = (apart + 2 * epoch * (1 + folds)) / 60
        raise InputError(
            f"--minutes {minutes:g} are too few: an epoch of {facts.images:,} images takes "
            f"{epoch:.0f} s here, beside {apart:.0f} s for all else; give {least + 0.1:.1f} or more"
        )
    found = [*reasons, *_about(facts)]
    teacher: Part | Kept | None = None
    measured = views = 0
    if folds:
        student = replace(student, epochs=_epochs(left / (folds + 1), epoch))
        left -= (folds + 1) * student.epochs * epoch
        why = f"{facts.held_out} images are held out, and fewer than {FEW_HELD_OUT} say little"
        found.append(Reason("accuracy", f"cross-validated, {folds} trainings more", why))
        found.append(Reason("teacher", "none", "the time goes to the cross-validation"))
    else:
        teacher = kept or _teacher(facts, student.width, speeds, whole)
        if isinstance(teacher, Part):
            costs = OVERHEAD * facts.images / speeds[teacher.width].trained * teacher.epochs
            left -= EACH + costs
            chosen = f"{teacher.named()} from {teacher.weights}, {teacher.epochs} epochs"
            why = f"wider than what fits; takes {costs / 60:.1f} min"
        elif teacher is not None:
            chosen, why = teacher.name, "an earlier plan has trained it on these images"
        else:
            chosen, why = "none", _why_none(facts, student.width, speeds, whole)
        found.append(Reason("teacher", chosen, why))
        trainings = 2 if teacher is None else 3
        measured = int((MEASURED_SHARE * whole / trainings - EACH) / epoch)
        measured = min(MOST_EPOCHS // 2, measured) if measured >= FEWEST_MEASURED_EPOCHS else 0
        if measured:
            left -= trainings * (EACH + measured * epoch)
        if teacher is not None:
            answers = facts.images / speeds[teacher.width].answered
            views = min(MOST_VIEWS, int(ANSWERS_SHARE * left / answers), int(left / epoch))
            views = max(1, views)
            left -= views * answers
        student = replace(student, epochs=_epochs(left, epoch))
        left -= student.epochs * epoch
    found.append(
        Reason(
            "student",
            f"{student.epochs} epochs",
            "as many as the time allows"
            if student.epochs < MOST_EPOCHS
            else "more have not helped in any recorded run",
        )
    )
    if measured:
        what = ["half of the images", *(["the teacher, and none"] if teacher is not None else [])]
        trainings_text = f"trainings of {measured} epochs with {' and '.join(what)}"
        found.append(Reason("what helps", trainings_text, "to show what would help next"))
    return Plan(
        student,
        teacher,
        measured,
        folds,
        views,
        data or {},
        _half(facts),
        _settings(facts),
        60 * minutes - left,
        tuple(found),
    )


def _about(facts: Facts) -> list[Reason]:
    """Return the reasons for what the images alone decide."""
    chosen = "not used" if facts.symbols else "used"
    names = "letters or numbers, and mirrored ones are others" if facts.symbols else "words"
    why = f"classes are named by {names}; --augment.flip changes it"
    found = [Reason("mirror images", chosen, why)]
    if facts.split == "test":
        why = "used only to measure the result, never to choose"
        found.append(Reason("test images", f"{facts.held_out:,}, all others trained on", why))
    if facts.most >= UNEQUAL * facts.least:
        why = (
            f"the largest class has {facts.most / facts.least:.0f} times the images of the "
            "smallest; --train.sampler balanced shows all classes equally often"
        )
        found.append(Reason("unequal classes", "shown as they are", why))
    return found


def _settings(facts: Facts) -> dict[str, Any]:
    """Return the settings of all trainings."""
    side = min(facts.height, facts.width)
    return {
        "augment": {
            "crop_padding": max(1, round(side / 8)),
            "padding_mode": "reflect",
            "flip": "none" if facts.symbols else "alternating",
            "cutout": side // 4,
        },
        "optimizer": {"name": "sgd", "weight_decay": 5e-4},
        "schedule": {"warmup": 0.2, "decay": "linear"},
        "train": {"batch_size": facts.batch, "ema_decay": 0.998},
    }


def _half(facts: Facts) -> dict[str, Any]:
    """Return the settings of data that leave half of the images; where there are no test images,
    the other half measures."""
    if facts.split == "test":
        return {"limit": max(len(facts.classes), facts.images // 2)}
    return {"validation": 0.5}


def _epochs(seconds: float, epoch: float) -> int:
    return max(1, min(MOST_EPOCHS, int(seconds / epoch)))


def _teacher(
    facts: Facts, width: float, speeds: Mapping[float, Speed], seconds: float
) -> Part | None:
    """Return the widest teacher that is wider than the student and learns enough in its time."""
    for wide, name in sorted(SHIPPED.items(), reverse=True):
        if wide <= width or name in facts.known or wide not in speeds:
            continue
        epoch = OVERHEAD * facts.images / speeds[wide].trained
        epochs = min(MOST_EPOCHS // 4, int((TEACHER_SHARE * seconds - EACH) / epoch))
        if epochs >= FEWEST_WIDE_EPOCHS:
            return Part(wide, HEAD_FEATURES, name, epochs)
    return None


def _why_none(facts: Facts, width: float, speeds: Mapping[float, Speed], seconds: float) -> str:
    wider = [wide for wide in SHIPPED if wide > width and SHIPPED[wide] not in facts.known]
    if not wider:
        return "no shipped weights are wider, or they have seen these very images"
    epoch = OVERHEAD * facts.images / speeds[min(wider)].trained
    return (
        "a wider network that teaches this one needs "
        f"{FEWEST_WIDE_EPOCHS * epoch / 60:.1f} min, and may take "
        f"{TEACHER_SHARE * seconds / 60:.1f} min"
    )
