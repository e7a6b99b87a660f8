"""The plan of a fit: which network fits, and what is trained in the time that there is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ghostnet_small.errors import InputError
from ghostnet_small.fit.needs import Needs
from ghostnet_small.fit.speed import Speed
from ghostnet_small.use.budget import Limits

# Shipped weights that a training may start from, by width.
SHIPPED = {1.0: "ghostnetv3_small_w1.0_cifar10", 2.8: "ghostnetv3_small_w2.8_cifar10"}
# Shares of the time; the student has the rest.
TEACHER_SHARE, CONTROL_SHARE = 0.35, 0.12
# Seconds apart from training: reading, starting runs, files, figures, the report.
APART = 60.0
# Beside its steps, a training evaluates and saves; and a shared machine is slower than measured.
OVERHEAD = 1.2
MOST_EPOCHS = 200
FEWEST_TEACHER_EPOCHS = 3
MOST_VIEWS = 16  # of each image, that a teacher answers for
FEW_IMAGES = 20  # of a class
FEW_HELD_OUT = 100
# Peak rates of the recorded runs: from scratch, and from weights that know other images.
FRESH_RATE, TUNING_RATE = 0.1, 0.02


@dataclass(frozen=True)
class Facts:
    """What a plan depends on in the data.

    ``held_out`` counts the images of ``split``, on which the result is measured; ``least`` are the
    training images of the smallest class; ``known`` are the shipped weights that have seen these
    data.
    """

    images: int
    held_out: int
    split: str
    classes: tuple[str, ...]
    least: int
    height: int
    width: int
    channels: int
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


@dataclass(frozen=True)
class Reason:
    """A decision: what it is about, what was chosen, and why."""

    what: str
    chosen: str
    why: str


@dataclass(frozen=True)
class Part:
    """A training: the network's width, the weights that it starts from, its epochs."""

    width: float
    weights: str | None
    epochs: int


