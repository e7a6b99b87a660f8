"""The trainings of one study, their states and their results.

Nothing here starts a process; ``study.scheduler`` does.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ghostnet_small.errors import InputError
from ghostnet_small.files import check_no_link
from ghostnet_small.recipe.recipe import Recipe
from ghostnet_small.run.initial_weights import Beginning
from ghostnet_small.run.run_folder import RunFolder, is_run

State = Literal["finished", "stopped", "missing"]

# Beside each other on one GPU. A step on tiny images is many short kernels, between which the
# GPU waits for the CPU; a second training fills these gaps. More help where the network is very
# small: tools/benchmarks/together.py measures how many do.
TOGETHER_ON_GPU = 2


@dataclass(frozen=True)
class Job:
    """One training: its name in messages, its run's folder, its recipe."""

    name: str
    folder: Path
    recipe: Recipe


@dataclass(frozen=True)
class Sharing:
    """The number of trainings at once, and the CPU threads of each; None: as the recipe says."""

    together: int
    threads: int | None


def states(jobs: Sequence[Job]) -> dict[Job, State]:
    """Return the state of each job.

    Raises ``InputError`` where a folder is no run, one of another recipe, or a link.
    """
    return {job: _state(job) for job in jobs}


def _state(job: Job) -> State:
    check_no_link(job.folder)
    folder = RunFolder(job.folder)
    if not is_run(job.folder):
        folder.check_free()
        return "missing"
    changed = folder.recipe().changes(job.recipe)
    if changed:
        raise InputError(
            f"{job.folder} was trained by another recipe ({'; '.join(changed)}); give the recipe "
            "it was started with, or another --out"
        )
    return "stopped" if folder.summary() is None else "finished"


def share(recipe: Recipe, runs: int, *, together: int | None, on_cpu: bool, cores: int) -> Sharing:
    """Return how ``runs`` trainings like ``recipe`` share a machine, ``together`` at once if given.

    On a CPU as many run as there are cores for their threads: a training of one thread waits for
    no other. Finished runs count in ``runs``, so that a repeated one gets as many threads and the
    same weights.
    """
    threads = recipe.train.threads
    most = together or (max(1, cores // (threads or 1)) if on_cpu else TOGETHER_ON_GPU)
    at_once = min(runs, most)
    if on_cpu and threads is None:
        threads = max(1, cores // at_once)
    return Sharing(at_once, threads)


def result(job: Job, status: str) -> dict[str, Any]:
    """Return a job's row with its ``status``, and its figures where it is finished."""
    summary = RunFolder(job.folder).summary() if status == "finished" else None
    last = summary["last"] if summary else {}
    return {
        "name": job.name,
        "run": str(job.folder),
        "width": job.recipe.model.width,
        "seed": job.recipe.train.seed,
        "status": status,
        "validation_top1": last.get("validation_top1"),
        "test_top1": last.get("test_top1"),
        "wall_seconds": summary["wall_seconds"] if summary else None,
    }


def means(rows: Sequence[dict[str, Any]], keys: Sequence[str]) -> list[dict[str, Any]]:
    """Mean and sample deviation over the finished runs that share the values of ``keys``."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return [
        {
            **dict(zip(keys, values, strict=True)),
            **{name: _spread([row[name] for row in group]) for name in FIGURES},
        }
        for values, group in groups.items()
    ]


FIGURES = ("validation_top1", "test_top1")


def _spread(values: Sequence[float | None]) -> dict[str, Any]:
    """Return mean and sample deviation; one value has no deviation, and none has no mean."""
    known = [value for value in values if value is not None]
    return {
        "n": len(known),
        "mean": statistics.fmean(known) if known else None,
        "deviation": statistics.stdev(known) if len(known) > 1 else None,
    }


def check_beginnings(jobs: Mapping[Job, State]) -> None:
    """Raises ``InputError`` where one of ``jobs`` that have not begun cannot start from the weights
    that its recipe names; one that has begun no longer needs them.
    """
    new = {job.recipe.model for job, state in jobs.items() if state == "missing"}
    for asked in new:
        if asked.weights is not None:
            Beginning(asked)
