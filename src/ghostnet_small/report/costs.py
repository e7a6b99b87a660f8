"""Tables of costs, of every run, and of the runs without a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ghostnet_small.report.comparison import Comparison, over
from ghostnet_small.report.confidence import Estimate
from ghostnet_small.report.page import Column, Table, table
from ghostnet_small.report.words import NONE, count, duration, plain, width_text
from ghostnet_small.run.records import text


def cost_table(comparison: Comparison) -> Table | None:
    """Table of the deployed network's size and the cost of its training."""
    rows: list[list[str]] = []
    starts = set()
    for (width, strategy), runs in comparison.groups.items():
        if rows and rows[-1][1] != width_text(width):
            starts.add(len(rows))
        rows.append(
            [
                strategy,
                width_text(width),
                str(len(runs)),
                count(_mean(over(runs, lambda run: run.params))),
                count(_mean(over(runs, lambda run: run.macs))),
                duration(_mean(over(runs, lambda run: run.seconds))),
                count(_mean(over(runs, lambda run: run.images_per_s))),
            ]
        )
    columns = [
        Column("strategy", numeric=False),
        Column("width"),
        Column("n"),
        Column("parameters, deployed"),
        Column("MACs, deployed"),
        Column("training time"),
        Column("images/s"),
    ]
    note = (
        "Training time is a run's mean and leaves out its teachers'; images/s are those of training"
    )
    title = "By strategy and width"
    return table(title, columns, rows, f"{note}.", frozenset(starts)) if rows else None


def runs_table(comparison: Comparison) -> Table | None:
    """Every finished run, teachers and assistants first."""
    ordered = [
        *comparison.teachers,
        *(run for runs in comparison.groups.values() for run in runs),
    ]
    rows = [
        [
            run.name,
            run.strategy or "teacher",
            width_text(run.width),
            NONE if run.seed is None else str(run.seed),
            plain(run.top1),
            f"{count(run.correct)} / {count(run.total)}" if run.correct is not None else NONE,
            str(run.epochs),
            duration(run.seconds),
            run.commit,
        ]
        for run in ordered
    ]
    columns = [
        Column("run", numeric=False),
        Column("strategy", numeric=False),
        Column("width"),
        Column("seed"),
        Column(f"{comparison.split} top-1, %"),
        Column("correct / images"),
        Column("epochs"),
        Column("time"),
        Column("commit", numeric=False),
    ]
    return table("Every finished run", columns, rows) if rows else None


def failed_table(failed: Sequence[Mapping[str, Any]]) -> Table | None:
    """The runs without a row, and why: negative results stay in the record."""
    keys = ("run", "status", "reason")
    rows = [[text(one, key) or NONE for key in keys] for one in failed]
    columns = [Column(key, numeric=False) for key in keys]
    return table("Runs that failed or were not started", columns, rows) if rows else None


def _mean(one: Estimate | None) -> float | None:
    return None if one is None else one.mean
