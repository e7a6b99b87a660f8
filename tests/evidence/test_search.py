from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from evidence.rounds import rounds_table
from evidence.search import record_round
from evidence_kit import cells, row
from ghostnet_small.errors import InputError
from ghostnet_small.recipe.recipe import resolve_recipe
from ghostnet_small.run.records import read_rows
from ghostnet_small.run.run_folder import RunFolder
from maintain import main


def finished(
    place: Path, name: str, top1: float, seed: int = 0, epochs: int = 2, **optimizer: Any
) -> Path:
    """The folder of a finished run."""
    train = {"epochs": epochs, "seed": seed}
    settings = {"train": train, "optimizer": optimizer}
    folder = RunFolder(place / name)
    folder.create(resolve_recipe({"name": "small", "data": {"source": "cifar10"}, **settings}))
    found = row(seed, top1, settings)
    folder.save_metrics(found["epochs"])
    folder.save_summary(found)
    return place / name


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "results" / "search-lr.jsonl"


def test_rounds_keep_the_best_by_validation(tmp_path: Path, file: Path) -> None:
    runs = [
        finished(tmp_path, "base-s0", 80.0, 0, learning_rate=0.1),
        finished(tmp_path, "base-s1", 82.0, 1, learning_rate=0.1),
        finished(tmp_path, "slow", 80.5, learning_rate=0.05),
        finished(tmp_path, "fast", 81.5, learning_rate=0.2),
    ]
    found = record_round(runs, file, keep=2)
    assert found["round"] == 1
    changed = "optimizer.learning_rate 0.1 -> "
    assert [(one["candidate"], one["changes"], one["kept"]) for one in found["candidates"]] == [
        ("base", [], True),
        ("slow", [f"{changed}0.05"], False),
        ("fast", [f"{changed}0.2"], True),
    ]
    again = [
        finished(tmp_path, "fast-longer", 84.0, epochs=4, learning_rate=0.2),
        finished(tmp_path, "base-longer", 85.0, epochs=4, learning_rate=0.1),
    ]
    assert record_round(again, file, keep=1)["round"] == 2
    rows = read_rows(file)
    assert [one["search"]["round"] for one in rows] == [1] * 4 + [2] * 2
    # More epochs are no change: every candidate of the round has them.
    assert rows[-1]["search"] == {
        "round": 2,
        "candidate": "base-longer",
        "changes": [],
        "kept": True,
    }

    table, (source,) = rounds_table(file.parent, ["lr"])
    assert source == file
    titles = ("round", "candidate", "changed", "epochs", "n", "validation top-1, %", "went on")
    assert [tuple(one[title] for title in titles) for one in cells(table)] == [
        ("1", "fast", f"`{changed}0.2`", "2", "1", "82.50", "yes"),
        ("1", "base", "nothing", "2", "2", "82.00 ± 1.41", "yes"),
        ("1", "slow", f"`{changed}0.05`", "2", "1", "81.50", "no"),
        ("2", "base-longer", "nothing", "4", "1", "86.00", "yes"),
        ("2", "fast-longer", f"`{changed}0.2`", "4", "1", "85.00", "no"),
    ]
    assert not any("test" in title for title in cells(table)[0])


def test_what_is_no_round_is_refused_and_changes_nothing(tmp_path: Path, file: Path) -> None:
    one = finished(tmp_path, "one", 80.0, learning_rate=0.1)
    two = finished(tmp_path, "two", 80.0, learning_rate=0.2)
    long = finished(tmp_path, "long", 80.0, epochs=3)
    record_round([one], file, keep=1)
    before = file.read_bytes()
    twin = tmp_path / "elsewhere" / "two"
    shutil.copytree(two, twin)
    for runs, keep, why in (
        ([one, two], 1, "one is in .* already, or given twice"),
        ([two, twin], 1, "two is in .* already, or given twice"),
        ([two, long], 1, "2, 3 epochs are no round"),
        ([two], 2, "2 cannot go on of 1 candidates"),
        ([tmp_path / "none"], 1, "none"),
    ):
        with pytest.raises(InputError, match=why):
            record_round(runs, file, keep=keep)
    unjudged = finished(tmp_path, "unjudged", 80.0, learning_rate=0.3)
    summary = RunFolder.open(unjudged).finished()
    del summary["last"]["validation_top1"]
    RunFolder(unjudged).save_summary(summary)
    with pytest.raises(InputError, match="unjudged has no validation split"):
        record_round([unjudged], file, keep=1)
    assert file.read_bytes() == before


def test_candidates_of_one_name_are_refused(tmp_path: Path, file: Path) -> None:
    runs = [
        finished(tmp_path / place, "run", 80.0, learning_rate=rate)
        for place, rate in (("a", 0.1), ("b", 0.2))
    ]
    with pytest.raises(InputError, match="two candidates are called run"):
        record_round(runs, file, keep=1)
    assert not file.exists()


def test_by_command(tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [
        str(finished(tmp_path, name, top1, learning_rate=top1 / 1000))
        for name, top1 in (("low", 80.0), ("high", 81.0))
    ]
    assert main(["search", str(file), *runs, "--keep", "1"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "high: validation top-1 82.00 % (n = 1), goes on (optimizer.learning_rate 0.08 -> 0.081)",
        "low: validation top-1 81.00 % (n = 1), ends here (nothing changed)",
        f"round 1 is in {file}",
    ]
    assert main(["search", str(file), *runs, "--keep", "1"]) == 2


def test_a_search_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must name one search"):
        rounds_table(tmp_path, [])
