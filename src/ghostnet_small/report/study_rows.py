"""The input of a report."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ghostnet_small.study.study_plan import Published


@dataclass(frozen=True)
class StudyRecord:
    """The rows of a study's finished runs, the runs without a row, and how to name them.

    ``rows`` are summaries of runs with a key ``study``; ``failed`` holds ``run``, ``status``
    and ``reason`` of each run that failed or was not started; ``planned`` counts all runs.
    """

    name: str
    about: str
    baseline: str
    published: Published | None
    rows: list[dict[str, Any]]
    failed: list[dict[str, Any]] = field(default_factory=list)
    planned: int = 0
