from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evidence.strategies import strategies_table
from evidence.teacher_costs import teachers_in_epochs
from evidence_kit import MACS, cells, row, write_made_study
from ghostnet_small.errors import InputError
from ghostnet_small.run.records import append_record, write_rows

TOP1 = {"plain": (80.0, 81.0, 82.0), "kd": (81.0, 82.5, 83.0), "self": (80.5, 80.5, 83.0)}


def test_differences_are_paired_and_corrected(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write_made_study(results, lambda run: TOP1.get(run.strategy or "", (79.0,) * 3)[run.seed])
    table, (source,) = strategies_table(results, ["diagnosis"])
    assert source == results / "diagnosis" / "results.jsonl"
    found = {one["strategy"]: one for one in cells(table)}
    assert found["plain"] == {
        "strategy": "plain",
        "n": "3",
        "test top-1, %": "81.00 ± 1.00",
        "difference, points": "-",
        "p, corrected": "-",
    }
    # A paired t of 7.0 with two degrees of freedom: p = 0.0198, the least of six.
    assert found["kd"]["difference, points"] == "+1.17 [+0.45, +1.88]"
    assert found["kd"]["p, corrected"] == "0.119"
    # The largest of the six stays as it is.
    assert found["self"]["p, corrected"] == "0.529"
    assert "6 differences tested" in table


def test_loss_calibration_and_the_cost_of_teachers_stand_beside_a_gain(tmp_path: Path) -> None:
    results = tmp_path / "results"
    rows = write_made_study(results, lambda run: 80.0 + run.seed)
    for one in rows:
        one["last"] |= {"test_loss": 0.4, "test_calibration_error": 0.0161}
        if one["study"]["strategy"] == "kd":
            one["distill"]["teachers"] = [{"name": "teacher"}]
    # The teacher trains for four times the epochs of its student, at twice the work an image.
    teacher = next(one for one in rows if one["study"]["run"] == "teacher")
    teacher["epochs"] = teacher["epochs"] * 4
    teacher["model"]["macs"] = {"training": 2 * MACS["training"]}
    write_rows(results / "diagnosis" / "results.jsonl", rows)
    found = {one["strategy"]: one for one in cells(strategies_table(results, ["diagnosis"])[0])}
    spent = "teachers' training, epochs of the student"
    assert [found["kd"][key] for key in ("test loss, nats", "ECE", spent)] == [
        "0.400",
        "0.016",
        "16",
    ]
    assert found["plain"][spent] == "-"


def test_teachers_of_teachers_count_once_and_one_without_a_row_is_said() -> None:
    def run(name: str, *teachers: str) -> dict[str, Any]:
        named = [{"name": teacher} for teacher in teachers]
        return row(study={"run": name}, distill={"teachers": named})

    rows = [run("a"), run("b", "a"), run("c", "a", "b")]
    assert teachers_in_epochs(run("student", "c"), rows, []) == 6
    assert teachers_in_epochs(run("student", "c", "elsewhere"), rows, []) is None
    named = {"name": "shipped", "recipe": "small", "width": 1.0, "test_top1": 80.0}
    student = row(distill={"teachers": [named]})
    assert teachers_in_epochs(student, [], [row(top1=81.0)]) is None
    assert teachers_in_epochs(student, [], [row(top1=81.0), row(top1=80.0)]) == 2


@pytest.mark.parametrize("names", [[], ["a", "b"]])
def test_one_study_must_be_named(names: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must name one study"):
        strategies_table(tmp_path, names)


def test_a_file_that_is_no_study_is_refused(tmp_path: Path) -> None:
    append_record(row(), tmp_path / "cpu.jsonl")
    with pytest.raises(InputError, match="no study"):
        strategies_table(tmp_path, ["cpu"])
