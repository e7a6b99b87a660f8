"""The report of a study's folder, made only from its rows, so that it needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ghostnet_small.errors import InputError
from ghostnet_small.report.study_rows import StudyRecord
from ghostnet_small.report.words import NONE
from ghostnet_small.report.write import write_report
from ghostnet_small.run.records import read_records, read_rows, sequence, text
from ghostnet_small.study.runner import FAILED, RESULTS
from ghostnet_small.study.study_plan import FILE, read_study


def report_study(folder: Path) -> dict[str, Any]:
    """Write the report of the study in ``folder`` beside its rows; see ``write_report``.

    Raises ``InputError`` as ``study_record`` does.
    """
    content = study_record(folder)
    return {"study": content.name, **write_report(content, folder)}


def study_record(folder: Path) -> StudyRecord:
    """Return the record of the study in ``folder``.

    Raises ``InputError`` where there is no study, none of its runs is finished, or a row is
    damaged.
    """
    study = read_study(folder) if folder.is_dir() else None
    if study is None:
        raise InputError(
            f"{folder} is no study's folder (it holds no {FILE}); give the folder that study --out "
            "wrote"
        )
    results = folder / RESULTS
    rows = read_records(results) if results.exists() else []
    if not rows:
        raise InputError(
            f"no run of the study in {folder} is finished yet; go on with: ghostnet-small study"
        )
    failed = read_rows(folder / FAILED) if (folder / FAILED).exists() else []
    return StudyRecord(
        name=study.name,
        about=study.about,
        baseline=study.baseline or "",
        published=study.published,
        rows=rows,
        failed=[{**row, "reason": _reason(row)} for row in failed],
        planned=len(study.runs),
    )


def _reason(row: dict[str, Any]) -> str:
    """Return why a run failed, with the last of its output."""
    lines, reason = sequence(row, "last_lines"), text(row, "reason") or NONE
    return f"{reason}: {lines[-1]}" if lines else reason
