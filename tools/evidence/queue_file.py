"""The queue of runs: read its file, and list its trainings."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evidence.recipe_facts import Fact
from ghostnet_small.errors import InputError
from ghostnet_small.recipe.recipe import Recipe, check_keys, flatten, read_recipe
from ghostnet_small.recipe.recipe_file import read_yaml
from ghostnet_small.recipe.shipped_recipes import find_recipe, find_study
from ghostnet_small.study.planning import plan_study
from ghostnet_small.study.study_file import check_known, mapping, text

KEYS = ("question", "decides", "recipe", "study", "seeds", "settings", "teachers", "out")


@dataclass(frozen=True)
class Entry:
    """One line of the queue: a recipe with seeds, or a study.

    ``settings`` are words of the command, ``--train.epochs 30`` and so on.
    """

    name: str
    question: str
    decides: str
    recipe: str | None
    study: str | None
    seeds: tuple[int, ...]
    settings: tuple[str, ...]
    teachers: tuple[str, ...]
    out: str

    @property
    def command(self) -> str:
        """Return the command that starts it and goes on with it; ``DIR`` is the data's folder."""
        if self.study is not None:
            words = ["study", f"recipes/studies/{self.study}.yaml"]
        else:
            words = ["distill" if self.teachers else "train", f"recipes/{self.recipe}.yaml"]
        words += ["--data.root", "DIR", *self.settings]
        if self.teachers:
            words += ["--teachers", *self.teachers]
        if self.seeds:
            words += ["--seeds", ",".join(map(str, self.seeds))]
        return shlex.join(["ghostnet-small", *words, "--out", self.out])


@dataclass(frozen=True)
class Training:
    """A run to come: its recipe, and in a study that study's name and its own."""

    recipe: Recipe
    study: str | None = None
    run: str | None = None


def read_queue(file: Path, facts: Mapping[str, Fact]) -> list[Entry]:
    """The entries of a queue's file, in its order.

    ``{NAME}`` in their texts stands for the figure of that name in ``facts``. Raises ``InputError``
    where a key is unknown or missing, or a figure is.
    """
    written = read_yaml(file, what="queue")
    check_known(written, ("runs",), str(file))
    entries = mapping(written, "runs", str(file)).items()
    return [_entry(name, values, f"{name} of {file}", facts) for name, values in entries]


def trainings(entry: Entry) -> list[Training]:
    """The runs that an entry asks for."""
    words = _overrides(entry.settings)
    if entry.study is not None:
        # Teachers from another study of the queue need not be there yet.
        planned = plan_study(find_study(entry.study), words, Path(entry.out), outside=True)
        return [Training(run.recipe, planned.name, run.name) for run in planned.runs]
    assert entry.recipe is not None
    if entry.teachers:
        words.append(f"--distill.teachers={json.dumps(entry.teachers)}")
    file = find_recipe(entry.recipe)
    seeds = [[*words, f"--train.seed={seed}"] for seed in entry.seeds]
    return [Training(read_recipe(file, seed)) for seed in seeds]


def _entry(name: str, values: Any, where: str, facts: Mapping[str, Fact]) -> Entry:
    if not isinstance(values, dict):
        raise InputError(f"{where} is {values!r:.200}; it must hold {', '.join(KEYS)}")
    check_known(values, KEYS, where)
    words = {key: text(values, key, where) for key in ("question", "decides", "out")}
    for key, word in words.items():
        if not word:
            raise InputError(f"{where} has no {key}; say it, for a run is queued for its answer")
    recipe, study = text(values, "recipe", where), text(values, "study", where)
    if (recipe is None) == (study is None):
        raise InputError(f"{where} must have a recipe or a study, and not both")
    seeds, teachers = values.get("seeds") or [], values.get("teachers") or []
    if study is not None and (seeds or teachers):
        raise InputError(f"{where} has seeds or teachers, which a study has in its own file")
    if recipe is not None and not (
        seeds and isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
    ):
        raise InputError(f"seeds of {where} is {seeds!r}; give whole numbers, such as [0, 1, 2]")
    if not isinstance(teachers, list) or not all(isinstance(one, str) for one in teachers):
        raise InputError(f"teachers of {where} is {teachers!r}; give a list of folders")
    settings = mapping(values, "settings", where)
    check_keys(settings, where)
    return Entry(
        name=name,
        question=_filled(str(words["question"]), facts, where),
        decides=_filled(str(words["decides"]), facts, where),
        recipe=recipe,
        study=study,
        seeds=tuple(seeds),
        settings=tuple(
            word for key, value in flatten(settings).items() for word in (f"--{key}", _word(value))
        ),
        teachers=tuple(teachers),
        out=str(words["out"]),
    )


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _overrides(settings: Sequence[str]) -> list[str]:
    return [f"{key}={value}" for key, value in zip(settings[::2], settings[1::2], strict=True)]


def _filled(words: str, facts: Mapping[str, Fact], where: str) -> str:
    def figure(found: re.Match[str]) -> str:
        if found[1] not in facts:
            raise InputError(
                f"{found[0]} in {where} is no figure of published.yaml; choose one of "
                f"{', '.join(facts)}"
            )
        return f"{facts[found[1]].top1_text} %"

    return re.sub(r"\{([\w.-]+)\}", figure, " ".join(words.split()))
