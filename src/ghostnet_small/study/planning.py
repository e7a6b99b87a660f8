"""Plan the runs of a study's file, and refuse what cannot be trained."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ghostnet_small.errors import InputError, nearest
from ghostnet_small.files import expanded
from ghostnet_small.hub.models import CONFIG
from ghostnet_small.models.registry import check_settings
from ghostnet_small.models.shipped_weights import find_weights
from ghostnet_small.recipe.recipe import check_keys, keys_of, resolve_recipe
from ghostnet_small.recipe.recipe_file import read_yaml
from ghostnet_small.recipe.shipped_recipes import find_recipe
from ghostnet_small.study.study_file import (
    Entry,
    check_known,
    check_no_teachers,
    check_once,
    mapping,
    read_study_file,
    text,
)
from ghostnet_small.study.study_plan import (
    PlannedRun,
    Published,
    Study,
    in_order,
    merged,
    run_folder,
)


def plan_study(file: Path, overrides: Sequence[str], out: Path, *, outside: bool = False) -> Study:
    """Return the study in ``file`` with ``overrides`` for all its runs, whose folders lie in
    ``out``.

    ``outside``: teachers that are no runs of the study need not be there yet.

    Raises ``InputError`` where the file is no study, a run comes twice, a teacher does not exist,
    runs need one another in a circle, or a recipe is not valid.
    """
    study = read_study_file(file)
    _check_overrides(overrides, study.entries)
    bases: dict[str | None, dict[Any, Any]] = {None: {}}
    for name in (study.recipe, *(entry.recipe for entry in study.entries)):
        if name not in bases and name is not None:
            bases[name] = read_yaml(find_recipe(name))
            check_keys(bases[name], f"recipe {name}")
            check_no_teachers(bases[name], f"recipe {name}")
    runs: list[PlannedRun] = []
    for entry in study.entries:
        base = merged(bases[entry.recipe or study.recipe], study.settings)
        written, words = merged(base, entry.settings), overrides
        if not (written.get("model") or {}).get("pretrained"):
            # Where pretrained weights lie is said for those runs that start from such.
            words = [word for word in overrides if keys_of([word]) != {"model.pretrained"}]
        runs += _runs(entry, written, words)
    names = [run.name for run in runs]
    if not runs:
        raise InputError(f"{file} has no run; give it runs, or students with strategies")
    for name in names:
        # Also in a folder of macOS, where these would be one.
        same = [other for other in names if other.casefold() == name.casefold()]
        if len(same) > 1:
            both = " and ".join(dict.fromkeys(same))
            raise InputError(f"{file} has two runs called {both}; give one of them another name")
    runs = [_with_teachers(run, names, out, outside) for run in runs]
    return Study(
        study.name,
        study.about,
        study.baseline,
        _published(study.published, runs, file),
        in_order(runs),
    )


def plan_variants(
    recipe: Path | None,
    overrides: Sequence[str],
    *,
    seeds: Sequence[int] | None,
    widths: Sequence[float] | None,
) -> Study:
    """Return a study of ``recipe`` with ``overrides``: a run for each width and seed.

    A name holds what varies: ``w1.0-s0``, or ``w1.0``, or ``s0``.
    Raises ``InputError`` where a value comes twice, is not allowed or is overridden as well.
    """
    given = keys_of(overrides)
    for option, setting, values in (
        ("--seeds", "train.seed", seeds),
        ("--widths", "model.width", widths),
    ):
        if values is not None and setting in given:
            raise InputError(f"--{setting} says what {option} says; leave one of them out")
        check_once(values or (), option)
    written, where = ({}, "the recipe") if recipe is None else (read_yaml(recipe), str(recipe))
    entry = Entry("", where, None, None, {}, (), widths, seeds)
    return Study("", "", None, None, tuple(_runs(entry, written, overrides)), kept=False)


def _check_overrides(overrides: Sequence[str], entries: Sequence[Entry]) -> None:
    given = keys_of(overrides)
    if "distill.teachers" in given:
        raise InputError(
            "--distill.teachers is for one run; the teachers of a study stand in its file"
        )
    for key, setting in (("widths", "model.width"), ("seeds", "train.seed")):
        for entry in entries:
            if setting in given and getattr(entry, key) is not None:
                raise InputError(
                    f"--{setting} says what {key} says for {entry.where}; leave one of them out"
                )


def _runs(
    entry: Entry, written: Mapping[str, Any], overrides: Sequence[str]
) -> Iterator[PlannedRun]:
    """Yield a run for each width and seed of ``entry``, without its teachers' folders."""
    for width in entry.widths or (None,):
        for seed in entry.seeds or (None,):
            parts, words = [entry.name] if entry.name else [], list(overrides)
            if width is not None:
                parts.append(f"w{width}")
                words.append(f"--model.width={width}")
            if seed is not None:
                parts.append(f"s{seed}")
                words.append(f"--train.seed={seed}")
            name = "-".join(parts)
            with _of_run(name):
                recipe = resolve_recipe(written, words, where=entry.where)
                check_settings(recipe.model)
                filled = {"width": str(recipe.model.width), "seed": str(recipe.train.seed)}
                teachers = tuple(_filled(teacher, filled) for teacher in entry.teachers)
            yield PlannedRun(
                name,
                entry.strategy,
                recipe.model.width,
                recipe.train.seed,
                recipe,
                teachers=teachers,
            )


