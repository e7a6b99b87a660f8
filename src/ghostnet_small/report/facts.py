"""The head of a report: what ran, on what, and where it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ghostnet_small.report.comparison import Comparison
from ghostnet_small.report.runs import commit_of
from ghostnet_small.report.study_rows import StudyRecord
from ghostnet_small.report.words import NONE, count, counted, duration, each
from ghostnet_small.run.records import look, number, sequence, text

FINGERPRINT_DIGITS = 12


def facts(content: StudyRecord, comparison: Comparison) -> list[tuple[str, str]]:
    """Name and text of each fact, in the order of reading."""
    rows, failed = content.rows, len(content.failed)
    planned = max(content.planned, len(rows) + failed)
    finished = f"{len(rows):,} of {planned:,} finished"
    if failed:
        finished += f", {failed:,} failed or not started"
    seeds = sorted({run.seed for run in comparison.students if run.seed is not None})
    seconds = [value for row in rows if (value := number(row, "wall_seconds")) is not None]
    return [
        ("runs", finished),
        ("baseline", comparison.baseline),
        ("seeds", each(seeds)),
        ("data", each(_data(row) for row in rows)),
        ("judged on", _judged(comparison)),
        ("epochs", each(sorted({run.epochs for run in comparison.students}))),
        ("device", each(_device(row) for row in rows)),
        ("training time", f"{duration(sum(seconds))} in all" if seconds else NONE),
        ("commit", each(commit_of(row) for row in rows)),
    ]


def provenance(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Versions of the libraries, and of Python and the platform where rows name them."""
    found: dict[str, list[str]] = {}
    for row in rows:
        libraries = look(row, "libraries")
        for name in sorted(libraries) if isinstance(libraries, Mapping) else ():
            found.setdefault(name, []).append(text(libraries, name) or NONE)
    for key in ("python", "platform"):
        values = [value for row in rows if (value := text(row, key)) is not None]
        if values:
            found[key] = values
    return [(text({"": name}, "") or NONE, each(values)) for name, values in found.items()]


def class_counts(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the numbers of classes that the data of the rows have, each once."""
    return list(dict.fromkeys(len(sequence(row, "data", "classes")) for row in rows))


def _data(row: Mapping[str, Any]) -> str:
    splits = ("train", "validation", "test")
    sizes = [(split, number(row, "data", f"{split}_images")) for split in splits]
    pictures = " + ".join(f"{count(size)} {split}" for split, size in sizes if size)
    number_of_classes = len(sequence(row, "data", "classes"))
    classes = f"{number_of_classes} {'class' if number_of_classes == 1 else 'classes'}"
    fingerprint = (text(row, "data", "fingerprint") or NONE)[:FINGERPRINT_DIGITS]
    return f"{pictures or 'no known'} images, {classes} (fingerprint {fingerprint})"


def _judged(comparison: Comparison) -> str:
    if not comparison.runs:
        return NONE
    if comparison.split == "test":
        return "the test split, read once a run, at its end"
    return "the validation split, for no run has read a test split"


def _device(row: Mapping[str, Any]) -> str:
    name, threads = text(row, "device", "name") or NONE, number(row, "device", "threads")
    if look(row, "device", "kind") != "cpu" or threads is None:
        return name
    return f"{name} ({counted(int(threads), 'thread')})"
