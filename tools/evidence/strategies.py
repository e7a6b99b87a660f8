"""The table of a study's strategies, each compared with the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evidence.rows import all_rows, named_file
from evidence.teacher_costs import teachers_in_epochs
from ghostnet_small.errors import InputError
from ghostnet_small.report.comparison import compare, over, top1
from ghostnet_small.report.confidence import Estimate
from ghostnet_small.report.study_report import study_record
from ghostnet_small.report.study_rows import StudyRecord
from ghostnet_small.report.table_cells import markdown_table
from ghostnet_small.report.words import (
    NONE,
    count,
    counted,
    interval,
    plain,
    probability,
    signed,
    spread,
    width_text,
)
from ghostnet_small.run.records import Record, look


def strategies_table(results: Path, names: Sequence[str]) -> tuple[str, list[Path]]:
    """A row for each width and strategy of the study called by the one of ``names``.

    Differences are in points to the baseline of the same width, paired by seed, with p-values
    that are corrected for all of them, as the study's report has them.
    """
    content, file = named_study(results, names, "strategies")
    comparison, others = compare(content), all_rows(results)
    everything = [
        {
            "strategy": strategy if len(comparison.widths) == 1 else _named(strategy, width),
            "n": str(len(runs)),
            f"{comparison.split} top-1, %": spread(over(runs, top1)),
            "difference, points": difference_cell(comparison.difference(width, strategy)),
            "p, corrected": p_cell(comparison.difference(width, strategy)),
            "test loss, nats": plain(_mean(over(runs, lambda run: run.loss)), 3),
            "ECE": plain(_mean(over(runs, lambda run: run.calibration_error)), 3),
            "teachers' training, epochs of the student": _teachers(
                content.rows, others, width, strategy
            ),
        }
        for (width, strategy), runs in comparison.groups.items()
    ]
    # A column stands where some row has the figure.
    titles = [title for title in everything[0] if any(row[title] != NONE for row in everything)]
    table = markdown_table(titles, [[row[title] for title in titles] for row in everything])
    return f"{table}\n\n{tested_note(list(comparison.differences.values()))}", [file]


def named_study(results: Path, names: Sequence[str], kind: str) -> tuple[StudyRecord, Path]:
    """The study that a table of ``kind`` names, and its file of rows."""
    if len(names) != 1:
        raise InputError(
            f"table '{' '.join((kind, *names))}' must name one study; write such as {kind} NAME, "
            f"for the folder {results}/NAME"
        )
    file = named_file(results, names[0])
    return study_record(file.parent), file


def difference_cell(found: Estimate | None) -> str:
    """A difference and its 95 % interval."""
    if found is None:
        return NONE
    return signed(found.mean) + (f" {interval(found)}" if found.half is not None else "")


def p_cell(found: Estimate | None) -> str:
    """A p-value, and whether it is significant."""
    return NONE if found is None else probability(found.p) + (", significant" * found.real)


def tested_note(differences: Sequence[Estimate]) -> str:
    """Say how many differences were tested, and how many of them are significant."""
    real = sum(one.real for one in differences)
    tested = counted(sum(one.p is not None for one in differences), "difference")
    return (
        f"{tested} tested, p corrected by Holm's method: {real or 'none'} significant. In "
        "brackets: 95 % intervals, each by itself."
    )


def _named(strategy: str, width: float | None) -> str:
    return f"{strategy}, width {width_text(width)}"


def _mean(found: Estimate | None) -> float | None:
    return None if found is None else found.mean


def _teachers(
    rows: Sequence[Record], others: Sequence[Record], width: float | None, strategy: str
) -> str:
    """The cost of a strategy's teachers for its first student; the others share them, or have as
    many."""
    student = next(
        row
        for row in rows
        if (look(row, "study", "strategy"), look(row, "study", "width")) == (strategy, width)
    )
    if not look(student, "distill", "teachers"):
        return NONE
    spent = teachers_in_epochs(student, rows, others)
    return "not recorded" if spent is None else count(spent)
