from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from ghostnet_small.errors import InputError
from ghostnet_small.study.records import append_record, read_records, render_tables

DOCUMENT = "# A\n\n<!-- table: cifar10-cpu -->\nold\n<!-- end table -->\n\nafter\n"


def summary(seed: int = 0, top1: float = 83.5, **changes: Any) -> dict[str, Any]:
    return {
        "recipe": {
            "name": "small",
            "data": {"root": "/somewhere", "validation": 0.1},
            "train": {"epochs": 2, "seed": seed, "ema_decay": 0.99},
        },
        "recipe_hash": "0123456789abcdef",
        "seed": seed,
        "commit": "fedcba9876543210",
        "dirty": False,
        "data": {"fingerprint": "f", "train_images": 45000, "classes": ["a", "b"]},
        "device": {"kind": "cpu", "name": "A CPU", "threads": 2},
        "libraries": {"torch": "2"},
        "wall_seconds": 2465.0 + seed,
        "images_per_s": 1234.4,
        "model": {
            "params": {"training": 483554, "deployed": 374174},
            "macs": {"training": 19634560, "deployed": 8962176},
        },
        "last": {"test_top1": top1, "test_correct": round(top1 * 100), "test_total": 10000},
        "epochs": [{"epoch": 1}, {"epoch": 2}],
    } | changes


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "README.md"
    path.write_text(DOCUMENT)
    return path


def cells(document: Path) -> list[dict[str, str]]:
    """The rows of the document's table, by column."""
    lines = [line for line in document.read_text().splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(table[0], row, strict=True)) for row in table[2:]]


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
    with pytest.raises(InputError, match="ghostnet-small record"):
        read_records(results / "none.jsonl")


def test_one_run_is_a_row_with_n_1(results: Path, document: Path) -> None:
    append_record(summary(), results / "cifar10-cpu.jsonl")
    assert render_tables(document, results) is False
    assert cells(document) == [
        {
            "recipe": "small",
            "training images": "45,000",
            "epochs": "2",
            "parameters, training / deployed": "483,554 / 374,174",
            "MACs, training / deployed": "19,634,560 / 8,962,176",
            "test top-1 of the last epoch, %": "83.50 (EMA)",
            "correct / pictures": "8,350 / 10,000",
            "runs (seeds)": "n = 1 (0)",
            "device": "A CPU, 2 threads",
            "time": "41 min",
            "images/s": "1,234",
            "commit": "fedcba98",
        }
    ]
    text = document.read_text()
    assert text.startswith("# A\n\n<!-- table: cifar10-cpu -->\n")
    assert text.endswith("<!-- end table -->\n\nafter\n")
    assert "old" not in text


def test_seeds_of_the_same_terms_share_a_row(results: Path, document: Path) -> None:
    file = results / "cifar10-cpu.jsonl"
    moved = summary(2, 85.0)
    moved["recipe"]["data"]["root"] = "/elsewhere"
    other = copy.deepcopy(summary(0, 60.0, wall_seconds=3700.0, recipe_hash="b" * 16, dirty=True))
    other["recipe"]["train"]["epochs"] = 16
    other["recipe"]["train"]["ema_decay"] = None
    del other["recipe"]["name"]
    other["best_on_test"] = {"epoch": 1, "top1": 61.25}
    for record in (summary(0, 83.0), other, summary(1, 84.0), moved):
        append_record(record, file)
    render_tables(document, results)
    first, second = cells(document)
    assert first["test top-1 of the last epoch, %"] == "84.00 ± 1.00 (EMA)"
    assert first["runs (seeds)"] == "n = 3 (0, 1, 2)"
    assert first["correct / pictures"] == "8,300, 8,400, 8,500 / 10,000"
    assert first["best epoch chosen on test, %"] == "-"
    assert second["recipe"] == "bbbbbbbb"
    assert second["test top-1 of the last epoch, %"] == "60.00"
    assert second["best epoch chosen on test, %"] == "61.25 (epoch 1)"
    assert second["time"] == "1 h 02 min"
    assert second["commit"] == "fedcba98 with changes"


def test_check_tells_and_writes_nothing(results: Path, document: Path) -> None:
    append_record(summary(), results / "cifar10-cpu.jsonl")
    assert render_tables(document, results, check=True) is False
    assert document.read_text() == DOCUMENT
    render_tables(document, results)
    assert render_tables(document, results, check=True) is True
    append_record(summary(1), results / "cifar10-cpu.jsonl")
    assert render_tables(document, results, check=True) is False


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<!-- table: other -->\n<!-- end table -->\n", "unknown table 'other'; .*cifar10-cpu"),
        ("<!-- table: cifar10-cpu -->\nrest\n", "has no end"),
        ("<!-- table: cifar10-cpu -->\nrest\n" + DOCUMENT, "has no end"),
    ],
)
def test_a_bad_marker_leaves_the_document(
    text: str, why: str, results: Path, document: Path
) -> None:
    append_record(summary(), results / "cifar10-cpu.jsonl")
    document.write_text(text)
    with pytest.raises(InputError, match=why):
        render_tables(document, results)
    assert document.read_text() == text


def test_a_record_that_does_not_fit_is_an_input_error(results: Path, document: Path) -> None:
    results.mkdir()
    bad = summary(device="cpu")
    (results / "cifar10-cpu.jsonl").write_text(json.dumps(bad) + "\n")
    with pytest.raises(InputError, match="does not fit table 'cifar10-cpu'"):
        render_tables(document, results)


def test_a_missing_document_is_named(results: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no document .*nowhere\.md"):
        render_tables(tmp_path / "nowhere.md", results)
