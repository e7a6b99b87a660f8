"""A result row as the report reads it; a missing value or one that is no number is None."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ghostnet_small.errors import printable
from ghostnet_small.provenance import commit_text
from ghostnet_small.run.records import look, number, sequence, text


@dataclass(frozen=True)
class RunRow:
    """A finished run. ``top1`` and ``agreement`` are in %, ``calibration_error`` in 0..1.

    ``strategy`` is None for a teacher or assistant. ``curve`` holds ``(epoch, top1)``.
    """

    name: str
    strategy: str | None
    network: str | None
    width: float | None
    seed: int | None
    teachers: tuple[str, ...]
    top1: float | None
    correct: float | None
    total: float | None
    loss: float | None
    calibration_error: float | None
    best_on_test: float | None
    agreement: float | None
    params: float | None
    macs: float | None
    seconds: float | None
    images_per_s: float | None
    epochs: int
    curve: tuple[tuple[float, float], ...]
    commit: str
    distill: Mapping[str, Any] | None


def split_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """The split that all runs are judged by: test, or validation where no run has read test."""
    tested = any(number(row, "last", "test_top1") is not None for row in rows)
    return "test" if tested or not rows else "validation"


def curve_split_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """The split whose top-1 by epoch is drawn: validation, or train where no run has it."""
    held_out = any("validation_top1" in epoch for row in rows for epoch in epochs_of(row))
    return "validation" if held_out else "train"


def read_run(row: Mapping[str, Any], split: str, curve_split: str) -> RunRow:
    """A row's figures on ``split``."""
    strategy = look(row, "study", "strategy")
    seed = number(row, "seed")
    distill = look(row, "distill")
    width = number(row, "study", "width")
    recipe = text(row, "recipe", "name") or "run"
    name = text(row, "study", "run") or f"{recipe}, seed {look(row, 'seed')}"
    points = [
        (number(epoch, "epoch"), number(epoch, f"{curve_split}_top1")) for epoch in epochs_of(row)
    ]
    return RunRow(
        name=name,
        strategy=None if strategy is None else printable(str(strategy)),
        network=text(row, "recipe", "model", "name"),
        width=number(row, "recipe", "model", "width") if width is None else width,
        seed=None if seed is None else int(seed),
        teachers=tuple(printable(str(one)) for one in sequence(row, "study", "teachers")),
        top1=number(row, "last", f"{split}_top1"),
        correct=number(row, "last", f"{split}_correct"),
        total=number(row, "last", f"{split}_total"),
        loss=number(row, "last", f"{split}_loss"),
        calibration_error=number(row, "last", f"{split}_calibration_error"),
        best_on_test=number(row, "best_on_test", "top1"),
        agreement=number(row, "distill", "agreement"),
        params=number(row, "model", "params", "deployed"),
        macs=number(row, "model", "macs", "deployed"),
        seconds=number(row, "wall_seconds"),
        images_per_s=number(row, "images_per_s"),
        epochs=len(epochs_of(row)),
        curve=tuple((x, y) for x, y in points if x is not None and y is not None),
        commit=commit_of(row),
        distill=distill if isinstance(distill, Mapping) else None,
    )


def epochs_of(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The row's epochs."""
    return [epoch for epoch in sequence(row, "epochs") if isinstance(epoch, Mapping)]


def commit_of(row: Mapping[str, Any]) -> str:
    """The commit, shortened, and whether the checkout had changes."""
    return commit_text(text(row, "commit"), look(row, "dirty"))
