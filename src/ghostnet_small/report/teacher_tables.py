"""Tables on distillation: teachers, losses and targets."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ghostnet_small.report.comparison import Comparison, Runs, over
from ghostnet_small.report.page import Column, Table, table
from ghostnet_small.report.words import (
    NONE,
    count,
    each,
    plain,
    share,
    spread,
    width_text,
)
from ghostnet_small.run.records import look, number, sequence, text

SHA_DIGITS = 8


def teachers_table(comparison: Comparison) -> Table | None:
    """Teachers and assistants of the study, then those that came from elsewhere."""
    rows = [
        [
            run.name,
            run.network or NONE,
            width_text(run.width),
            plain(run.top1),
            count(run.params),
            str(run.epochs),
            each(run.teachers) if run.teachers else "none (labels only)",
        ]
        for run in comparison.teachers
    ]
    ours = {run.name for run in comparison.runs}
    for teacher in _named_teachers(comparison.runs):
        name = text(teacher, "name") or NONE
        if name in ours:
            continue
        sha = text(teacher, "weights_sha256")
        origin = f"from elsewhere, weights {sha[:SHA_DIGITS]}" if sha else "from elsewhere"
        rows.append(
            [
                name,
                text(teacher, "architecture") or NONE,
                width_text(number(teacher, "width")),
                plain(number(teacher, "test_top1")),
                NONE,
                NONE,
                origin,
            ]
        )
    columns = [
        Column("teacher", numeric=False),
        Column("network", numeric=False),
        Column("width"),
        Column(f"{comparison.split} top-1, %"),
        Column("parameters, deployed"),
        Column("epochs"),
        Column("distilled from", numeric=False),
    ]
    return table("Teachers and assistants", columns, rows) if rows else None


def losses_table(comparison: Comparison) -> Table | None:
    """Table of the loss and the teachers of each strategy of distillation."""
    rows = []
    for strategy, distills in _by_strategy(comparison).items():

        def said(*keys: str, distills: Sequence[Mapping[str, Any]] = distills) -> str:
            values = [look(one, *keys) for one in distills]
            return each(_setting(value) for value in values)

        names = (
            " + ".join(
                _weighted(teacher) for teacher in sequence(one, "teachers") if _is_map(teacher)
            )
            for one in distills
        )
        rows.append(
            [
                strategy,
                said("loss"),
                said("temperature"),
                said("ce_weight"),
                said("kd_weight"),
                each(name for name in names if name),
                said("mean"),
                said("mode"),
                said("targets", "views"),
            ]
        )
    columns = [
        Column("strategy", numeric=False),
        Column("loss", numeric=False),
        Column("temperature"),
        Column("weight of labels"),
        Column("weight of teacher"),
        Column("teachers", numeric=False),
        Column("mean of", numeric=False),
        Column("targets", numeric=False),
        Column("views"),
    ]
    return table("How each strategy distils", columns, rows) if rows else None


def targets_table(comparison: Comparison, classes: Sequence[int]) -> Table | None:
    """Table of how soft the teachers' answers are; ``classes`` counts those of each data set."""
    rows = []
    for strategy, distills in _by_strategy(comparison).items():

        def mean(*keys: str, distills: Sequence[Mapping[str, Any]] = distills) -> float | None:
            values = [value for one in distills if (value := number(one, *keys)) is not None]
            return statistics.fmean(values) if values else None

        temperatures = (number(one, "targets", "temperature") for one in distills)
        rows.append(
            [
                strategy,
                str(len(distills)),
                each(NONE if value is None else f"{value:g}" for value in temperatures),
                plain(mean("targets", "entropy"), 3),
                plain(mean("targets", "entropy_at_1"), 3),
                each(f"{math.log(k):.3f}" for k in classes if k),
                share(mean("targets", "share_above_098")),
                share(mean("targets", "share_above_098_at_1")),
                plain(mean("targets", "top1")),
                plain(mean("teacher_test_top1")),
            ]
        )
    columns = [
        Column("strategy", numeric=False),
        Column("n"),
        Column("T"),
        Column("entropy at T, nats"),
        Column("entropy at T = 1, nats"),
        Column("most possible, ln K"),
        Column("largest above 0.98, at T"),
        Column("above 0.98, at T = 1"),
        Column("teacher right on training views, %"),
        Column("teacher right on test, %"),
    ]
    note = (
        "Means over the n runs. Entropy is that of the combined teacher's probabilities on the "
        "training views: 0 says no more than a label, ln K says nothing. “Largest above 0.98” is "
        "the share of images whose likeliest class has a probability above 0.98: those targets "
        "are nearly labels."
    )
    return (
        table("How soft the combined teacher's answers are", columns, rows, note) if rows else None
    )


def agreement_table(comparison: Comparison) -> Table | None:
    """Calibration, loss and agreement with the teacher."""
    rows: list[list[str]] = []
    starts = set()
    for (width, strategy), runs in comparison.groups.items():
        error = over(runs, lambda run: run.calibration_error)
        loss = over(runs, lambda run: run.loss)
        agreement = over(runs, lambda run: run.agreement)
        if rows and rows[-1][1] != width_text(width):
            starts.add(len(rows))
        cells = [spread(error, 4), spread(loss, 4), spread(agreement, 2)]
        rows.append([strategy, width_text(width), str(len(runs)), *cells])
    columns = [
        Column("strategy", numeric=False),
        Column("width"),
        Column("n"),
        Column("calibration error"),
        Column(f"{comparison.split} loss, nats"),
        Column("agreement with teacher, %"),
    ]
    note = (
        "Mean ± sample deviation over n seeds. Calibration error (ECE): how far the confidence "
        "lies from the share of right answers, 0 to 1; lower is better. Agreement: "
        "images of test for which student and combined teacher give the same class, right or wrong."
    )
    title = f"On {comparison.split}, by strategy and width"
    return table(title, columns, rows, note, frozenset(starts)) if rows else None


def _by_strategy(comparison: Comparison) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {name: [] for name in comparison.strategies}
    for run in comparison.students:
        if run.strategy is not None and run.distill is not None:
            found[run.strategy].append(run.distill)
    return {strategy: distills for strategy, distills in found.items() if distills}


def _named_teachers(runs: Runs) -> list[Mapping[str, Any]]:
    """The teachers of distilled runs, each once."""
    found: dict[tuple[str | None, str | None], Mapping[str, Any]] = {}
    for run in runs:
        for teacher in sequence(run.distill or {}, "teachers"):
            if _is_map(teacher):
                found.setdefault((text(teacher, "name"), text(teacher, "weights_sha256")), teacher)
    return list(found.values())


def _weighted(teacher: Mapping[str, Any]) -> str:
    name, weight = text(teacher, "name") or NONE, number(teacher, "weight")
    return name if weight is None or weight == 1 else f"{weight:.3g} {name}"


def _setting(value: Any) -> str:
    if value is None:
        return NONE
    figure = number({"": value}, "")
    return f"{figure:g}" if figure is not None else text({"": value}, "") or NONE


def _is_map(value: Any) -> bool:
    return isinstance(value, Mapping)
