"""From images to the best file that fits, in the time that there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from ghostnet_small.data.dataset import ImageData
from ghostnet_small.data.sources import load_data
from ghostnet_small.errors import InputError
from ghostnet_small.files import expanded
from ghostnet_small.fit.fit_report import write_fit_report
from ghostnet_small.fit.folder import FILES, REPORT, FitFolder
from ghostnet_small.fit.limits import words_of
from ghostnet_small.fit.needs import Shape, needs_of, widest
from ghostnet_small.fit.plan import FEW_IMAGES, SHIPPED, Facts, choose_width, plan_fit
from ghostnet_small.fit.speed import measure
from ghostnet_small.models.shipped_weights import shipped_weights
from ghostnet_small.models.weights import load
from ghostnet_small.recipe.recipe import read_recipe
from ghostnet_small.run.run_folder import RunFolder
from ghostnet_small.study.local_engine import LocalEngine
from ghostnet_small.study.planning import plan_study
from ghostnet_small.study.runner import run_study
from ghostnet_small.study.scheduler import Watcher
from ghostnet_small.study.study_plan import run_folder
from ghostnet_small.study.training_job import Job
from ghostnet_small.use.budget import Limits
from ghostnet_small.use.evaluation import evaluate_classifier
from ghostnet_small.use.export import export_weights

Say = Callable[[str], None]
# Shows the trainings while they run.
Show = Callable[[Sequence[Job]], AbstractContextManager[Watcher]]


def fit_words(data: str) -> list[str]:
    """Return the setting that says where the images are: a path that exists, or a name."""
    place = expanded(data)
    return [f"--data.root={place}"] if place.exists() else [f"--data.source={data}"]


def planned(
    overrides: Sequence[str], folder: FitFolder, limits: Limits, minutes: float, *, say: Say
) -> dict[str, Any]:
    """Return the row of the plan for what is asked: the one that was begun in ``folder``, or a new
    one, which is not written yet.

    Raises ``InputError`` where the data cannot be read or have one class, no network keeps
    ``limits``, or ``minutes`` are too few.
    """
    folder.check()
    asked = {
        "flash": limits.flash,
        "ram": limits.ram,
        "minutes": minutes,
        "settings": sorted(overrides),
    }
    rows = folder.plans()
    for row in rows:
        if row["asked"] == asked:
            return row
    recipe = read_recipe(None, overrides)
    data = load_data(recipe.data)
    facts = facts_of(data, say)
    shape = Shape(1.0, recipe.model.head, len(facts.classes), facts.channels, data.size)
    width, reason = choose_width(widest(limits, shape), facts.known)
    if recipe.train.threads is not None:
        torch.set_num_threads(recipe.train.threads)
    speeds = {
        one: measure(shape.of(one), facts.batch)
        for one in sorted({width, *(wide for wide in SHIPPED if wide > width)})
    }
    kept = _kept_teacher(rows, folder, facts, width)
    needs = needs_of(shape.of(width))
    plan = plan_fit(facts, limits, width, needs, speeds, minutes, kept=kept, reasons=(reason,))
    return folder.row(
        plan, asked, {"title": f"A network within {words_of(limits)}", "facts": facts.values}
    )


def facts_of(data: ImageData, say: Say) -> Facts:
    """Return what a plan depends on; remarks go to ``say``.

    Raises ``InputError`` where there is one class, or a class has one image.
    """
    counts = torch.bincount(data.train.labels.cpu(), minlength=len(data.classes))
    if len(data.classes) < 2:
        raise InputError(
            f"the data have one class, {data.classes[0]}; give images of two classes or more, in a "
            "folder each"
        )
    least = int(counts.min())
    if least < 2:
        name = data.classes[int(counts.argmin())]
        raise InputError(
            f"class {name} has {least} training image(s), beside those held out; give at least 2, "
            f"better {FEW_IMAGES} or more"
        )
    if least < FEW_IMAGES:
        name = data.classes[int(counts.argmin())]
        say(
            f"class {name} has {least} training images; below {FEW_IMAGES} a class accuracy is "
            "low and its figure uncertain"
        )
    own = set(data.fingerprints.values())
    known = {
        name
        for name in SHIPPED.values()
        if name in shipped_weights() and own & set(load(Path(name))[1].fingerprints.values())
    }
    held = data.test if data.test is not None else data.validation
    return Facts(
        images=len(data.train),
        held_out=0 if held is None else len(held),
        split="test" if data.test is not None else "validation",
        classes=data.classes,
        least=least,
        height=data.size[0],
        width=data.size[1],
        channels=data.channels,
        fingerprint=data.fingerprint,
        known=frozenset(known),
    )


def _kept_teacher(
    rows: Sequence[dict[str, Any]], folder: FitFolder, facts: Facts, width: float
) -> str | None:
    """Return the name of a finished teacher of earlier plans that is wider than ``width``."""
    for row in reversed(rows):
        name = row["teacher"]
        if name is None or row["facts"]["fingerprint"] != facts.fingerprint:
            continue
        summary = RunFolder(run_folder(folder.study, name)).summary()
        if summary is not None and summary["recipe"]["model"]["width"] > width:
            return str(name)
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

    What is done already is not done again. Raises ``Interrupted`` where ``stop_signal`` gives a
    number; what ran is saved then.
    """
    folder.begin(row)
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
    student = run_folder(folder.study, row["student"])
    failed = [one for one in value["runs"] if one["reason"]]
    if failed:
        return {"out": str(folder.path), "failed": failed}
    files = export_weights(
        student,
        folder.path / FILES,
        formats=tuple(dict.fromkeys(("c", *formats))),
        int8=True,
        overrides=[word for word in overrides if word.startswith("--data.")],
        force=True,
        say=say,
    )
    split = row["facts"]["split"]
    file = folder.path / FILES / "model.int8.c"
    deployed = evaluate_classifier(file, split=split, overrides=(), say=say)
    found = write_fit_report(row, folder, value, files, deployed)
    return {"out": str(folder.path), "report": str(folder.path / REPORT), **found}
