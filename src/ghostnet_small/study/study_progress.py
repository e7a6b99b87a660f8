"""Progress of a study on the terminal: its runs' lines, and how many runs are finished."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console

from ghostnet_small.run.run_folder import RunFolder, is_run
from ghostnet_small.study.several_progress import SeveralProgress, finished_epochs
from ghostnet_small.study.training_job import Job
from ghostnet_small.train.progress import clock


class StudyProgress(SeveralProgress):
    """``SeveralProgress`` that also shows how many of ``jobs`` are finished, and the time left.

    The time left is estimated from the epochs since the start, as if all took equally long.
    """

    def __init__(self, jobs: Sequence[Job], console: Console | None = None) -> None:
        super().__init__(console)
        self.jobs = jobs
        self.done = {job.name: len(finished_epochs(job)) for job in jobs}
        self.finished = {job.name for job in jobs if _finished(job)}
        self.total = sum(job.recipe.train.epochs for job in jobs)
        self.at_first, self.began = sum(self.done.values()), time.monotonic()
        self.all = self.bar.add_task("all runs", total=self.total, figures="")

    def look(self) -> None:
        """Show the epochs that have finished since the last call."""
        super().look()
        for job in self.running:
            self.done[job.name] = max(self.done[job.name], self.running[job].shown)
        self.bar.update(self.all, completed=sum(self.done.values()), figures=self._left())

    def ended(self, job: Job, status: int, last_lines: Sequence[str]) -> None:
        """Say how a run ended, and what is left."""
        super().ended(job, status, last_lines)
        if status == 0:
            self.finished.add(job.name)
            self.done[job.name] = job.recipe.train.epochs
        self._say(self._left())

    def _left(self) -> str:
        done = sum(self.done.values())
        text = f"{len(self.finished)} of {len(self.jobs)} runs finished"
        if done == self.at_first or len(self.finished) == len(self.jobs):
            return text
        seconds = (time.monotonic() - self.began) / (done - self.at_first) * (self.total - done)
        return f"{text}, about {clock(seconds)} left"


def _finished(job: Job) -> bool:
    return is_run(job.folder) and RunFolder(job.folder).summary() is not None
