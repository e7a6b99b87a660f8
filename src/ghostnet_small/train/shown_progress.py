"""The progress of a training started from Python: in a terminal, in a notebook, or hidden."""

from __future__ import annotations

import warnings
from types import TracebackType
from typing import Any

from rich.console import Console

from ghostnet_small.train.progress import TrainingProgress
from ghostnet_small.train.settings import TrainSettings


def quiet_console(progress: bool | None) -> Console:
    """Return a console on standard error that is silent unless ``progress`` is true.

    ``None`` shows progress where standard error is a terminal or in a notebook.
    """
    console = Console(stderr=True)
    shown = console.is_terminal or console.is_jupyter
    console.quiet = not (shown if progress is None else progress)
    return console


def shown_progress(
    settings: TrainSettings, progress: bool | None, *, main: bool = True
) -> TrainingProgress | NotebookProgress:
    """Return the progress display; of several processes only the ``main`` one shows it.

    ``progress`` as ``quiet_console`` takes it.
    """
    console = quiet_console(progress if main else False)
    if console.is_jupyter and not console.quiet:
        return NotebookProgress(settings)
    return TrainingProgress(settings, console, quiet=console.quiet)


class NotebookProgress:
    """A ``Watcher`` with one notebook bar for the whole training; used as a context.

    Without ipywidgets the bar is text.
    """

    def __init__(self, settings: TrainSettings) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tqdm's, that ipywidgets are missing
            from tqdm.auto import tqdm
        self.epochs, self.validation = settings.epochs, ""
        self.bar = tqdm(desc="reading the data")

    def __enter__(self) -> NotebookProgress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.close()

    def preparing(self, what: str, done: int, total: int) -> None:
        """Move the bar, labelled ``what``."""
        self._move(what, done, total)

    def step(self, epoch: int, done: int, steps: int, loss: float, top1: float) -> None:
        """Move the bar; ``epoch`` counts from 0, ``loss`` and ``top1`` (%) are its own so far."""
        figures = f"loss {loss:.3f}, top-1 {top1:.1f} %{self.validation}"
        self.bar.set_postfix_str(figures, refresh=False)
        self._move(f"epoch {epoch + 1}/{self.epochs}", epoch * steps + done, self.epochs * steps)

    def epoch(self, row: dict[str, Any]) -> None:
        """Keep showing a finished epoch's top-1 on validation."""
        if "validation_top1" in row:
            self.validation = f", validation {row['validation_top1']:.2f} %"

    def _move(self, what: str, done: int, total: int) -> None:
        if self.bar.total != total:
            self.bar.reset(total=total)
        self.bar.set_description_str(what, refresh=False)
        self.bar.update(done - self.bar.n)