@dataclass(frozen=True)
class Plan:
    """The trainings of a fit, ``views`` of each image that the teacher answers for, the settings
    of all, the expected ``seconds``, and the reasons for what was decided.

    ``teacher`` is the name of its run where an earlier plan has trained it. ``folds``: trainings
    for a cross-validated figure.
    """

    limits: Limits
    needs: Needs
    student: Part
    teacher: Part | str | None
    control: Part | None
    folds: int
    views: int
    settings: Mapping[str, Any]
    seconds: float
    reasons: tuple[Reason, ...]

    def entries(self, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the entries of a study's file: its ``runs`` and its students' ``strategies``.

        ``number`` is the plan's: a later plan in the same folder adds entries of other names.
        """
        runs: dict[str, Any] = {}
        strategies: dict[str, Any] = {}
        student = self._settings(self.student)
        for fold in range(self.folds):
            cut = {"validation": 1 / self.folds, "fold": fold}
            runs[f"fold-{number}-{fold}"] = {"settings": {**student, "data": cut}}
        entry: dict[str, Any] = {"settings": student}
        if self.teacher is not None:
            if isinstance(self.teacher, Part):
                runs[f"teacher-{number}"] = {"settings": self._settings(self.teacher)}
            entry["teachers"] = [self.teacher_name(number)]
            augment = {**student["augment"], "views": self.views}
            entry["settings"] = {**student, "augment": augment, "distill": {"answers": "fastest"}}
        if self.control is not None:
            strategies[f"alone-{number}"] = {"settings": self._settings(self.control)}
        strategies[f"fit-{number}"] = entry
        return runs, strategies

    def teacher_name(self, number: int) -> str:
        """Return the name of the teacher's run."""
        return self.teacher if isinstance(self.teacher, str) else f"teacher-{number}"

    def _settings(self, part: Part) -> dict[str, Any]:
        rate = TUNING_RATE if part.weights else FRESH_RATE
        return {
            "model": {"width": part.width, "weights": part.weights},
            "augment": dict(self.settings["augment"]),
            "optimizer": {**self.settings["optimizer"], "learning_rate": rate},
            "schedule": dict(self.settings["schedule"]),
            "train": {**self.settings["train"], "epochs": part.epochs},
        }


def choose_width(widest: float, known: frozenset[str]) -> tuple[float, Reason]:
    """Return the student's width where ``widest`` would fit, and the reason."""
    for width, name in sorted(SHIPPED.items(), reverse=True):
        if width <= widest and name not in known:
            why = f"width {widest:g} fits; weights of {width:g} are shipped, and start far ahead"
            return width, Reason("network", f"GhostNetV3-Small {width:g} from {name}", why)
    why = "the widest that fits; no shipped weights are as narrow"
    if known:
        why = f"the widest that fits; {', '.join(sorted(known))} has seen these very images"
    return widest, Reason("network", f"GhostNetV3-Small {widest:g} from scratch", why)


def plan_fit(
    facts: Facts,
    limits: Limits,
    width: float,
    needs: Needs,
    speeds: Mapping[float, Speed],
    minutes: float,
    *,
    kept: str | None = None,
    reasons: tuple[Reason, ...] = (),
) -> Plan:
    """Return what is trained within ``minutes`` for the network of ``width``, which takes
    ``needs``.

    ``speeds`` are those measured here, by width: of the student, and of what may be its teacher.
    ``kept`` is the run of a teacher that an earlier plan has trained.

    Raises ``InputError`` where ``minutes`` are too few for an epoch of the student.
    """
    left = 60 * minutes - APART
    epoch = OVERHEAD * facts.images / speeds[width].trained
    if left < epoch:
        least = (APART + 2 * epoch) / 60
        raise InputError(
            f"--minutes {minutes:g} are too few: an epoch of {facts.images:,} images takes "
            f"{epoch:.0f} s here, beside {APART:.0f} s for all else; give {least + 0.1:.1f} or more"
        )
    found = list(reasons)
    folds = 5 if facts.held_out < FEW_HELD_OUT else 0
    teacher: Part | None = None if folds or kept else _teacher(facts, width, speeds, left)
    fresh = SHIPPED.get(width) if SHIPPED.get(width) not in facts.known else None
    student = Part(width, fresh, 1)
    rest, control, views = left, None, 0
    if folds:
        each = left / (folds + 1)
        student = replace(student, epochs=_epochs(each, epoch))
        found.append(
            Reason(
                "accuracy",
                f"cross-validated, {folds} trainings more",
                f"{facts.held_out} images are held out, and fewer than {FEW_HELD_OUT} say little",
            )
        )
        found.append(Reason("teacher", "none", "the time goes to the cross-validation"))
        rest -= (folds + 1) * student.epochs * epoch
    else:
        if teacher is not None:
            costs = OVERHEAD * facts.images / speeds[teacher.width].trained * teacher.epochs
            rest -= costs
            found.append(
                Reason(
                    "teacher",
                    f"GhostNetV3-Small {teacher.width:g}, {teacher.epochs} epochs",
                    f"wider than what fits; takes {costs / 60:.1f} min",
                )
            )
        elif kept:
            found.append(Reason("teacher", kept, "an earlier plan has trained it on these images"))
        else:
            found.append(Reason("teacher", "none", _why_none(facts, width, speeds, left)))
        if teacher is not None or kept:
            control = Part(width, fresh, _epochs(CONTROL_SHARE * left, epoch))
            rest -= control.epochs * epoch
            found.append(
                Reason(
                    "control",
                    f"the same network without the teacher, {control.epochs} epochs",
                    "to show what the teacher gives",
                )
            )
            asked = teacher.width if teacher is not None else max(speeds)
            answers = facts.images / speeds[asked].answered
            views = max(1, min(MOST_VIEWS, int(0.3 * rest / answers), int(rest / epoch)))
            rest -= views * answers
        student = replace(student, epochs=_epochs(rest, epoch))
        rest -= student.epochs * epoch
    found.append(
        Reason(
            "student",
            f"{student.epochs} epochs",
            "as many as the time allows"
            if student.epochs < MOST_EPOCHS
            else "more have not helped in any recorded run",
        )
    )
    flip = "none" if facts.symbols else "alternating"
    side = min(facts.height, facts.width)
    found.append(
        Reason(
            "mirror images",
            "not used" if facts.symbols else "used",
            ("classes are named by letters or numbers" if facts.symbols else "classes are words")
            + "; --augment.flip changes it",
        )
    )
    settings = {
        "augment": {
            "crop_padding": max(1, round(side / 8)),
            "padding_mode": "reflect",
            "flip": flip,
            "cutout": side // 4,
        },
        "optimizer": {"name": "sgd", "weight_decay": 5e-4},
        "schedule": {"warmup": 0.2, "decay": "linear"},
        "train": {"batch_size": facts.batch, "ema_decay": 0.998},
    }
    return Plan(
        limits,
        needs,
        student,
        teacher or kept,
        control,
        folds,
        views,
        settings,
        60 * minutes - rest,
        tuple(found),
    )


def _epochs(seconds: float, epoch: float) -> int:
    return max(1, min(MOST_EPOCHS, int(seconds / epoch)))


def _teacher(facts: Facts, width: float, speeds: Mapping[float, Speed], left: float) -> Part | None:
    """Return the widest teacher that is wider than the student and learns enough in its time."""
    for wide, name in sorted(SHIPPED.items(), reverse=True):
        if wide <= width or name in facts.known or wide not in speeds:
            continue
        epoch = OVERHEAD * facts.images / speeds[wide].trained
        epochs = min(MOST_EPOCHS // 4, int(TEACHER_SHARE * left / epoch))
        if epochs >= FEWEST_TEACHER_EPOCHS:
            return Part(wide, name, epochs)
    return None


def _why_none(facts: Facts, width: float, speeds: Mapping[float, Speed], left: float) -> str:
    wider = [wide for wide in SHIPPED if wide > width and SHIPPED[wide] not in facts.known]
    if not wider:
        return "no shipped weights are wider, or they have seen these very images"
    epoch = OVERHEAD * facts.images / speeds[min(wider)].trained
    return (
        f"{FEWEST_TEACHER_EPOCHS} epochs of it would take {FEWEST_TEACHER_EPOCHS * epoch / 60:.1f} "
        f"of {left / 60:.1f} min"
    )
