"""Results of the verbs: a run, scores on a split, an exported file with its checks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghostnet_small.errors import InputError

if TYPE_CHECKING:
    from ghostnet_small.recipe.recipe import Recipe
    from ghostnet_small.use.classifier import Classifier


@dataclass(frozen=True)
class Scores:
    """Accuracy of a network or of an exported file on one split.

    ``top1``, ``balanced_accuracy`` and ``flip_top1`` (averaged with the answers to mirror images;
    None: not asked for) are in percent, ``loss`` is in nats, ``calibration_error`` is from 0 to 1.
    ``per_class`` has a row for each class: precision, recall and F1 in percent.
    """

    split: str
    top1: float
    loss: float
    correct: int
    total: int
    balanced_accuracy: float
    calibration_error: float
    per_class: list[dict[str, Any]]
    flip_top1: float | None = None


@dataclass(frozen=True)
class Run:
    """A finished run: its ``folder``, and the ``summary`` that lies there as ``summary.json``.

    Every verb takes it in place of its folder.
    """

    folder: Path
    summary: dict[str, Any]

    def __fspath__(self) -> str:
        return str(self.folder)

    @property
    def recipe(self) -> Recipe:
        """The recipe as it was resolved."""
        from ghostnet_small.run.run_folder import RunFolder

        return RunFolder.open(self.folder).recipe()

    @property
    def history(self) -> list[dict[str, Any]]:
        """A row for each epoch, as in ``metrics.jsonl``."""
        return list(self.summary["epochs"])

    @property
    def test(self) -> Scores:
        """Scores of the last epoch's weights on the test split.

        Raises ``InputError`` where the data have no test split: ``history`` has the validation's.
        """
        from ghostnet_small.run.run_folder import RunFolder

        last = self.summary["last"]
        if "test_top1" not in last:
            raise InputError(
                f"the data of {self.folder} have no test split; history has top-1 on the "
                "validation split"
            )
        return Scores(
            split="test",
            **{name: last[f"test_{name}"] for name in ("top1", "loss", "correct", "total")},
            # Runs of before there were such figures lack them.
            balanced_accuracy=last.get("test_balanced_accuracy", math.nan),
            calibration_error=last.get("test_calibration_error", math.nan),
            flip_top1=last.get("test_flip_top1"),
            per_class=RunFolder(self.folder).classes(),
        )


@dataclass(frozen=True)
class Fitted:
    """The result of ``fit``: its ``folder``, and the ``figures`` that its report shows."""

    folder: Path
    figures: dict[str, Any]

    @property
    def classifier(self) -> Classifier:
        """The int8 C file, compiled to run here."""
        from ghostnet_small.use.classifier import open_classifier

        return open_classifier(self.folder / "files" / "model.int8.c")

    @property
    def files(self) -> tuple[Path, ...]:
        """The files for devices."""
        return tuple(map(Path, self.figures["files"]))

    @property
    def report(self) -> Path:
        """The report, a page that loads nothing."""
        return self.folder / "report.html"


@dataclass(frozen=True)
class CheckedFile:
    """An exported file that was run and compared with the network before it was kept.

    ``files`` has its companions too, the file itself first. ``relative_error`` is that of its
    answers; ``agreement`` is the percentage of images to which it gives the network's class;
    ``top1`` (int8 only) has the percentages ``before`` and ``after``, and their ``split``.
    ``kept_in_float`` names the parts of an int8 file that are not in 8 bits. ``flash_bytes`` and
    ``ram_bytes`` (None: not known) are what it takes on a device, ``flash_counted`` says how that
    was counted.
    """

    format: str
    precision: str
    files: tuple[Path, ...]
    size_bytes: int
    relative_error: float
    agreement: float
    top1: dict[str, Any] | None
    kept_in_float: tuple[str, ...]
    flash_bytes: int
    flash_counted: str
    ram_bytes: int | None

    def __fspath__(self) -> str:
        return str(self.files[0])
