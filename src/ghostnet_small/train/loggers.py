"""Experiment loggers: TensorBoard and trackio behind one small interface."""

from __future__ import annotations

import importlib.util
import io
import logging
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, Protocol

from ghostnet_small.errors import InputError
from ghostnet_small.files import inner_folder, read_text, write_atomic
from ghostnet_small.train.interfaces import Interrupted, Watcher

PROJECT = "ghostnet-small"
_log = logging.getLogger(__name__)


class Logger(Protocol):
    """A log of a run's metrics while it trains."""

    def start(self, folder: Path, recipe: Mapping[str, Any], name: str) -> None:
        """Open the log of the run in ``folder``, or continue it; ``recipe`` is flat."""

    def log(self, row: Mapping[str, float], step: int) -> None:
        """Add metrics after ``step`` steps. After a killed run resumes, some come a second time."""

    def finish(self, status: str) -> None:
        """Close the log of a run that is "finished", "stopped" or "failed"."""


class TensorBoardLogger:
    """Event files in the run's folder ``tensorboard``."""

    def start(self, folder: Path, recipe: Mapping[str, Any], name: str) -> None:
        """As ``Logger`` says."""
        from torch.utils.tensorboard import SummaryWriter

        self._folder = inner_folder(folder / "tensorboard")
        self._about = "\n".join(f"    {key}: {value}" for key, value in recipe.items())
        self._open = SummaryWriter
        self._writer: Any = None

    def log(self, row: Mapping[str, float], step: int) -> None:
        """As ``Logger`` says; replaces metrics that are there for this step or later ones."""
        if self._writer is None:
            fresh = not any(self._folder.iterdir())
            self._writer = self._open(str(self._folder), purge_step=step)
            if fresh:
                self._writer.add_text("recipe", self._about, step)
        for name, value in row.items():
            self._writer.add_scalar(re.sub("^(train|validation|test)_", r"\1/", name), value, step)
        self._writer.flush()

    def finish(self, status: str) -> None:
        """As ``Logger`` says."""
        if self._writer is not None:
            self._writer.close()


class TrackioLogger:
    """A run of trackio's project ``ghostnet-small``; its name is in the run's file ``trackio``."""

    def start(self, folder: Path, recipe: Mapping[str, Any], name: str) -> None:
        """As ``Logger`` says."""
        import trackio

        kept = folder / "trackio"
        try:
            name = read_text(kept).strip()
        except FileNotFoundError:
            # A folder's name is not unique: every study has a run called "plain-s0".
            name = f"{name}-{uuid.uuid4().hex[:8]}"
            write_atomic(kept, f"{name}\n")
        # It prints how to view the project, which must not mix with a command's --json.
        with redirect_stdout(io.StringIO()):
            trackio.init(
                project=PROJECT, name=name, config=dict(recipe), resume="allow", embed=False
            )
        self._trackio = trackio

    def log(self, row: Mapping[str, float], step: int) -> None:
        """As ``Logger`` says."""
        self._trackio.log(dict(row), step=step)

    def finish(self, status: str) -> None:
        """As ``Logger`` says."""
        # Of the module: a run that only its own method has finished is finished again at exit.
        with redirect_stdout(io.StringIO()):
            self._trackio.finish()


# The names are also those of the required package and of the extra that installs it.
LOGGERS: dict[str, Callable[[], Logger]] = {
    "tensorboard": TensorBoardLogger,
    "trackio": TrackioLogger,
}


def check_loggers(names: Sequence[str]) -> None:
    """Raise ``InputError`` where the package of a logger is not installed."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise InputError(
                f"train.log {name} needs the package {name}, which is not installed; install it "
                f"with: pip install 'ghostnet-small[{name}]', or leave it out of train.log"
            )


class Logged:
    """A ``Watcher`` that also passes metrics to the loggers called ``names``.

    A logger that fails is dropped with a warning, and the run continues without it.
    """

    def __init__(self, watcher: Watcher, names: Sequence[str]) -> None:
        self.watcher = watcher
        self.loggers = {name: LOGGERS[name]() for name in names}
        self.last_step = 0

    @contextmanager
    def opened(self, folder: Path, recipe: Mapping[str, Any]) -> Iterator[None]:
        """Open the logs of the run in ``folder``, and close them with its final status."""
        name = folder.absolute().name
        self._tell(lambda logger: logger.start(folder, recipe, name))
        status = "failed"
        try:
            yield
            status = "finished"
        except (Interrupted, KeyboardInterrupt):
            status = "stopped"
            raise
        finally:
            self._tell(lambda logger: logger.finish(status))

    def preparing(self, what: str, done: int, total: int) -> None:
        """As ``Watcher`` says."""
        self.watcher.preparing(what, done, total)

    def step(self, epoch: int, done: int, steps: int, loss: float, top1: float) -> None:
        """As ``Watcher`` says."""
        self.watcher.step(epoch, done, steps, loss, top1)

    def epoch(self, row: dict[str, Any]) -> None:
        """As ``Watcher`` says."""
        self.watcher.epoch(row)
        self._log_epoch(row)

    def end(self, summary: Mapping[str, Any]) -> None:
        """Log the finished run's results on the test split."""
        row, last = summary["epochs"][-1], summary["last"]
        if row["step"] != self.last_step:
            # Killed after its last epoch. TensorBoard drops its values of the step it begins at.
            self._log_epoch(row)
        found = {name: last[name] for name in ("test_top1", "test_loss") if name in last}
        if found:
            self._tell(lambda logger: logger.log(found, row["step"]))

    def _log_epoch(self, row: Mapping[str, Any]) -> None:
        self.last_step = row["step"]
        figures = {name: value for name, value in row.items() if name != "step"}
        self._tell(lambda logger: logger.log(figures, row["step"]))

    def _tell(self, act: Callable[[Logger], None]) -> None:
        for name, logger in list(self.loggers.items()):
            try:
                act(logger)
            # Each library has its own errors, and none should end a training.
            except Exception as error:
                del self.loggers[name]
                _log.warning("train.log %s failed, the run continues without it: %s", name, error)
