"""The table of a diagnosis: the effect of each change from scratch and with distillation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evidence.strategies import difference_cell, named_study, p_cell, tested_note
from ghostnet_small.errors import InputError
from ghostnet_small.recipe.recipe import terms
from ghostnet_small.report.comparison import by_seed, compare
from ghostnet_small.report.confidence import Estimate, estimate, holm, paired_difference
from ghostnet_small.report.table_cells import markdown_table
from ghostnet_small.report.words import spread, width_text
from ghostnet_small.study.study_plan import PlannedRun, Study, read_study

Pair = tuple[str | None, str | None]
# What no factor is: the name, what a student varies in, and the teachers, which are said apart.
_APART = ("name", "train.seed", "model.width", "distill.teachers")


@dataclass(frozen=True)
class Factor:
    """A change of the study's baseline: the strategies with it, from scratch and distilled.

    ``distilled`` is None where no strategy is distilled with that change.
    """

    changed: str
    alone: str
    distilled: str | None


def factors_table(results: Path, names: Sequence[str]) -> tuple[str, list[Path]]:
    """A line for each width and factor of the study called by the one of ``names``.

    An effect is in points against the same strategy without the change; "distilled less from
    scratch" against the strategy that has the change and no teacher. All are of the last epoch and
    paired by seed; p-values are corrected for all that the table shows.

    Raises ``InputError`` where the study does not also distil its baseline.
    """
    content, file = named_study(results, names, "factors")
    study = read_study(file.parent)
    assert study is not None
    comparison = compare(content)
    factors = factors_of(study)

    def top1(width: float | None, strategy: str | None) -> dict[int, float]:
        return by_seed(comparison.groups.get((width, strategy or ""), ()))

    found: dict[tuple[float | None, Pair], Estimate] = {}
    for width in comparison.widths:
        for pair in (pair for factor in factors for pair in _pairs(factor, factors[0])):
            one = paired_difference(*(top1(width, strategy) for strategy in pair))
            if one is not None and pair[0] != pair[1]:
                found[width, pair] = one
    found = holm(found)
    rows = []
    for width in comparison.widths:
        for factor in factors:
            alone, distilled = (top1(width, one) for one in (factor.alone, factor.distilled))
            if not alone and not distilled:
                continue
            n = [str(len(one)) for one in (alone, distilled) if one]
            effects = [_effect(found.get((width, pair))) for pair in _pairs(factor, factors[0])]
            rows.append(
                {
                    "changed": factor.changed,
                    "width": width_text(width),
                    "n": n[0] if len(set(n)) == 1 else " and ".join(n),
                    "from scratch, %": spread(estimate(list(alone.values()))),
                    "effect from scratch": effects[0],
                    "distilled, %": spread(estimate(list(distilled.values()))),
                    "effect when distilled": effects[1],
                    "distilled less from scratch": effects[2],
                }
            )
    titles = [title for title in rows[0] if title != "width" or len(comparison.widths) > 1]
    table = markdown_table(titles, [[row[title] for title in titles] for row in rows])
    return f"{table}\n\n{tested_note(list(found.values()))}", [file]


def factors_of(study: Study) -> list[Factor]:
    """The factors of a study in its order; the first is the unchanged baseline.

    A strategy is the distilled one of a change where it differs only in its distillation from one
    without a teacher.
    """
    runs: dict[str, PlannedRun] = {}
    for run in study.runs:
        if run.strategy is not None:
            runs.setdefault(run.strategy, run)
    # In the order of the file: the runs stand behind their teachers.
    alone = {name: run for name, run in runs.items() if not run.teachers}
    own = {
        name: partner
        for name, run in runs.items()
        if run.teachers
        for partner, other in alone.items()
        if _untaught(run) == _untaught(other)
    }
    baseline = study.baseline
    first = next((name for name in own if own[name] == baseline), None)
    if baseline not in alone or first is None:
        raise InputError(
            f"study {study.name} has no factors: its baseline {baseline} must have no teacher, and "
            "one strategy must distil it and change nothing else; show it as strategies"
        )
    factors = [Factor("nothing", baseline, first)]
    for name, partner in own.items():
        if name != first:
            factors.append(Factor(_changes(runs[first], runs[name]), partner, name))
    for name in alone:
        if name not in own.values():
            factors.append(Factor(_changes(runs[baseline], runs[name]), name, None))
    return factors


def _untaught(run: PlannedRun) -> dict[str, Any]:
    return {
        key: value
        for key, value in terms(run.recipe.as_dict()).items()
        if key not in _APART and not key.startswith("distill.")
    }


def _changes(was: PlannedRun, new: PlannedRun) -> str:
    changes = [
        f"`{change}`"
        for change in was.recipe.changes(new.recipe)
        if change.split()[0] not in _APART
    ]
    teachers = [
        ", ".join(re.sub(r"-s\d+$", "", name) for name in run.teachers) for run in (was, new)
    ]
    if teachers[0] != teachers[1]:
        changes.append(f"distilled from {teachers[1]}")
    return ", ".join(changes).replace("|", r"\|")


def _pairs(factor: Factor, unchanged: Factor) -> list[Pair]:
    """The strategies of a factor's three effects, each less the other."""
    return [
        (factor.alone, unchanged.alone),
        (factor.distilled, unchanged.distilled),
        (factor.distilled, factor.alone),
    ]


def _effect(found: Estimate | None) -> str:
    if found is None or found.p is None:
        return difference_cell(found)
    return f"{difference_cell(found)}, p {p_cell(found)}"
