from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from evidence.tables import render_tables
from evidence_kit import row, write_facts
from ghostnet_small.errors import InputError
from ghostnet_small.run.records import append_record, append_row
from makers import summary

DOCUMENT = "# A\n\n<!-- table: cifar10-cpu -->\nold\n<!-- end table -->\n\nafter\n"


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
            "correct / images": "8,350 / 10,000",
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
    together = summary(3, 84.0, processes=2)
    for record in (summary(0, 83.0), other, summary(1, 84.0), moved, together):
        append_record(record, file)
    render_tables(document, results)
    first, second, third = cells(document)
    assert first["test top-1 of the last epoch, %"] == "84.00 ± 1.00 (EMA)"
    assert first["runs (seeds)"] == "n = 3 (0, 1, 2)"
    assert first["correct / images"] == "8,300, 8,400, 8,500 / 10,000"
    assert first["best epoch chosen on test, %"] == "-"
    assert second["recipe"] == "bbbbbbbb"
    assert second["test top-1 of the last epoch, %"] == "60.00"
    assert second["best epoch chosen on test, %"] == "61.25 (epoch 1)"
    assert second["time"] == "1 h 02 min"
    assert second["commit"] == "fedcba98 with changes"
    assert third["device"] == "A CPU, 2 threads, 2 processes"
    assert third["runs (seeds)"] == "n = 1 (3)"


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


def test_a_row_that_makes_no_value_is_an_input_error(results: Path, document: Path) -> None:
    bad = row(0, 83.0, device="cpu")
    results.mkdir()
    (results / "cpu.jsonl").write_text(json.dumps(bad) + "\n")
    document.write_text("It is <!-- value: cpu n --><!-- end value -->.\n")
    with pytest.raises(InputError, match="does not fit the values and figures of"):
        render_tables(document, results)


def test_tables_of_several_files_pictures_and_values_are_made_together(
    results: Path, document: Path
) -> None:
    write_facts(results)
    append_record(row(0, 83.0), results / "cpu.jsonl")
    document.write_text(
        "<!-- table: accuracy cpu -->\n<!-- end table -->\n\n"
        "<!-- picture: curves cpu -->\n<!-- end picture -->\n\n"
        "It is <!-- value: cpu n --><!-- end value -->.\n"
    )
    assert render_tables(document, results, check=True) is False
    assert not (results / "plots").exists()
    render_tables(document, results)
    text = document.read_text()
    assert (
        "From `results/cpu.jsonl`, `results/published.yaml` by `python tools/maintain.py tables"
        in text
    )
    assert "It is <!-- value: cpu n -->1<!-- end value -->." in text
    assert cells(document)[0]["recipe"] == "small"
    document.write_text("<!-- table: cpu -->\n<!-- end table -->\n")
    render_tables(document, results)
    assert cells(document)[0]["runs (seeds)"] == "n = 1 (0)"
    assert (results / "plots" / "curves-cpu.png").is_file()
    assert render_tables(document, results, check=True) is True


def test_a_missing_document_is_named(results: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no document .*nowhere\.md"):
        render_tables(tmp_path / "nowhere.md", results)


ROWS = [
    {"pictures": 50_000, "seconds": 3.14159, "kind": "a|b", "device": "A CPU", "commit": "abc"},
    {"pictures": 12, "seconds": 1234.5, "ratio": 0.98765, "device": "A CPU", "commit": "abd"},
]


def test_measurements_are_shown_under_their_own_names(results: Path, document: Path) -> None:
    document.write_text(DOCUMENT.replace("cifar10-cpu", "decoding"))
    for one in ROWS:
        append_row(one, results / "decoding.jsonl")
    render_tables(document, results)
    lines = [line for line in document.read_text().splitlines() if line.startswith("|")]
    assert lines == [
        "| images | seconds | kind | ratio | commit |",
        "| --- | --- | --- | --- | --- |",
        r"| 50,000 | 3.14 | a\|b | - | abc |",
        "| 12 | 1,234 | - | 0.988 | abd |",
    ]
    assert "\n\nIn every row: device A CPU.\n\nFrom " in document.read_text()


def test_a_mark_selects_rows(results: Path, document: Path) -> None:
    for one in (*ROWS, {**ROWS[1], "seconds": 1.0}):
        append_row(one, results / "decoding.jsonl")
    document.write_text(DOCUMENT.replace("cifar10-cpu", "decoding images=12 'device=A CPU'"))
    render_tables(document, results)
    assert [row["seconds"] for row in cells(document)] == ["1,234", "1"]
    assert "<!-- table: decoding images=12 'device=A CPU' -->" in document.read_text()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("images", "'images' in table .* selects no rows; write TITLE=CELL, .* seconds"),
        ("size=12", "'size=12' in table .* one of the titles images, seconds"),
        ("images=13", "images is never '13'; choose one of .*50,000.*12"),
        ("'pictures", "No closing quotation"),
    ],
)
def test_a_selection_of_nothing_is_an_input_error(
    words: str, why: str, results: Path, document: Path
) -> None:
    for one in ROWS:
        append_row(one, results / "decoding.jsonl")
    document.write_text(DOCUMENT.replace("cifar10-cpu", f"decoding {words}"))
    with pytest.raises(InputError, match=why):
        render_tables(document, results)


def test_runs_of_a_reader_are_one_row(results: Path, document: Path) -> None:
    one = {
        "reader": "idx",
        "inputs": 1000,
        "of the processor, hours": 0.1,
        "findings": 1,
        "commit": "abc",
    }
    append_row(one, results / "fuzz.jsonl")
    append_row({**one, "findings": 0, "commit": "d"}, results / "fuzz.jsonl")
    append_row({**one, "reader": "npz"}, results / "fuzz.jsonl")
    document.write_text(DOCUMENT.replace("cifar10-cpu", "fuzz"))
    render_tables(document, results)
    assert "In every row: findings 1." in document.read_text()
    first, second = cells(document)
    assert list(first.values()) == ["idx", "2,000", "12", "d"]
    assert list(second.values()) == ["npz", "1,000", "6", "abc"]


def test_a_step_is_shown_by_its_newest_code_alone(results: Path, document: Path) -> None:
    def step_row(step: str, commit: str, **asked: int) -> dict[str, object]:
        where = {"width": 1.0, "batch": 256, "threads": 2, **asked}
        return {"step": step, **where, "device": "A CPU", "commit": commit}

    document.write_text(DOCUMENT.replace("cifar10-cpu", "step-parts"))
    for one in (
        step_row("the whole", "old"),
        step_row("a part of old", "old"),
        step_row("the whole", "old", threads=1),
        step_row("the whole", "new"),
        step_row("a new part", "new"),
    ):
        append_row(one, results / "step-parts.jsonl")
    render_tables(document, results)
    lines = [line for line in document.read_text().splitlines() if line.startswith("|")][2:]
    assert lines == [
        "| the whole | 1 | old |",
        "| the whole | 2 | new |",
        "| a new part | 2 | new |",
    ]
