"""Training progress in a terminal: a bar for the current epoch, a line for each finished one."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from ghostnet_small.train.settings import TrainSettings


class TrainingProgress:
    """A ``Watcher`` that writes to standard error; used as a context.

    Where standard error is not a terminal there is no bar, and each epoch is a plain line. With
    ``quiet`` nothing is written.
    """

    def __init__(
        self, settings: TrainSettings, console: Console | None = None, quiet: bool = False
    ) -> None:
        self.settings = settings
        self.console = console or Console(stderr=True, quiet=quiet)
        self.first: tuple[int, float] | None = None
        self.epochs_done = 0
        self.epochs_began = 0.0
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None, table_column=Column(ratio=1)),
            TextColumn("{task.fields[figures]}"),
            console=self.console,
            transient=True,
            expand=True,
            disable=quiet or not self.console.is_terminal,
        )
        self.task = self.bar.add_task("reading the data", total=None, figures="")

    def __enter__(self) -> TrainingProgress:
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def preparing(self, what: str, done: int, total: int) -> None:
        """Move the bar, labelled ``what``; without a bar, write a line at the end."""
        self.bar.update(self.task, description=what, completed=done, total=total, figures="")
        if done == total:
            self.console.print(f"{what}: {total}", highlight=False, markup=False, soft_wrap=True)

    def step(self, epoch: int, done: int, steps: int, loss: float, top1: float) -> None:
        """Move the bar; ``epoch`` counts from 0, ``loss`` and ``top1`` (%) are its own so far."""
        now = time.monotonic()
        position = epoch * steps + done
        if self.first is None:
            # The first call gives the position of a resumed training, not the time that it took.
            self.first = (position, now)
            return
        before, started = self.first
        a_step = (now - started) / (position - before)
        left = a_step * (self.settings.epochs * steps - position)
        figures = (
            f"loss {loss:.3f}  top-1 {top1:.1f} %  "
            f"{self.settings.batch_size / a_step:,.0f} images/s  {clock(left)} left"
        )
        self.bar.update(
            self.task,
            completed=done,
            total=steps,
            description=f"epoch {epoch + 1}/{self.settings.epochs}",
            figures=figures,
        )

    def epoch(self, row: dict[str, Any]) -> None:
        """Write a finished epoch's line: loss and top-1 by split, images per second, time left."""
        now = time.monotonic()
        if self.epochs_done == 0:
            self.epochs_began = now - row["seconds"]
        self.epochs_done += 1
        total = self.settings.epochs
        left = (now - self.epochs_began) / self.epochs_done * (total - row["epoch"])
        splits = [
            f"{split} {row[f'{split}_top1']:.2f} % (loss {row[f'{split}_loss']:.3f})"
            for split in ("train", "validation", "test")
            if f"{split}_top1" in row
        ]
        parts = [f"epoch {row['epoch']:{len(str(total))}}/{total}", f"top-1: {', '.join(splits)}"]
        parts.append(f"{row['images_per_s']:,.0f} images/s")
        parts.append(f"{clock(left)} left" if row["epoch"] < total else "done")
        self.console.print("  ".join(parts), highlight=False, soft_wrap=True)


def clock(seconds: float) -> str:
    """Return ``1:02:03`` or ``2:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
