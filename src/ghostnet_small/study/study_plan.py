"""The plan of a study: its runs in order, the runs that each needs, and the file that keeps it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ghostnet_small.errors import InputError
from ghostnet_small.files import write_atomic
from ghostnet_small.recipe.recipe import Recipe, flatten, resolve_recipe
from ghostnet_small.recipe.recipe_file import read_yaml, recipe_text
from ghostnet_small.study.training_job import Job

FILE, RUNS = "study.yaml", "runs"
LARGEST = 16 << 20  # bytes


@dataclass(frozen=True)
class PlannedRun:
    """One run of a study.

    Args:
        name: of its folder, and what teachers are named by.
        strategy: of a student; None: a teacher or an assistant.
        width: of its network.
        seed: of its training.
        recipe: as resolved, with the folders of its teachers.
        needs: its teachers that are runs of the study.
        teachers: all its teachers, by name in the study or by path.
    """

    name: str
    strategy: str | None
    width: float
    seed: int
    recipe: Recipe
    needs: tuple[str, ...] = ()
    teachers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Published:
    """Published figures, made under other conditions: top-1 in % by strategy and width."""

    source: str
    top1: Mapping[str, Mapping[float, float]]


@dataclass(frozen=True)
class Study:
    """Many runs that answer one question; ``runs`` in an order in which teachers come first.

    Strategies are compared with ``baseline``; None where there are no students. A study of
    ``--seeds`` and ``--widths`` is not ``kept``: its folder holds the runs themselves, and neither
    the plan nor rows.
    """

    name: str
    about: str
    baseline: str | None
    published: Published | None
    runs: tuple[PlannedRun, ...]
    kept: bool = True

    def jobs(self, out: Path) -> list[Job]:
        """Return the trainings, in the study's folder ``out``."""
        above = out / RUNS if self.kept else out
        return [Job(run.name, above / run.name, run.recipe) for run in self.runs]

    @property
    def strategies(self) -> list[str]:
        """Return the students' strategies, in their order."""
        return list(dict.fromkeys(run.strategy for run in self.runs if run.strategy is not None))


def run_folder(out: Path, name: str) -> Path:
    """Return the folder of the run ``name`` of the study in ``out``."""
    return out / RUNS / name


def in_order(runs: Sequence[PlannedRun]) -> tuple[PlannedRun, ...]:
    """Return ``runs`` in their order, but each after those that it needs.

    Raises ``InputError`` with the circle where some need one another.
    """
    by_name = {run.name: run for run in runs}
    ordered: dict[str, PlannedRun] = {}

    def visit(run: PlannedRun, above: tuple[str, ...]) -> None:
        if run.name in ordered:
            return
        if run.name in above:
            circle = " -> ".join((*above[above.index(run.name) :], run.name))
            raise InputError(
                f"runs teach one another in a circle: {circle} (each learns from the next); take "
                "one of these teachers out"
            )
        for name in run.needs:
            visit(by_name[name], (*above, run.name))
        ordered[run.name] = run

    for run in runs:
        visit(run, ())
    return tuple(ordered.values())


def with_threads(study: Study, threads: int | None) -> Study:
    """Return ``study`` with ``threads`` CPU threads for runs whose recipes do not say."""
    return _threads_filled(study, {run.name: threads for run in study.runs})


def with_threads_of(study: Study, before: Study) -> Study:
    """Return ``study`` with the CPU threads that the runs of ``before`` had.

    Rounding depends on them: a run that starts later on another machine must give the same result,
    and an added run is compared with the others.
    """
    had = {run.name: run.recipe.train.threads for run in before.runs}
    # A recipe that says its own threads is no measure for one that leaves them open.
    shared = {
        had[run.name] for run in study.runs if run.name in had and run.recipe.train.threads is None
    }
    added = shared.pop() if len(shared) == 1 else None
    return _threads_filled(study, {run.name: had.get(run.name, added) for run in study.runs})


def _threads_filled(study: Study, threads: Mapping[str, int | None]) -> Study:
    def one(run: PlannedRun) -> PlannedRun:
        train = replace(run.recipe.train, threads=run.recipe.train.threads or threads[run.name])
        return replace(run, recipe=replace(run.recipe, train=train))

    return replace(study, runs=tuple(map(one, study.runs)))


def write_study(study: Study, out: Path) -> None:
    """Write ``study.yaml``, with its digest, into ``out``."""
    recipes = [flatten(run.recipe.as_dict()) for run in study.runs]
    common = {
        key: value
        for key, value in recipes[0].items()
        if all(recipe[key] == value for recipe in recipes)
    }
    published = study.published and {
        "source": study.published.source,
        "top1": {name: dict(row) for name, row in study.published.top1.items()},
    }
    values = {
        "name": study.name,
        "about": study.about,
        "baseline": study.baseline,
        "published": published,
        "settings": _rooms(common),
        "runs": {
            run.name: {
                "strategy": run.strategy,
                "width": run.width,
                "seed": run.seed,
                "teachers": list(run.teachers),
                "needs": list(run.needs),
                "settings": _rooms({k: v for k, v in recipe.items() if k not in common}),
            }
            for run, recipe in zip(study.runs, recipes, strict=True)
        },
    }
    write_atomic(out / FILE, recipe_text(values))


def read_study(out: Path) -> Study | None:
    """Return the study that ``out`` holds; ``None`` where it holds none.

    Raises ``InputError`` where its file is damaged.
    """
    file = out / FILE
    if not file.exists():
        return None
    values = read_yaml(file, what="study", largest=LARGEST)
    try:
        return Study(
            _of(str, values["name"]),
            _of(str, values["about"]),
            _of((str, type(None)), values["baseline"]),
            None if values["published"] is None else _published(values["published"]),
            tuple(_run(name, run, values["settings"]) for name, run in values["runs"].items()),
        )
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"{file} is no study that this program wrote ({error}); copy it again, or give another "
            "--out"
        ) from None


def _of(kind: Any, value: Any) -> Any:
    """Return ``value`` if it is of ``kind``; raises otherwise."""
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{str(value)[:100]!r} is of another type")
    return value


def _published(values: Mapping[str, Any]) -> Published:
    number = (int, float)
    top1 = {
        _of(str, strategy): {_of(number, width): _of(number, top1) for width, top1 in row.items()}
        for strategy, row in values["top1"].items()
    }
    return Published(_of(str, values["source"]), top1)


def _run(name: str, values: Mapping[str, Any], common: Mapping[str, Any]) -> PlannedRun:
    return PlannedRun(
        _of(str, name),
        _of((str, type(None)), values["strategy"]),
        _of((int, float), values["width"]),
        _of(int, values["seed"]),
        resolve_recipe(merged(common, values["settings"])),
        tuple(_of(str, need) for need in values["needs"]),
        tuple(_of(str, teacher) for teacher in values["teachers"]),
    )


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's plain values ``base``, replaced by those of ``over``."""
    result = dict(base)
    for room, values in over.items():
        before = result.get(room)
        if isinstance(values, dict) and isinstance(before, dict):
            result[room] = {**before, **values}
        elif values is not None:
            result[room] = values
    return result


def _rooms(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rooms of ``{"train.epochs": 30, ...}``."""
    rooms: dict[str, Any] = {}
    # Copied: what is said twice would be written as an alias.
    for key, value in json.loads(json.dumps(flat)).items():
        room, _, name = key.rpartition(".")
        if room:
            rooms.setdefault(room, {})[name] = value
        else:
            rooms[name] = value
    return rooms
