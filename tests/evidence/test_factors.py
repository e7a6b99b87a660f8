from __future__ import annotations

import re
from pathlib import Path

import pytest

from evidence.factors import factors_table
from evidence_kit import DIAGNOSIS, cells, write_made_study
from ghostnet_small.errors import InputError
from ghostnet_small.report.words import MINUS
from ghostnet_small.study.study_plan import PlannedRun

# Seeds differ by a point each; what is added to them hardly does.
ADDED = {
    "plain": 0.0,
    "kd": -1.0,
    "plain-unshuffled": -2.0,
    "kd-unshuffled": -5.0,
    "kd-T1": -1.5,
    "plain-smooth": 0.5,
    "self": 0.25,
}
ALONE, TAUGHT, LESS = "from scratch, %", "distilled, %", "distilled less from scratch"


def top1(run: PlannedRun) -> float:
    wobble = 0.01 * run.seed if run.strategy != "plain" else 0.0
    return 80.0 + run.seed + wobble + ADDED.get(run.strategy or "", 10.0)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    results = tmp_path_factory.mktemp("factors") / "results"
    write_made_study(results, top1)
    return cells(factors_table(results, ["diagnosis"])[0])


def test_each_factor_has_a_line(table: list[dict[str, str]]) -> None:
    assert [one["changed"] for one in table] == [
        "nothing",
        "`train.shuffle True -> False`",
        "`distill.temperature 4.0 -> 1.0`",
        "distilled from plain",
        "`train.label_smoothing 0.0 -> 0.1`",
    ]
    # The figures are those of the last epoch: the best on test is a point higher.
    assert table[0][ALONE] == "81.00 ± 1.00"


def test_effects_are_against_the_unchanged_and_the_own_baseline(
    table: list[dict[str, str]],
) -> None:
    unchanged, shuffled, temperature, own, smooth = table
    alone_effect, taught_effect = "effect from scratch", "effect when distilled"
    assert unchanged[alone_effect] == unchanged[taught_effect] == "-"
    assert unchanged[LESS] == minus("-0.99 [-1.01, -0.97], p < 0.001, significant")
    assert shuffled[alone_effect].startswith(minus("-1.99 [-2.01, -1.97], p "))
    # An effect whose seeds do not vary has no interval and is not tested.
    assert shuffled[taught_effect] == minus("-4.00")
    assert shuffled[LESS] == minus("-3.00")
    # Where a change concerns teaching alone, its own baseline is the unchanged one.
    assert temperature[ALONE] == unchanged[ALONE] and temperature[alone_effect] == "-"
    assert temperature[LESS].startswith("\N{MINUS SIGN}1.49") and own[LESS].startswith("+0.26")
    assert smooth[TAUGHT] == smooth[LESS] == "-"
    assert smooth[alone_effect].startswith("+0.51")


def test_p_values_are_corrected_for_all_effects_of_the_table(tmp_path: Path) -> None:
    results = tmp_path / "results"
    added = {"kd": (1.0, 1.5, 1.0), "plain-smooth": (0.1, -0.1, 0.3)}
    write_made_study(
        results, lambda run: 80.0 + run.seed + added.get(run.strategy or "", (0.0,) * 3)[run.seed]
    )
    text = factors_table(results, ["diagnosis"])[0]
    # Of kd less plain, and of three effects that are that but for their sign, p = 0.0198; smoothing
    # has more. The others do not vary. 5 x 0.0198 = 0.099.
    assert cells(text)[0][LESS] == "+1.17 [+0.45, +1.88], p 0.099"
    assert "5 differences tested, p corrected by Holm's method: none significant." in text


def minus(text: str) -> str:
    return re.sub("-(?=[0-9])", MINUS, text)


def test_a_study_without_factors_is_refused(tmp_path: Path) -> None:
    head = DIAGNOSIS.split("students:")[0]
    students = (
        "students: {seeds: [0], strategies: {plain: {}, x: {settings: {train: {epochs: 3}}}}}"
    )
    write_made_study(tmp_path / "results", lambda run: 80.0, head + students)
    with pytest.raises(InputError, match="has no factors: its baseline plain must have no teacher"):
        factors_table(tmp_path / "results", ["diagnosis"])
