from __future__ import annotations

from pathlib import Path

from evidence.accuracy_tables import accuracy_table
from evidence_kit import cells, row, write_facts
from ghostnet_small.run.records import append_record

TOP1 = "test top-1 of the last epoch, %"
BEST = "best epoch chosen on test, %"
FLIP = "averaged with its mirror image, %"
PUBLISHED = "published, best on test, %"


def test_a_row_for_each_recipe_and_set(tmp_path: Path) -> None:
    write_facts(tmp_path)
    for seed in range(3):
        append_record(row(seed, 83.0 + seed), tmp_path / "cpu.jsonl")
    fashion = {"name": "fashion", "data": {"source": "fashion_mnist"}}
    append_record(row(0, 92.0, fashion), tmp_path / "fashion.jsonl")
    append_record(row(9, 50.0), tmp_path / "search-x.jsonl")
    append_record(row(9, 50.0), tmp_path / "study" / "results.jsonl")
    table, sources = accuracy_table(tmp_path, [])
    first, second = cells(table)
    assert first == {
        "recipe": "small",
        "set": "cifar10",
        "training images": "45,000",
        "epochs": "2",
        "parameters, deployed": "374,174",
        "MACs, deployed": "8,962,176",
        "n (seeds)": "3 (0, 1, 2)",
        TOP1: "84.00 ± 1.00",
        PUBLISHED: "91.37",
        "latency of an image, deployed, float32, ms": "-",
        "trained on": "A CPU, 2 threads",
        "time": "10 min",
        "images/s": "1,000",
    }
    assert (second["set"], second[TOP1], second[PUBLISHED]) == ("fashion_mnist", "92.00", "-")
    names = ["cpu.jsonl", "fashion.jsonl", "published.yaml"]
    assert [source.name for source in sources] == names
    assert len(cells(accuracy_table(tmp_path, ["fashion", "study"])[0])) == 2


def test_without_published_figures(tmp_path: Path) -> None:
    append_record(row(0, 80.0), tmp_path / "cpu.jsonl")
    table, sources = accuracy_table(tmp_path, [])
    assert cells(table)[0][PUBLISHED] == "-"
    assert sources == [tmp_path / "cpu.jsonl"]


def test_columns_stand_where_a_row_has_the_figure(tmp_path: Path) -> None:
    write_facts(tmp_path)
    append_record(row(0, 80.0), tmp_path / "cpu.jsonl")
    paper = row(0, 80.0, {"name": "paper"}, best_on_test={"epoch": 1, "top1": 81.0})
    flipped = row(0, 80.0, {"name": "flipped"})
    flipped["last"]["test_flip_top1"] = 80.5
    taught = row(0, 80.0, {"name": "taught"}, distill={"teachers": []})
    for one in (paper, flipped, row(1, 81.0, {"name": "flipped"}), taught):
        append_record(one, tmp_path / "cpu.jsonl")
    found = cells(accuracy_table(tmp_path, [])[0])
    assert [one[BEST] for one in found] == ["-", "81.00", "-", "-"]
    assert [one[FLIP] for one in found] == ["-", "-", "80.50 (n = 1)", "-"]
    # The published figure is of the network trained alone.
    assert [one[PUBLISHED] for one in found] == ["91.37"] * 3 + ["-"]
