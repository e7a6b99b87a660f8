"""Several trainings at once on one device: each a process of its own, the others waiting in turn.

One training cannot use a machine fully where its pictures are tiny: threads wait for one another,
and a GPU for the CPU that tells it what to do. Trainings side by side have nothing to wait for.
Each is the ordinary command, so it is saved, stopped and resumed like any other.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from ghostnet_small.errors import InputError, printable
from ghostnet_small.files import write_atomic
from ghostnet_small.launcher import FOLLOWS, available_cores, launched
from ghostnet_small.models.registry import check_model
from ghostnet_small.study.jobs import (
    Job,
    Sharing,
    State,
    by_width,
    check_place,
    result,
    share,
    states,
    train_words,
    with_threads,
)
from ghostnet_small.study.recipe_file import recipe_text
from ghostnet_small.train.device import make_accelerator
from ghostnet_small.train.interfaces import Interrupted

LAST_LINES = 5  # of a failed training's log
LOOK_SECONDS = 0.1  # between two looks at the trainings


class Process(Protocol):
    """A training under way."""

    def poll(self) -> int | None:
        """Its exit status, below 0 for a signal; ``None`` while it runs."""

    def terminate(self) -> None:
        """Ask it to save and end; asked twice, it ends at once."""

    def wait(self) -> int:
        """Its exit status, once it has ended."""


Launch = Callable[[Sequence[str], Path], Process]


class Watcher(Protocol):
    """What looks on while trainings run: progress lines, or nothing."""

    def started(self, job: Job) -> None:
        """When a job's process runs."""

    def look(self) -> None:
        """Now and then."""

    def ended(self, job: Job, status: int, last_lines: Sequence[str]) -> None:
        """When a job's process has ended, with ``last_lines`` of a failed one's log."""


def train_several(
    jobs: Sequence[Job],
    out: Path,
    *,
    together: int | None,
    overrides: Sequence[str],
    watcher: Watcher,
    stop_signal: Callable[[], int | None],
) -> dict[str, Any]:
    """Train ``jobs``, whose folders lie in ``out``, ``together`` at once; their rows and means.

    What is finished is left alone, what was stopped goes on, with those of ``overrides`` that say
    where a run takes place; one that fails does not stop the others. What each prints is kept in
    ``out/logs``, the recipe that it was started with in ``out/recipes``.

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
    out.mkdir(parents=True, exist_ok=True)
    with _alone_in(out) as lock, _starter(lock) as launch:
        # Once more: another process may have been at work until now.
        waiting = _unfinished(jobs)
        commands = _commands(waiting, out / "recipes", sharing, overrides)
        statuses = run_jobs(
            commands,
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
    """How the jobs share this machine; raises ``InputError`` where it cannot train them."""
    for job in jobs:
        asked = job.recipe.model
        check_model(asked.name, asked.width, pretrained=asked.pretrained, upsample=asked.upsample)
    recipe = jobs[0].recipe
    device = make_accelerator(recipe.train.device, recipe.train.precision).device
    return share(
        recipe, len(jobs), together=together, on_cpu=device.type == "cpu", cores=available_cores()
    )


def _commands(
    waiting: Mapping[Job, State], recipes: Path, sharing: Sharing, overrides: Sequence[str]
) -> dict[Job, list[str]]:
    """The words that take each job to its end; writes the recipes that they name."""
    recipes.mkdir(exist_ok=True)
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


def run_jobs(
    commands: Mapping[Job, Sequence[str]],
    logs: Path,
    *,
    together: int,
    launch: Launch,
    watcher: Watcher,
    stop_signal: Callable[[], int | None],
) -> dict[Job, int]:
    """Run each job's command, ``together`` at once, in their order; their exit statuses.

    Raises ``Interrupted`` once all have ended where ``stop_signal`` gave a number.
    """
    logs.mkdir(exist_ok=True)
    queue = list(commands)
    running: dict[Job, Process] = {}
    statuses: dict[Job, int] = {}
    asked = None
    try:
        while running or queue:
            asked = asked or stop_signal()
            if asked is not None:
                break
            while queue and len(running) < together:
                job = queue.pop(0)
                running[job] = launch(commands[job], logs / f"{job.name}.log")
                watcher.started(job)
            for job, process in list(running.items()):
                status = process.poll()
                if status is not None:
                    del running[job]
                    statuses[job] = status
                    watcher.ended(job, status, _tail(logs / f"{job.name}.log") if status else [])
            watcher.look()
            time.sleep(LOOK_SECONDS)
    finally:
        # Not Ctrl-C's own signal: a child that has just begun may not listen to that one yet.
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()
    if asked is not None:
        raise Interrupted(asked)
    return statuses


def _tail(log: Path) -> list[str]:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return [printable(line) for line in lines[-LAST_LINES:]]


@contextmanager
def _alone_in(out: Path) -> Iterator[int]:
    """No other process trains several in ``out``; a handle that says so while it is open.

    Trainings hold it too: those of a killed starter are still saving when the next one comes.
    """
    handle = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{out} is being trained by another process; wait for its end, or give another "
                "--out"
            ) from None
        yield handle
    finally:
        os.close(handle)


@contextmanager
def _starter(lock: int) -> Iterator[Launch]:
    """Starts trainings that end, saved, when this process does, however that comes about."""
    theirs, ours = os.pipe()

    def launch(words: Sequence[str], log: Path) -> Process:
        with log.open("a") as file:
            file.write(f"$ ghostnet-small {shlex.join(words)}\n")
            file.flush()
            return subprocess.Popen(
                [sys.executable, "-m", "ghostnet_small", *words],
                stdin=theirs,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=os.environ | {FOLLOWS: "1"},
                pass_fds=(lock,),
                # A terminal's Ctrl-C is for this process, which passes it on once: a second signal
                # would end a training at once.
                start_new_session=True,
            )

    try:
        yield launch
    finally:
        os.close(theirs)
        os.close(ours)
