"""From images to the best file that fits, in the time that there is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, astuple, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from ghostnet_small.data.dataset import ImageData
from ghostnet_small.data.sources import load_data
from ghostnet_small.errors import InputError
from ghostnet_small.files import expanded, write_atomic
from ghostnet_small.fit.copies import near_copies
from ghostnet_small.fit.device_limits import words_of
from ghostnet_small.fit.fit_folder import FILES, REPORT, FitFolder
from ghostnet_small.fit.fit_plan import (
    FEW_HELD_OUT,
    FEW_IMAGES,
    HEADS,
    SHIPPED,
    Facts,
    Kept,
    choose_network,
    plan_fit,
    student_epochs,
)
from ghostnet_small.fit.fit_report import int8_file, on_device, write_fit_report
from ghostnet_small.fit.latency import LatencyLimit
from ghostnet_small.fit.needs import Shape, needs_of, widest
from ghostnet_small.fit.speed import Speed, measure
from ghostnet_small.hub.models import CARD
from ghostnet_small.models.shipped_weights import shipped_weights
from ghostnet_small.models.weights import load
from ghostnet_small.publish.card import model_card
from ghostnet_small.publish.hub_card import run_facts
from ghostnet_small.recipe.recipe import keys_of, read_recipe
from ghostnet_small.recipe.shareable import portable_info
from ghostnet_small.run.run_folder import RunFolder
from ghostnet_small.study.local_engine import LocalEngine
from ghostnet_small.study.planning import plan_study
from ghostnet_small.study.runner import run_study
from ghostnet_small.study.scheduler import Watcher
from ghostnet_small.study.study_plan import run_folder
from ghostnet_small.study.training_job import Job
from ghostnet_small.use.agreement import CheckFailed
from ghostnet_small.use.budget import Limits
from ghostnet_small.use.evaluation import evaluate_classifier
from ghostnet_small.use.export import export_weights

# Settings that a plan reads, and gives to each of its trainings in its own way.
PLANNED = {"data.limit", "data.validation", "train.seed"}

Say = Callable[[str], None]
# Shows the trainings while they run.
Show = Callable[[Sequence[Job]], AbstractContextManager[Watcher]]


def fit_words(data: str) -> list[str]:
    """Return the setting that says where the images are: a path that exists, or a name."""
    place = expanded(data)
    return [f"--data.root={place}"] if place.exists() else [f"--data.source={data}"]


def planned(
    overrides: Sequence[str],
    folder: FitFolder,
    limits: Limits,
    minutes: float,
    *,
    latency: LatencyLimit | None = None,
    say: Say,
) -> dict[str, Any]:
    """Return the row of the plan for what is asked: the one that was begun in ``folder``, or a new
    one, which is not written yet.

    Raises ``InputError`` where a setting is the plan's to decide, the data cannot be read, no
    network keeps ``limits`` and ``latency``, or ``minutes`` are too few.
    """
    if not 0 < minutes < math.inf:
        raise InputError(f"--minutes {minutes:g} is not allowed; give a number above 0")
    folder.check()
    _check_settings(overrides)
    most = None if latency is None else latency.milliseconds
    asked = {
        "flash": limits.flash,
        "ram": limits.ram,
        "latency_ms": most,
        "latency_on": None if latency is None else latency.target,
        "minutes": minutes,
        "settings": sorted(overrides),
    }
    rows = folder.plans()
    for row in rows:
        if row["asked"] == asked:
            return row
    recipe, given = read_recipe(None, overrides), keys_of(overrides)
    if rows and rows[0]["seed"] != recipe.train.seed:
        raise InputError(
            f"{folder.path} was begun with --train.seed {rows[0]['seed']}; give that, or a new "
            "--out"
        )
    settings = {
        name: getattr(recipe.data, name)
        for name in ("limit", "validation")
        if f"data.{name}" in given
    }
    data = load_data(recipe.data)
    if data.test is not None and len(data.test) >= FEW_HELD_OUT and "data.validation" not in given:
        # The test images measure; nothing that others would have to be held out for is decided.
        settings["validation"] = 0.0
        data = load_data(replace(recipe.data, validation=0.0))
    facts = facts_of(data, say)
    head = recipe.model.head if "model.head" in given else None
    shape = Shape(1.0, head, len(facts.classes), facts.channels, data.size)
    past = None if latency is None else latency.past

    def fits(one: Shape) -> bool:
        needs = needs_of(one)
        return limits.hold(needs.flash, needs.ram) and (past is None or past(one) is None)

    if recipe.train.threads is not None:
        torch.set_num_threads(recipe.train.threads)

    @cache
    def speed(one: Shape) -> Speed:
        return measure(one, facts.batch, recipe.train.device)

    def epochs(width: float) -> int:
        return student_epochs(facts, speed(shape.of(width, HEADS[0])), minutes)

    student, reason = choose_network(
        shape, fits, lambda: widest(limits, shape, past), facts.known, epochs
    )
    shape = shape.of(student.width, student.head)
    reasons = (reason,) if latency is None else (reason, latency.reason(shape))
    needs = needs_of(shape)
    title = f"a network within {words_of(limits, most)}"
    about = {"title": title, "facts": facts.values, "needs": asdict(needs)}
    for row in rows:
        same = row["network"] == [student.width, student.head] and row["facts"] == facts.values
        if same and all(row["asked"][name] == asked[name] for name in ("minutes", "settings")):
            # Other limits, and the same trainings.
            rest = [one for one in row["reasons"] if one[0] not in ("network", "latency")]
            told = [list(astuple(one)) for one in reasons]
            return {**row, "asked": asked, **about, "reasons": [*told, *rest]}
    speeds = {
        one: speed(shape if one == student.width else shape.of(one, HEADS[0]))
        for one in sorted({student.width, *(wide for wide in SHIPPED if wide > student.width)})
    }
    kept = _kept_teacher(rows, folder, facts, student.width)
    plan = plan_fit(facts, student, speeds, minutes, kept=kept, data=settings, reasons=reasons)
    if "augment.flip" in given:
        plan = plan.asked("mirror images", recipe.augment.flip)
    return folder.row(plan, asked, about, recipe.train.seed)


def _check_settings(overrides: Sequence[str]) -> None:
    """Raises ``InputError`` for a setting that the plan decides."""
    for name in keys_of(overrides):
        if name != "model.head" and name.startswith(("model.", "distill.", "train.epochs")):
            cure = "give --minutes" if name == "train.epochs" else "leave it out"
            raise InputError(
                f"fit decides {name}; {cure}, or have the plan by --plan, edit it and run it by "
                "ghostnet-small study"
            )


def facts_of(data: ImageData, say: Say) -> Facts:
    """Return what a plan depends on; remarks go to ``say``.

    Raises ``InputError`` where a class has one image.
    """
    counts = torch.bincount(data.train.labels.cpu(), minlength=len(data.classes))
    least, most = int(counts.min()), int(counts.max())
    name = data.classes[int(counts.argmin())]
    if least < 2:
        raise InputError(
            f"class {name} has {least} training image(s), beside those held out; give at least 2, "
            f"better {FEW_IMAGES} or more"
        )
    if least < FEW_IMAGES:
        say(
            f"class {name} has {least} training images; below {FEW_IMAGES} a class accuracy is "
            "low and its figure uncertain"
        )
    held = data.test if data.test is not None else data.validation
    copies = 0 if held is None else near_copies(data.train, held)
    if held is not None and copies:
        say(
            f"{copies} of {len(held):,} images that measure the result have nearly a copy among "
            "those trained on; the result will be too good by up to as many"
        )
    own = set(data.fingerprints.values())
    known = {
        name
        for name in SHIPPED.values()
        if name in shipped_weights() and own & set(load(Path(name))[1].fingerprints.values())
    }
    return Facts(
        images=len(data.train),
        held_out=0 if held is None else len(held),
        split="test" if data.test is not None else "validation",
        classes=data.classes,
        least=least,
        most=most,
        height=data.size[0],
        width=data.size[1],
        channels=data.channels,
        copies=copies,
        fingerprint=data.fingerprint,
        known=frozenset(known),
    )


def _kept_teacher(
    rows: Sequence[dict[str, Any]], folder: FitFolder, facts: Facts, width: float
) -> Kept | None:
    """Return a finished teacher of earlier plans that is wider than ``width``."""
    for row in reversed(rows):
        name = row["teacher"]
        if name is None or row["facts"]["fingerprint"] != facts.fingerprint:
            continue
        summary = RunFolder(run_folder(folder.study, name)).summary()
        if summary is not None and (wide := summary["recipe"]["model"]["width"]) > width:
            return Kept(name, wide)
    return None


def carry_out(
    row: dict[str, Any],
    overrides: Sequence[str],
    folder: FitFolder,
    *,
    formats: Sequence[str],
    show: Show,
    stop_signal: Callable[[], int | None],
    say: Say,
) -> dict[str, Any]:
    """Train what the plan ``row`` says, write and check the files, and report.

    What is done already is not done again. Returns the study's own value where trainings
    ``failed``, else figures and files. Raises ``Interrupted`` where ``stop_signal`` gives a
    number; what ran is saved then.
    """
    folder.begin(row)
    overrides = [word for word in overrides if not keys_of([word]) & PLANNED]
    study = plan_study(folder.path / "plan.yaml", overrides, folder.study)
    with show(study.jobs(folder.study)) as watcher:
        value = run_study(
            study,
            folder.study,
            max_parallel=1,
            overrides=overrides,
            watcher=watcher,
            stop_signal=stop_signal,
            engine=LocalEngine(),
        )
    if value["failed"]:
        return value
    student = run_folder(folder.study, row["student"])
    images = [word for word in overrides if word.startswith("--data.")]
    files = export_weights(
        student,
        folder.path / FILES,
        formats=tuple(dict.fromkeys(("c", *formats))),
        int8=True,
        overrides=images,
        force=True,
        say=say,
    )
    file = folder.path / FILES / "model.int8.c"
    deployed = evaluate_classifier(file, split=row["facts"]["split"], overrides=images, say=say)
    found = write_fit_report(row, folder, value, files, deployed)
    if reason := Limits(**found["limits"]).past(int8_file(files)):
        raise CheckFailed(f"{file} {reason}; the program expected less: please report this")
    model, info = load(student)
    facts = run_facts(student, student / "last")
    card = model_card(folder.path.name, model.config, portable_info(info), facts, license=None)
    write_atomic(folder.path / CARD, card + on_device(found, file))
    return {"out": str(folder.path), "report": str(folder.path / REPORT), **found}
