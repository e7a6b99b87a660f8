"""A search in rounds, recorded: which recipes were tried, how long, and which of them went on.

Each row is that of a run, and ``search`` in it holds ``round`` (from 1), ``candidate`` (a name),
``changes`` (against the first row of the file) and ``kept``. Validation accuracy decides what is
kept.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ghostnet_small.errors import InputError
from ghostnet_small.recipe.recipe import flatten, terms
from ghostnet_small.run.records import (
    REQUIRED,
    Record,
    number,
    read_records,
    terms_but_seed,
    write_rows,
)
from ghostnet_small.run.run_folder import RunFolder

# What a round may vary in all its candidates: how long they train, and how many views that takes.
_LENGTH = ("name", "train.seed", "train.epochs", "augment.views")


def record_round(
    runs: Sequence[Path], results_file: Path, *, keep: int, round_number: int | None = None
) -> dict[str, Any]:
    """Append the finished ``runs`` as a round of a search to ``results_file``; returns its result.

    Runs that differ only in their seed are one candidate, called as its first run's folder is.
    The ``keep`` best by validation top-1, a mean over seeds, go on. ``round_number`` is by default
    the one after the last in the file.

    Raises ``InputError`` where a run is not finished, has no validation split or is recorded
    already, ``keep`` is more than there are candidates, candidates are of unequal length, or the
    round is in the file; the file is then as it was.
    """
    before = read_records(results_file) if results_file.exists() else []
    last = max((row["search"]["round"] for row in before), default=0)
    number_ = last + 1 if round_number is None else round_number
    if number_ <= last:
        raise InputError(f"round {number_} is in {results_file} already; the next is {last + 1}")
    rows = [_finished(run) for run in runs]
    seen = {_run(row) for row in before}
    candidates: dict[str, list[int]] = {}
    for place, (run, row) in enumerate(zip(runs, rows, strict=True)):
        if _run(row) in seen:
            raise InputError(f"{run} is in {results_file} already, or given twice; leave it out")
        seen.add(_run(row))
        candidates.setdefault(str(terms_but_seed(row)), []).append(place)
    lengths = {len(row["epochs"]) for row in rows}
    if len(lengths) > 1:
        raise InputError(
            f"runs of {', '.join(map(str, sorted(lengths)))} epochs are no round, for more epochs "
            "give more accuracy; record one length at a time"
        )
    if not 1 <= keep <= len(candidates):
        raise InputError(
            f"{keep} cannot go on of {len(candidates)} candidates; give a number of 1 to "
            f"{len(candidates)}"
        )
    means = {
        candidate: statistics.fmean(rows[place]["last"]["validation_top1"] for place in places)
        for candidate, places in candidates.items()
    }
    kept = sorted(means, key=lambda candidate: -means[candidate])[:keep]
    first = before[0] if before else rows[0]
    found = []
    for candidate, places in candidates.items():
        search = {
            "round": number_,
            "candidate": _name(runs[places[0]], rows[places[0]]),
            "changes": _changes(first, rows[places[0]]),
            "kept": candidate in kept,
        }
        found.append({**search, "n": len(places), "validation_top1": means[candidate]})
        for place in places:
            rows[place]["search"] = search
    names = [one["candidate"] for one in found]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two candidates are called {name}; give their folders other names")
    write_rows(results_file, [*before, *rows])
    return {"results": str(results_file), "round": number_, "candidates": found}


def _finished(run: Path) -> dict[str, Any]:
    row = RunFolder.open(run).finished()
    missing = [key for key in REQUIRED if key not in row]
    if missing:
        raise InputError(f"{run} lacks {', '.join(missing)}; record a run that came to its end")
    if number(row, "last", "validation_top1") is None:
        raise InputError(
            f"{run} has no validation split, and what goes on is chosen by nothing else; train it "
            "with --data.validation 0.1"
        )
    return row


def _run(row: Record) -> tuple[Any, ...]:
    return row["recipe_hash"], row["seed"], row["commit"], row["wall_seconds"]


def _name(run: Path, row: Record) -> str:
    return re.sub(rf"-?s{row['seed']}$", "", run.resolve().name) or run.resolve().name


def _changes(first: Record, row: Record) -> list[str]:
    was, now = (terms(one["recipe"]) for one in (first, row))
    unused = flatten(first["recipe"]) | flatten(row["recipe"])
    return [
        f"{key} {was.get(key, unused.get(key))!r} -> {now.get(key, unused.get(key))!r}"
        for key in dict.fromkeys([*was, *now])
        if was.get(key) != now.get(key) and key not in _LENGTH
    ]
