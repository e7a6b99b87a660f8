"""The cost of training a student's teachers, in epochs of that student."""

from __future__ import annotations

from collections.abc import Sequence

from evidence.rows import Rows, width_of
from ghostnet_small.report.table_cells import recipe_name
from ghostnet_small.run.records import Record, look, number, sequence


def teachers_in_epochs(student: Record, rows: Rows, others: Rows) -> float | None:
    """Return the multiply-accumulates that trained the teachers of ``student``, and theirs, as
    epochs of the student; None where one of them has no row.

    Teachers are runs of the same study, whose ``rows`` are given, or are found in ``others`` by
    their recipe, width and accuracy. Their answers, one forward pass a view, are not counted, and
    neither is what they were pre-trained on.
    """
    spent = 0.0
    for teacher in _teachers(student, rows, others):
        if teacher is None:
            return None
        spent += len(teacher["epochs"]) * _of_epoch(teacher)
    return spent / _of_epoch(student)


def _teachers(run: Record, rows: Rows, others: Rows) -> Sequence[Record | None]:
    """The teachers of ``run`` and theirs, each once; None for one without a row."""
    found: list[Record | None] = []
    for named in sequence(run, "distill", "teachers"):
        teacher = next(
            (row for row in rows if look(row, "study", "run") == look(named, "name")), None
        ) or next((row for row in others if _is(row, named)), None)
        theirs = [] if teacher is None else _teachers(teacher, rows, others)
        found += [one for one in (teacher, *theirs) if one is None or one not in found]
    return found


def _is(row: Record, named: Record) -> bool:
    same = (recipe_name(row), width_of(row)) == (look(named, "recipe"), look(named, "width"))
    top1 = number(row, "last", "test_top1"), number(named, "test_top1")
    return same and None not in top1 and round(top1[0] or 0, 2) == round(top1[1] or 0, 2)


def _of_epoch(run: Record) -> float:
    return float(run["data"]["train_images"] * run["model"]["macs"]["training"])
