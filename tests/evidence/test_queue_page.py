from __future__ import annotations

from pathlib import Path

import pytest

from evidence.queue_page import missing_of, next_text, write_queue
from evidence_kit import H100, cells, row_of
from ghostnet_small.run.records import append_record
from ghostnet_small.study.planning import plan_study
from ghostnet_small.study.study_plan import PlannedRun, Study
from maintain import main

ROOT = Path(__file__).parents[2]
# What it is about is the first sentence of its comment.
LONG = """# Does it reach | more
# in 200 epochs? By validation.
#
# Command: none of this
name: Long
recipe: gns-w1.0-cifar10
settings: {train: {batch_size: 64}}
students: {seeds: [0, 1, 2], strategies: {baseline: {}}}
"""
SHORT = """# A wider one.
name: Short
recipe: gns-w1.0-cifar10-8ep
students: {widths: [1.3], seeds: [0], strategies: {baseline: {}, kd: {teachers: [elsewhere]}}}
"""
DIGITS = "name: Digits\nrecipe: quickstart-digits\nstudents: {seeds: [0], strategies: {a: {}}}\n"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    (tmp_path / "results").mkdir()
    for name, text in {"long": LONG, "short": SHORT, "digits": DIGITS}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return [tmp_path / f"{name}.yaml" for name in ("long", "short", "digits")]


def planned(file: Path) -> Study:
    return plan_study(file, [], Path("out"), outside=True)


def record(run: PlannedRun, results: Path, study: str = "Long", **changes: object) -> None:
    about = {"name": study, "run": run.name, "strategy": run.strategy}
    append_record(row_of(run.recipe, 90.0, study=about, **changes), results / "rows.jsonl")


def write(files: list[Path], check: bool = False) -> tuple[dict[str, object], str]:
    results = files[0].parent / "results"
    out = results / "queue.md"
    value = write_queue(files, results, out, check)
    return value, out.read_text() if out.exists() else ""


def test_the_page_says_what_comes_next_and_what_it_costs(files: list[Path]) -> None:
    results, runs = files[0].parent / "results", planned(files[0]).runs
    record(runs[0], results)
    record(runs[1], results, device=H100, images_per_s=20_000.0)
    _, page = write(files)
    # The cheapest first; a set of unknown size is left out.
    short, long = cells(page)
    assert long == {
        "study": "long",
        "about": r"Does it reach \| more in 200 epochs?",
        "missing runs": "1 x 200 epochs",
        "on 2 CPU cores": "2.5 h",
        "on an H100": "0.1 h",
    }
    assert short["study"] == "short" and short["missing runs"] == "2 x 8 epochs"
    assert short["on an H100"].startswith("about ")
    speeds = "ghostnetv3_small 1.0 on 2 CPU cores: 1,000; ghostnetv3_small 1.0 on an H100: 20,000"
    assert f"Images a second: {speeds}." in page and "Done" not in page


def test_what_is_done_leaves(files: list[Path]) -> None:
    results = files[0].parent / "results"
    for run in planned(files[0]).runs:
        record(run, results)
    value, page = write(files[:1])
    assert value["done"] == ["long"] and "Done: long." in page and "Nothing waits." in page


def test_a_check_writes_nothing(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    results = files[0].parent / "results"
    monkeypatch.chdir(results.parent)
    assert write(files, check=True)[0]["changed"] and not (results / "queue.md").exists()
    assert main(["queue", "long.yaml", "--check"]) == 3
    assert main(["queue", "long.yaml"]) == 0
    assert main(["queue", "long.yaml", "--check"]) == 0
    record(planned(files[0]).runs[0], results)
    assert main(["queue", "long.yaml", "--check"]) == 3


def test_rows_of_another_run_or_study_do_not_count(files: list[Path]) -> None:
    study = planned(files[0])
    first, second, third = study.runs

    def row(one: PlannedRun, **about: str) -> dict[str, object]:
        return row_of(one.recipe, 90.0, study={"name": "Long", "run": one.name, **about})

    assert missing_of(study, [row(first)]) == [second, third]
    others = [row(first, name="Another"), row(second, run="kd-s1")]
    assert missing_of(study, others) == [first, second, third]
    assert missing_of(study, [row_of(first.recipe, 90.0)]) == [first, second, third]


def test_a_sentence_can_hold_what_a_study_lacks(tmp_path: Path) -> None:
    text = next_text("headline", tmp_path)
    assert text == "7 runs, on 2 CPU cores not measured, or on an H100 not measured"


def test_the_committed_page_is_what_the_command_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["queue", "--check"]) == 0, "write it again with: python tools/maintain.py queue"
