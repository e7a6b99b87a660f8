"""Progress of several trainings on the terminal, a line for each."""

from __future__ import annotations

import signal
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
from ghostnet_small.run.run_folder import METRICS
from ghostnet_small.study.scheduler import STOPPED
from ghostnet_small.study.training_job import Job
from ghostnet_small.train.progress import clock


class SeveralProgress:
    """A ``Watcher`` that writes to standard error; used as a context.

    On a terminal each training has a bar that its finished epochs fill, and a line when it has
    ended; elsewhere each finished epoch is a line. It reads the epochs from the runs' folders.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[figures]}", markup=False),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.running: dict[Job, _Line] = {}

    def __enter__(self) -> SeveralProgress:
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
        done = len(finished_epochs(job))
        total = job.recipe.train.epochs
        task = self.bar.add_task(job.name, total=total, completed=done, figures="starting")
        self.running[job] = _Line(task, done, done, time.monotonic())

    def look(self) -> None:
        """Show the epochs that have finished since the last call."""
        for job, line in self.running.items():
            rows = finished_epochs(job)
            if len(rows) == line.shown:
                continue
            line.shown = len(rows)
            figures = _figures(job, rows[-1], line.seconds_an_epoch())
            self.bar.update(line.task, completed=len(rows), figures=figures)
            if not self.console.is_terminal:
                self._say(f"{job.name}  {figures}")

    def again(self, job: Job, status: int) -> None:
        """Say that a job was ended from outside, and goes on from its last state."""
        self._end(job, f"{ending(status)}; it goes on from its last state")

    def ended(self, job: Job, status: int, last_lines: Sequence[str]) -> None:
        """Say how a job ended, with the last lines of a failed one's log."""
        self._end(job, f"{ending(status)}{':' if last_lines else ''}")
        for text in last_lines:
            self._say(f"    {text}")

    def _end(self, job: Job, how: str) -> None:
        self.look()
        self.bar.remove_task(self.running.pop(job).task)
        self._say(f"{job.name}  {how}")

    def _say(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


@dataclass
class _Line:
    """A running job's bar, and the epochs it had at the start and has now."""

    task: TaskID
    before: int
    shown: int
    began: float

    def seconds_an_epoch(self) -> float:
        return (time.monotonic() - self.began) / max(1, self.shown - self.before)


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


def finished_epochs(job: Job) -> list[dict[str, Any]]:
    """Return a job's finished epochs; none before it has a folder, or where they cannot be read
    now.
    """
    with suppress(OSError, InputError):
        return read_rows(job.folder / METRICS)
    return []


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
