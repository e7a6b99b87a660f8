"""Run jobs in their order, several at once, each after those that it needs."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Protocol

from ghostnet_small.errors import printable
from ghostnet_small.files import inner_folder
from ghostnet_small.recipe.recipe import Recipe
from ghostnet_small.study.training_job import Job, Sharing
from ghostnet_small.train.interfaces import Interrupted

LAST_LINES = 5  # of a failed training's log
LOOK_SECONDS = 0.1  # between two looks at the trainings
# Of a training that was asked to stop by somebody else: it has saved.
STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM)


class Process(Protocol):
    """A running training."""

    def poll(self) -> int | None:
        """Return its exit status, below 0 for a signal; ``None`` while it runs."""

    def terminate(self) -> None:
        """Ask it to save and end; asked twice, it ends at once."""

    def wait(self) -> int:
        """Wait for its end and return its exit status."""


# Starts a job's command, whose output goes to the file.
Launch = Callable[[Job, Sequence[str], Path], Process]


class Watcher(Protocol):
    """An observer of running trainings, such as progress lines."""

    def started(self, job: Job) -> None:
        """A job's process has started."""

    def look(self) -> None:
        """Called now and then."""

    def again(self, job: Job, status: int) -> None:
        """A job's process was ended from outside, and will be started again."""

    def ended(self, job: Job, status: int, last_lines: Sequence[str]) -> None:
        """A job has ended; ``last_lines`` are those of a failed one's log."""


class Engine(Protocol):
    """A place where the trainings of a study run."""

    def share(self, recipes: Sequence[Recipe], max_parallel: int | None) -> Sharing:
        """Return how runs of ``recipes`` share that place; raises ``InputError`` where it cannot
        train them.
        """

    def trainings(self, lock: int) -> AbstractContextManager[Launch]:
        """Return a context that gives what starts them; ``lock`` is the handle of the study's
        lock.
        """


def run_jobs(
    jobs: Sequence[Job],
    words: Callable[[Job], Sequence[str]],
    logs: Path,
    *,
    together: int,
    launch: Launch,
    watcher: Watcher,
    stop_signal: Callable[[], int | None],
    needs: Mapping[Job, Collection[Job]] | None = None,
    tries: int = 1,
) -> dict[Job, int]:
    """Run each job's command, ``together`` at once, in their order; returns their exit statuses.

    A job waits for those of ``jobs`` that it ``needs``, and is left out, without a status, where
    one of them fails. Its ``words`` are asked for when its turn comes. One that was ended by a
    signal is started again, up to ``tries`` times in all.

    Raises ``Interrupted`` once all have ended where ``stop_signal`` gave a number.
    """
    inner_folder(logs)
    queue = list(jobs)
    running: dict[Job, Process] = {}
    begun: dict[Job, int] = {}
    statuses: dict[Job, int] = {}
    asked = None
    try:
        while running or queue:
            asked = asked or stop_signal()
            if asked is not None:
                break
            while len(running) < together and (job := _next(queue, running, needs or {})):
                queue.remove(job)
                running[job] = launch(job, words(job), logs / f"{job.name}.log")
                begun[job] = begun.get(job, 0) + 1
                watcher.started(job)
            for job, process in list(running.items()):
                status = process.poll()
                if status is None:
                    continue
                del running[job]
                if (status < 0 or status in STOPPED) and begun[job] < tries:
                    queue.insert(0, job)
                    watcher.again(job, status)
                    continue
                statuses[job] = status
                if status:
                    _leave_out(queue, job, needs or {})
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


def ending(status: int) -> str:
    """Say how a process ended, by its exit status, below 0 for a signal."""
    if status == 0:
        return "finished"
    if status in STOPPED:
        return f"was stopped by {signal.Signals(status - 128).name}"
    if status > 0:
        return f"failed with status {status}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-status).name}"
    return f"was ended by signal {-status}"


def _next(
    queue: Sequence[Job], running: Collection[Job], needs: Mapping[Job, Collection[Job]]
) -> Job | None:
    """Return the first in the queue that waits for no other."""
    for job in queue:
        if not any(other in queue or other in running for other in needs.get(job, ())):
            return job
    return None


def _leave_out(queue: list[Job], failed: Job, needs: Mapping[Job, Collection[Job]]) -> None:
    """Remove the jobs that need ``failed`` from the queue, and those that need them."""
    for job in [job for job in queue if failed in needs.get(job, ())]:
        if job in queue:
            queue.remove(job)
            _leave_out(queue, job, needs)


def _tail(log: Path) -> list[str]:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return [printable(line) for line in lines[-LAST_LINES:]]