def _filled(teacher: str, values: Mapping[str, str]) -> str:
    """Return ``teacher`` with its ``{seed}`` and ``{width}`` filled in."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise InputError(
                f"{found[0]} in the teacher {teacher!r} is not known; {{seed}} and {{width}} are"
            )
        return values[found[1]]

    return re.sub(r"\{([^{}]*)\}", value, teacher)


def _with_teachers(run: PlannedRun, names: Collection[str], out: Path, outside: bool) -> PlannedRun:
    with _of_run(run.name):
        folders = tuple(
            name if outside and name not in names else str(_teacher(name, names, out))
            for name in run.teachers
        )
        distill = replace(run.recipe.distill, teachers=folders)
    return replace(
        run,
        recipe=replace(run.recipe, distill=distill),
        needs=tuple(name for name in run.teachers if name in names),
    )


def _teacher(name: str, names: Collection[str], out: Path) -> Path:
    """Return the folder of the run ``name``, or else ``name`` itself: a folder, or weights by
    name.
    """
    if name in names:
        return run_folder(out, name)
    path = expanded(name)
    folder = find_weights(path)
    if not folder.exists():
        raise InputError(
            f"the teacher {name} does not exist: it is no run of this study ({nearest(name, names)}"
            ") and no folder; name a run, the folder of a finished run or of weights, weights that "
            "come with the program, or a model of the hub (hf-hub:owner/name)"
        )
    if not any((path / CONFIG).is_file() for path in (folder, folder / "last")):
        raise InputError(
            f"the teacher {name} holds no weights: neither {CONFIG} nor last/{CONFIG} is there; "
            "give the folder of a finished run or of weights"
        )
    return path


@contextmanager
def _of_run(name: str) -> Iterator[None]:
    """Put the run's name before an error's message."""
    try:
        yield
    except InputError as error:
        raise InputError(f"run {name}: {error}") from None


def _published(
    published: Mapping[str, Any], runs: Sequence[PlannedRun], file: Path
) -> Published | None:
    where = f"published of {file}"
    if not published:
        return None
    check_known(published, ("source", "top1"), where)
    source = text(published, "source", where)
    if not source:
        raise InputError(f"{where} has no source; say where its figures are from")
    top1: dict[str, dict[float, float]] = {}
    for strategy, row in mapping(published, "top1", where).items():
        widths = {run.width for run in runs if run.strategy == strategy}
        if not widths:
            known = [run.strategy for run in runs if run.strategy is not None]
            raise InputError(
                f"{where} names {strategy}, which is no strategy; {nearest(strategy, known)}"
            )
        if not isinstance(row, dict):
            raise InputError(f"top1.{strategy} of {where} is {row!r}; give such as {{1.0: 91.4}}")
        for width, value in row.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if width not in widths:
                raise InputError(
                    f"top1.{strategy} of {where} names width {width!r}; the study's are "
                    f"{', '.join(map(str, sorted(widths)))}"
                )
            if not (number and math.isfinite(value) and 0 <= value <= 100):
                raise InputError(
                    f"top1.{strategy} of {where} is {value!r} at width {width}; give percent, 0 "
                    "to 100"
                )
        top1[strategy] = {float(width): float(value) for width, value in row.items()}
    return Published(source, top1)
