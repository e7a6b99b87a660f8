from __future__ import annotations

from pathlib import Path

import pytest

from ghostnet_small.errors import InputError
from ghostnet_small.run.records import append_record, append_row, read_records, read_rows
from makers import summary


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


def test_records_come_back_as_they_were(results: Path) -> None:
    file = results / "cifar10-cpu.jsonl"
    records = [summary(0), summary(1, note="é\n|")]
    for record in records:
        append_record(record, file)
    assert read_records(file) == records
    assert len(file.read_bytes().splitlines()) == 2


def test_a_run_is_recorded_once(results: Path) -> None:
    file = results / "cifar10-cpu.jsonl"
    append_record(summary(), file)
    before = file.read_bytes()
    with pytest.raises(InputError, match="holds this run already as record 1"):
        append_record(summary(), file)
    assert file.read_bytes() == before
    append_record(summary(wall_seconds=2466.5), file)  # run again: another run
    assert len(read_records(file)) == 2


def test_a_summary_without_its_figures_is_no_record(results: Path) -> None:
    unfinished = summary()
    del unfinished["last"], unfinished["epochs"]
    with pytest.raises(InputError, match="lacks last, epochs"):
        append_record(unfinished, results / "a.jsonl")
    assert not results.exists()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"a": ', "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b"\xff", "not a JSON object"),
        (b"", "not a JSON object"),
        (b'{"seed": 0}', "lacks recipe, recipe_hash, commit"),
    ],
)
def test_a_bad_line_is_named_and_kept(line: bytes, why: str, results: Path) -> None:
    file = results / "a.jsonl"
    append_record(summary(), file)
    with file.open("ab") as end:
        end.write(line + b"\n")
    before = file.read_bytes()
    with pytest.raises(InputError, match=rf"a\.jsonl, line 2 .*{why}"):
        read_records(file)
    with pytest.raises(InputError, match="line 2"):
        append_record(summary(1), file)
    assert file.read_bytes() == before


def test_a_missing_file_says_how_to_make_it(results: Path) -> None:
    with pytest.raises(InputError, match=r"python tools/maintain\.py record"):
        read_records(results / "none.jsonl")


def test_names_that_are_no_text_come_back(results: Path) -> None:
    row = {"classes": ["b\udce4r", "bär"]}
    append_row(row, results)
    assert read_rows(results) == [row] and "bär" in results.read_text(encoding="utf-8")


def test_measurements_come_back_and_a_bad_line_stops_them(results: Path) -> None:
    file = results / "kills.jsonl"
    append_row({"kills": 1}, file)
    append_row({"kills": 2, "what": "é"}, file)
    assert read_rows(file) == [{"kills": 1}, {"kills": 2, "what": "é"}]
    with file.open("ab") as end:
        end.write(b"[" * 100_000 + b"\n")
    before = file.read_bytes()
    with pytest.raises(InputError, match="line 3 is not a JSON object"):
        append_row({"kills": 3}, file)
    assert file.read_bytes() == before
