from __future__ import annotations

from pathlib import Path

import pytest

from evidence.strategies import strategies_table
from evidence_kit import cells, row, write_made_study
from ghostnet_small.errors import InputError
from ghostnet_small.run.records import append_record

TOP1 = {"plain": (80.0, 81.0, 82.0), "kd": (81.0, 82.5, 83.0), "self": (80.5, 80.5, 83.0)}


def test_differences_are_paired_and_real_where_zero_lies_outside(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write_made_study(results, lambda run: TOP1.get(run.strategy or "", (79.0,) * 3)[run.seed])
    table, (source,) = strategies_table(results, ["diagnosis"])
    assert source == results / "diagnosis" / "results.jsonl"
    found = {one["strategy"]: one for one in cells(table)}
    assert found["plain"] == {
        "strategy": "plain",
        "width": "1.0",
        "n": "3",
        "seeds": "0, 1, 2",
        "test top-1, %": "81.00 ± 1.00",
        "difference, points": "-",
        "95 % interval": "-",
        "verdict": "baseline",
        "best epoch chosen on test, %": "82.00 ± 1.00",
        "entropy of targets, nats": "-",
        "agreement with teacher, %": "-",
        "published, %": "91.37",
        "published difference": "-",
    }
    taught = found["kd"]
    assert taught["difference, points"] == "+1.17"
    assert (taught["95 % interval"], taught["verdict"]) == ("[+0.45, +1.88]", "significant")
    assert (taught["published, %"], taught["published difference"]) == (
        "90.90",
        "\N{MINUS SIGN}0.47",
    )
    assert taught["entropy of targets, nats"] == "0.500"
    assert found["self"]["verdict"] == "no significant difference"


@pytest.mark.parametrize("names", [[], ["a", "b"]])
def test_one_study_must_be_named(names: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must name one study"):
        strategies_table(tmp_path, names)


def test_a_file_that_is_no_study_is_refused(tmp_path: Path) -> None:
    append_record(row(), tmp_path / "cpu.jsonl")
    with pytest.raises(InputError, match="no study"):
        strategies_table(tmp_path, ["cpu"])
