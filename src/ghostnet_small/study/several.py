"""Train several recipes at once on one device, each in a process of its own.

One training on tiny images cannot use a machine fully: threads wait for one another, and a GPU
waits for the CPU. Separate trainings do not wait for one another. Each is the ordinary command, so
it is saved, stopped and resumed like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ghostnet_small.errors import InputError
from ghostnet_small.files import inner_folder, write_atomic
from ghostnet_small.launcher import launched
from ghostnet_small.models.registry import check_settings
from ghostnet_small.recipe.recipe_file import recipe_text
from ghostnet_small.study.local_engine import LocalEngine, alone_in, local_trainings
from ghostnet_small.study.scheduler import Watcher, run_jobs
from ghostnet_small.study.training_job import (
    Job,
    Sharing,
    State,
    by_width,
    check_beginnings,
    check_place,
    result,
    states,
    train_words,
    with_threads,
)


def train_several(
    jobs: Sequence[Job],
    out: Path,
    *,
    together: int | None,
    overrides: Sequence[str],
    watcher: Watcher,
    stop_signal: Callable[[], int | None],
) -> dict[str, Any]:
    """Train ``jobs``, whose folders lie in ``out``, ``together`` at once; returns their rows and
    means.

    Finished runs stay as they are; stopped ones go on, with those of ``overrides`` that say where a
    run takes place. One that fails does not stop the others. ``out/logs`` keeps each run's output,
    ``out/recipes`` the recipe that it was started with.

    Raises ``InputError`` before anything is started where a folder is of another recipe, a
    recipe cannot be trained here, or another process is at work in ``out``; ``Interrupted`` once
    all have ended where ``stop_signal`` gives a number.
    """
    if launched().count > 1:
        raise InputError(
            "several runs at once are started by one process each, and the launcher started "
            f"{launched().count}; leave the launcher out, or --seeds, --widths and --together"
        )
    check_place(out)
    waiting = _unfinished(jobs)
    sharing = _check(jobs, together) if waiting else Sharing(0, None)
    check_beginnings(waiting)
    out.mkdir(parents=True, exist_ok=True)
    with alone_in(out) as lock, local_trainings(lock) as launch:
        # Once more: another process may have been at work until now.
        waiting = _unfinished(jobs)
        commands = _commands(waiting, out / "recipes", sharing, overrides)
        statuses = run_jobs(
            list(commands),
            commands.__getitem__,
            out / "logs",
            together=sharing.together,
            launch=launch,
            watcher=watcher,
            stop_signal=stop_signal,
        )
    rows = [_row(job, statuses.get(job, 0)) for job in jobs]
    return {
        "out": str(out),
        "together": sharing.together,
        "runs": rows,
        "widths": by_width(rows),
        "failed": [row["name"] for row in rows if row["status"] == "failed"],
    }


def _unfinished(jobs: Sequence[Job]) -> dict[Job, State]:
    return {job: state for job, state in states(jobs).items() if state != "finished"}


def _check(jobs: Sequence[Job], together: int | None) -> Sharing:
    """Return how the jobs share this machine; raises ``InputError`` where it cannot train them."""
    for job in jobs:
        check_settings(job.recipe.model)
    return LocalEngine().share([job.recipe for job in jobs], together)


def _commands(
    waiting: Mapping[Job, State], recipes: Path, sharing: Sharing, overrides: Sequence[str]
) -> dict[Job, list[str]]:
    """Write the recipes of the jobs, and return each job's command."""
    inner_folder(recipes)
    for job, state in waiting.items():
        if state == "missing":
            # The recipe of now: the user's own may have changed when a waiting job's turn comes.
            recipe = with_threads(job, sharing.threads).recipe
            write_atomic(recipes / f"{job.name}.yaml", recipe_text(recipe.as_dict()))
    return {
        job: train_words(job, state, recipes / f"{job.name}.yaml", overrides)
        for job, state in waiting.items()
    }


def _row(job: Job, status: int) -> dict[str, Any]:
    return {**result(job, "failed" if status else "finished"), "exit_status": status}
