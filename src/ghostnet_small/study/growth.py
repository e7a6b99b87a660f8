"""Compare a study's plan with the one in its folder: runs may be added, and none changed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from ghostnet_small.data.hub.named import is_name
from ghostnet_small.data.settings import DataSettings
from ghostnet_small.errors import InputError
from ghostnet_small.files import expanded
from ghostnet_small.models.weights import load, weights_digest
from ghostnet_small.run.records import look, sequence
from ghostnet_small.run.run_folder import RunFolder, is_run
from ghostnet_small.study.study_plan import PlannedRun, Study, run_folder

Digest = Callable[[str], str | None]


def added(before: Study, now: Study) -> list[str]:
    """Return the names of the runs that ``before`` lacks, in the order of ``now``."""
    old = {run.name for run in before.runs}
    return [run.name for run in now.runs if run.name not in old]


def differences(before: Study, now: Study, out: Path) -> list[str]:
    """Return what makes ``now`` another study than ``before``, the one in ``out``. Places, a
    report's texts and added runs do not count.
    """
    if before.name != now.name:
        return [f"name {before.name!r} -> {now.name!r}"]
    new = {run.name: run for run in now.runs}
    digest = functools.cache(_digest)  # many runs share their teachers
    found = [f"{run.name} is in the old one only" for run in before.runs if run.name not in new]
    for run in before.runs:
        if run.name in new:
            changes = _changes(run, new[run.name], RunFolder(run_folder(out, run.name)), digest)
            found += [f"{run.name}: {change}" for change in changes]
    return found


def _changes(was: PlannedRun, new: PlannedRun, folder: RunFolder, digest: Digest) -> list[str]:
    # Which teachers they are is told below, not only how many.
    changes = [
        change
        for change in was.recipe.changes(new.recipe)
        if not change.startswith("distill.teachers ")
    ]
    # To a recipe these are places. But a name says which data they are, and a digest which weights.
    named = _named(was.recipe.data), _named(new.recipe.data)
    if None not in named and named[0] != named[1]:
        changes.append("data.source {!r} -> {!r}".format(*named))
    before, now = was.recipe.model.weights, new.recipe.model.weights
    if before and now and _are_others(before, now, _begun_from(folder), digest):
        changes.append(f"model.weights {before!r} -> {now!r}")
    if was.strategy != new.strategy:
        changes.append(f"strategy {was.strategy} -> {new.strategy}")
    if _other_teachers(was, new, folder, digest):
        changes.append(f"teachers {', '.join(was.teachers)} -> {', '.join(new.teachers)}")
    return changes


def _named(data: DataSettings) -> str | None:
    """Return the name of a data set that is asked for by name; None for one in a folder."""
    by_name = data.root is None and (data.source == "digits" or is_name(data.source))
    return data.source if by_name else None


def _other_teachers(was: PlannedRun, new: PlannedRun, folder: RunFolder, digest: Digest) -> bool:
    inside, now = (
        [name if name in run.needs else None for name in run.teachers] for run in (was, new)
    )
    if inside != now:
        return True
    summary = (folder.summary() if is_run(folder.path) else None) or {}
    rows = chain(sequence(summary, "distill", "teachers"), repeat(None))
    paths = was.recipe.distill.teachers, new.recipe.distill.teachers
    return any(
        name is None and _are_others(before, after, look(row, "weights_sha256"), digest)
        for name, before, after, row in zip(inside, *paths, rows, strict=False)
    )


def _begun_from(folder: RunFolder) -> Any:
    """Return the digest of the weights that a run started from; None before its start."""
    return look((folder.beginning() if is_run(folder.path) else None) or {}, "weights_sha256")


def _are_others(was: str, now: str, used: Any, digest: Digest) -> bool:
    """Return whether the weights ``now`` are not ``was``, of which ``used`` is what a run keeps.

    Weights that no run has used and that no longer exist count as moved.
    """
    if was == now:
        return False
    known = used or digest(was)
    return known is not None and known != digest(now)


def _digest(path: str) -> str | None:
    """Return the digest, as in records, of weights that a user may name; None where there are
    none.
    """
    try:
        network, _ = load(expanded(path))
    except InputError:
        return None
    return weights_digest(network)
