"""The table of a diagnosis: the effect of each change from scratch and with distillation."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evidence.strategies import named_study
from ghostnet_small.errors import InputError
from ghostnet_small.recipe.recipe import terms
from ghostnet_small.report.comparison import Comparison, compare
from ghostnet_small.report.confidence import Estimate, estimate, paired_difference
from ghostnet_small.report.runs import RunRow
from ghostnet_small.report.table_cells import markdown_table
from ghostnet_small.report.words import NONE, interval, signed, spread, width_text
from ghostnet_small.study.study_plan import PlannedRun, Study, read_study

JUDGES: dict[str, Callable[[RunRow], float | None]] = {
    "last epoch": lambda run: run.top1,
    "best epoch chosen on test": lambda run: run.best_on_test,
}
# What no factor is: the name, what a student varies in, and the teachers, which are said apart.
_APART = ("name", "train.seed", "model.width", "distill.teachers")


@dataclass(frozen=True)
class Factor:
    """A change of the study's baseline: the strategies with it, from scratch and distilled.

    ``taught`` is None where no strategy is distilled with that change.
    """

    changed: str
    alone: str
    taught: str | None


def factors_table(results: Path, names: Sequence[str]) -> tuple[str, list[Path]]:
    """A line for each factor and judge of the study called by the one of ``names``.

    An effect is in points against the same strategy without the change; "distilled less from
    scratch" against the strategy that has the change and no teacher. All are paired by seed, with
    95 % intervals.

    Raises ``InputError`` where the study does not also distil its baseline.
    """
    content, file = named_study(results, names, "factors")
    study = read_study(file.parent)
    assert study is not None
    comparison = compare(content)
    factors = factors_of(study)
    rows = []
    for width in comparison.widths:
        for factor in factors:
            for judge, of in JUDGES.items():
                row = _row(comparison, width, factor, factors[0], of)
                if row is not None:
                    rows.append([factor.changed, width_text(width), judge, *row])
    titles = ["changed", "width", "judged by", "n", "from scratch, %", "effect from scratch"]
    titles += ["distilled, %", "effect when distilled", "distilled less from scratch"]
    return markdown_table(titles, rows), [file]


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


def _row(
    comparison: Comparison,
    width: float | None,
    factor: Factor,
    unchanged: Factor,
    of: Callable[[RunRow], float | None],
) -> list[str] | None:
    """The figures of one line; None where no run has what ``of`` asks for."""

    def values(strategy: str | None) -> Mapping[int, float]:
        runs = comparison.groups.get((width, strategy or ""), ())
        found = {run.seed: of(run) for run in runs if run.seed is not None}
        return {seed: value for seed, value in found.items() if value is not None}

    alone, taught = values(factor.alone), values(factor.taught)
    if not alone and not taught:
        return None
    n = [str(len(one)) for one in (alone, taught) if one]
    return [
        n[0] if len(set(n)) == 1 else " and ".join(n),
        spread(estimate(list(alone.values()))),
        NONE if factor.alone == unchanged.alone else _against(alone, values(unchanged.alone)),
        spread(estimate(list(taught.values()))),
        NONE if factor.taught == unchanged.taught else _against(taught, values(unchanged.taught)),
        _against(taught, alone),
    ]


def _against(values: Mapping[int, float], others: Mapping[int, float]) -> str:
    found: Estimate | None = paired_difference(values, others)
    if found is None:
        return NONE
    ends = f" {interval(found)}" if found.half is not None else ""
    return f"{signed(found.mean)}{ends}{' significant' if found.real else ''}"
