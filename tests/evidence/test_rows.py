from __future__ import annotations

from pathlib import Path

import pytest

from evidence.rows import (
    all_rows,
    chosen,
    groups,
    named_file,
    single_files,
    training_files,
)
from evidence_kit import H100, row
from ghostnet_small.errors import InputError
from ghostnet_small.run.records import append_record, append_row


@pytest.fixture
def results(tmp_path: Path) -> Path:
    append_record(row(0), tmp_path / "cpu.jsonl")
    append_record(row(1), tmp_path / "cpu.jsonl")
    append_record(row(2), tmp_path / "search-lr.jsonl")
    append_row({"seconds": 1.0}, tmp_path / "speed.jsonl")
    append_record(row(0), tmp_path / "study" / "results.jsonl")
    append_record(row(3), tmp_path / "study" / "results.jsonl")
    return tmp_path


def test_files_of_trainings_are_told_from_others(results: Path) -> None:
    assert list(training_files(results)) == ["cpu", "search-lr", "study"]
    assert list(single_files(results)) == ["cpu"]
    assert named_file(results, "study") == results / "study" / "results.jsonl"
    with pytest.raises(InputError, match=r"'gpu' is no file .* there are cpu, search-lr, study"):
        named_file(results, "gpu")


def test_rows_of_all_files(results: Path) -> None:
    assert sorted(one["seed"] for one in all_rows(results)) == [0, 0, 1, 2, 3]


def test_groups_differ_in_seeds_alone() -> None:
    taught = [
        row(0, study={"strategy": strategy}, distill={"teachers": [{"architecture": network}]})
        for strategy, network in (("kd", "a"), ("kd", "b"), ("chain", "a"))
    ]
    found = groups([row(0), row(1), row(2, device=H100), row(3, processes=2), *taught])
    assert [[one["seed"] for one in group] for group in found] == [[0, 1], [2], [3], [0], [0], [0]]


def test_keys_choose_one_group() -> None:
    rows = [row(0), row(1), row(0, device=H100), row(0, settings={"model": {"width": 2.8}})]
    found = chosen(rows, ["width=1", "device=A CPU, 2 threads"], "a value")
    assert [one["seed"] for one in found] == [0, 1]
    assert chosen(rows, ["width=2.8", "recipe=small", "set=cifar10", "epochs=2"], "x") == rows[3:]
    assert chosen(rows[:2], ["seed=1"], "x") == [rows[1]]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["width=3"], "no row has width='3'; width is one of 1, 2.8"),
        (["width=1"], "2 kinds of runs; choose one by device .'A CPU, 2 threads', NVIDIA|by"),
        (["colour=red"], "'colour' in a value is unknown; choose one of recipe, strategy"),
        (["small"], "'small' in a value chooses nothing; write KEY=VALUE"),
    ],
)
def test_what_chooses_not_one_group_is_refused(words: list[str], why: str) -> None:
    rows = [row(0), row(0, device=H100), row(0, settings={"model": {"width": 2.8}})]
    with pytest.raises(InputError, match=why):
        chosen(rows, words, "a value")
