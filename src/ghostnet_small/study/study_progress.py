"""Progress of a study on the terminal: a line for each run, and how many are finished."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from ghostnet_small.errors import InputError
from ghostnet_small.run.records import read_rows
from ghostnet_small.run.run_folder import METRICS, RunFolder, is_run
from ghostnet_small.study.scheduler import ending
from ghostnet_small.study.training_job import Job
from ghostnet_small.train.progress import clock


class StudyProgress:
    """A ``Watcher`` that writes to standard error; used as a context.

    On a terminal each running job has a bar that its finished epochs fill, and all ``jobs`` share
    one; elsewhere each finished epoch is a line. It reads the epochs from the runs' folders. The
    time left is estimated from the epochs since the start, as if all took equally long.
    """

    def __init__(self, jobs: Sequence[Job], console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[figures]}", markup=False),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.jobs = jobs
        self.running: dict[Job, _Line] = {}
        self.done = {job.name: len(_finished_epochs(job)) for job in jobs}
        self.finished = {job.name for job in jobs if _is_finished(job)}
        self.total = sum(job.recipe.train.epochs for job in jobs)
        self.at_first, self.began = sum(self.done.values()), time.monotonic()
        self.all = self.bar.add_task("all runs", total=self.total, figures="")

    def __enter__(self) -> StudyProgress:
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def started(self, job: Job) -> None:
        """Begin a job's line."""
        done, total = self.done[job.name], job.recipe.train.epochs
        task = self.bar.add_task(job.name, total=total, completed=done, figures="starting")
        self.running[job] = _Line(task, done, time.monotonic())

    def look(self) -> None:
        """Show the epochs that have finished since the last call."""
        for job, line in self.running.items():
            rows = _finished_epochs(job)
            if len(rows) <= self.done[job.name]:
                continue
            self.done[job.name] = len(rows)
            seconds = (time.monotonic() - line.began) / (len(rows) - line.before)
            figures = _figures(job, rows[-1], seconds)
            self.bar.update(line.task, completed=len(rows), figures=figures)
            if not self.console.is_terminal:
                self._say(f"{job.name}  {figures}")
        self.bar.update(self.all, completed=sum(self.done.values()), figures=self._left())

    def again(self, job: Job, status: int) -> None:
        """Say that a job was ended from outside, and goes on from its last state."""
        self._end(job, f"{ending(status)}; it goes on from its last state")

    def ended(self, job: Job, status: int, last_lines: Sequence[str]) -> None:
        """Say how a job ended, with the last lines of a failed one's log, and what is left."""
        self._end(job, f"{ending(status)}{':' if last_lines else ''}")
        for text in last_lines:
            self._say(f"    {text}")
        if status == 0:
            self.finished.add(job.name)
            self.done[job.name] = job.recipe.train.epochs
        self._say(self._left())

    def _end(self, job: Job, how: str) -> None:
        self.look()
        self.bar.remove_task(self.running.pop(job).task)
        self._say(f"{job.name}  {how}")

    def _left(self) -> str:
        done = sum(self.done.values())
        text = f"{len(self.finished)} of {len(self.jobs)} runs finished"
        if done == self.at_first or len(self.finished) == len(self.jobs):
            return text
        seconds = (time.monotonic() - self.began) / (done - self.at_first) * (self.total - done)
        return f"{text}, about {clock(seconds)} left"

    def _say(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


@dataclass
class _Line:
    """A running job's bar, and the epochs and the time at its start."""

    task: TaskID
    before: int
    began: float


def _finished_epochs(job: Job) -> list[dict[str, Any]]:
    """Return a job's finished epochs; none before it has a folder, or where they cannot be read
    now.
    """
    with suppress(OSError, InputError):
        return read_rows(job.folder / METRICS)
    return []


def _is_finished(job: Job) -> bool:
    return is_run(job.folder) and RunFolder(job.folder).summary() is not None


def _figures(job: Job, row: dict[str, Any], seconds_an_epoch: float) -> str:
    total = job.recipe.train.epochs
    top1 = [
        f"{split} {row[f'{split}_top1']:.2f} %"
        for split in ("train", "validation", "test")
        if f"{split}_top1" in row
    ]
    left = clock(seconds_an_epoch * (total - row["epoch"]))
    return (
        f"epoch {row['epoch']:{len(str(total))}}/{total}  top-1: {', '.join(top1)}  "
        f"{row['images_per_s']:,.0f} images/s  "
        f"{f'{left} left' if row['epoch'] < total else 'done'}"
    )
