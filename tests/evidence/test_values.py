from __future__ import annotations

from pathlib import Path

import pytest

from evidence.values import render_values, value_text
from evidence_kit import row, write_facts, write_made_study
from ghostnet_small.errors import InputError
from ghostnet_small.run.records import append_record

TOP1 = {"plain": (80.0, 81.0, 82.0), "kd": (81.0, 82.5, 83.0)}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("values") / "results"
    write_facts(results)
    for seed, top1 in enumerate((83.0, 84.0, 85.0)):
        append_record(row(seed, top1), results / "cpu.jsonl")
    longer = {"name": "long", "train": {"epochs": 3}}
    append_record(row(7, 86.0, longer), results / "cpu.jsonl")
    append_record(row(8, 88.0, longer), results / "cpu.jsonl")
    append_record(row(0, 70.0, {"name": "one"}), results / "cpu.jsonl")
    write_made_study(results, lambda run: TOP1.get(run.strategy or "", (90.0,) * 3)[run.seed])
    return results


@pytest.mark.parametrize(
    ("asked", "value"),
    [
        ("cpu recipe=small test_top1", "84.00 ± 1.00 % (n = 3)"),
        ("cpu recipe=one test_top1", "70.00 % (n = 1)"),
        ("cpu recipe=small validation_top1", "85.00 ± 1.00 % (n = 3)"),
        ("cpu recipe=small seed=1 test_top1", "84.00 % (n = 1)"),
        ("cpu recipe=small params", "374,174"),
        ("cpu recipe=small params_training", "483,554"),
        ("cpu recipe=small macs", "8,962,176"),
        ("cpu recipe=small wall", "10 min"),
        ("cpu recipe=small images_per_s", "1,000"),
        ("cpu recipe=small device", "A CPU, 2 threads"),
        ("cpu recipe=long epochs", "3"),
        ("cpu recipe=small train_images", "45,000"),
        ("cpu recipe=small seeds", "0, 1, 2"),
        ("cpu recipe=small n", "3"),
        # Paired: the differences are 1, 1.5 and 1; their deviation 0.2887, t = 4.3027.
        (
            "diagnosis strategy=kd minus strategy=plain test_top1",
            "+1.17 points (95 % interval +0.45 to +1.88, n = 3)",
        ),
        # p = 0.0198 by itself; the five others have 0.0041, the least of them times six.
        (
            "diagnosis strategy=kd minus strategy=plain verdict",
            "significant (p = 0.025 by Holm's method, 6 tested)",
        ),
        (
            "diagnosis strategy=plain minus strategy=kd verdict",
            "significant (p = 0.025 by Holm's method, 6 tested)",
        ),
        (
            "cpu recipe=long minus recipe=small verdict",
            "no significant difference (p = 0.144)",
        ),
        ("cpu recipe=one minus recipe=small verdict", "no significant difference"),
        (
            "cpu recipe=one minus recipe=small test_top1",
            "\N{MINUS SIGN}13.00 points (no interval, n = 1)",
        ),
        # Welch's: 87 - 84; error sqrt(2/2 + 1/3), 1.68 degrees of freedom.
        (
            "cpu recipe=long minus recipe=small test_top1",
            "+3.00 points (95 % interval \N{MINUS SIGN}2.98 to +8.98, n = 2 and 3, not paired)",
        ),
        ("diagnosis strategy=kd best_on_test", "83.17 ± 1.04 % (n = 3)"),
        ("diagnosis strategy=kd agreement", "90.00 ± 0.00 % (n = 3)"),
        ("diagnosis strategy=kd entropy", "0.500"),
        ("diagnosis strategy=kd published", "90.90 %"),
        ("published gns-1.0 top1", "91.37 %"),
        ("published resnet-20 top1", "91.9 to 92.6 %"),
        ("published resnet-20 params", "0.27 M"),
        ("published goal source", "us"),
        ("published device flash", "450 kB"),
        ("published device ram", "128 kB"),
    ],
)
def test_a_value_is_read_from_rows(asked: str, value: str, results: Path) -> None:
    assert value_text(asked, results) == value


def test_a_recipe_is_called_by_its_name_in_quotes(tmp_path: Path) -> None:
    append_record(row(0, 60.0, {"name": "w1.0, 2 epochs"}), tmp_path / "other.jsonl")
    assert value_text('other recipe="w1.0, 2 epochs" test_top1', tmp_path) == "60.00 % (n = 1)"


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ("gpu test_top1", "'gpu' is no file of trainings .* there are cpu, diagnosis"),
        (
            "cpu recipe=smal test_top1",
            "no row has recipe='smal'; .* long, one, small",
        ),
        ("cpu test_top1", "3 kinds of runs; choose one by recipe .long, one, small."),
        ("cpu recipe=small test_top2", "'test_top2' of .* choose one of test_top1, .*params"),
        ("cpu recipe=small flip_top1", "not every run has flip_top1; choose one of test_top1"),
        ("cpu recipe=small minus recipe=one params", "has no difference; choose one of test_top1"),
        ("cpu recipe=small minus recipe=one flip_top1", "has flip_top1"),
        (
            "diagnosis strategy=self minus strategy=kd verdict",
            "no difference to the baseline",
        ),
        ("cpu recipe=small published", "has no published figure"),
        ("diagnosis strategy=self published", "there are plain 1, kd 1"),
        ("published gns-9 top1", "choose one of gns-1.0, resnet-20, goal, device"),
        ("published goal macs", "states no macs"),
        ("next nothing", "names no study; choose one of .*headline"),
        ("published goal width", "'width' of .* choose top1"),
        ("cpu", "says too little"),
        ('cpu recipe="small test_top1', "close its quotes"),
    ],
)
def test_what_there_is_not_is_refused_with_what_there_is(
    asked: str, why: str, results: Path
) -> None:
    with pytest.raises(InputError, match=why):
        value_text(asked, results)


def test_n_counts_seeds(tmp_path: Path) -> None:
    again = row(0, 82.0, wall_seconds=1.0)
    for one in (row(0, 80.0), again, row(1, 83.0)):
        append_record(one, tmp_path / "cpu.jsonl")
    # That of seed 0 is 81.
    assert value_text("cpu test_top1", tmp_path) == "82.00 ± 1.41 % (n = 2)"
    assert value_text("cpu n", tmp_path) == "2"


def test_values_are_filled_where_they_stand(results: Path) -> None:
    text = (
        "# A value of <!-- value: published gns-1.0 top1 -->old<!-- end value -->\n\n"
        "**<!-- value: cpu recipe=small n --><!-- end value -->** runs.\n"
        "It has <!-- value: cpu\n  recipe=small\n  n --><!-- end value -->, and\n"
        "`<!-- value: what --><!-- end value -->` is code.\n\n"
        "```text\n<!-- value: nothing\n```\n"
    )
    filled = (
        "# A value of <!-- value: published gns-1.0 top1 -->91.37 %<!-- end value -->\n\n"
        "**<!-- value: cpu recipe=small n -->3<!-- end value -->** runs.\n"
        "It has <!-- value: cpu\n  recipe=small\n  n -->3<!-- end value -->, and\n"
        "`<!-- value: what --><!-- end value -->` is code.\n\n"
        "```text\n<!-- value: nothing\n```\n"
    )
    assert render_values(text, results, "a page") == filled
    assert render_values(filled, results, "a page") == filled


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a <!-- value: cpu recipe=one n -->1\n", "of a page has no end"),
        ("a <!-- value: cpu n -->1 <!-- value: x y -->2<!-- end value -->", "'cpu n' .* no end"),
        ("a\n<!-- value: cpu recipe=one n -->1<!-- end value -->", "begins a line"),
        ("- <!-- value: cpu recipe=one n -->1<!-- end value -->", "begins a line"),
        ("1. <!-- value: cpu recipe=one n -->1<!-- end value -->", "begins a line"),
    ],
)
def test_a_bad_mark_is_refused(text: str, why: str, results: Path) -> None:
    with pytest.raises(InputError, match=why):
        render_values(text, results, "a page")
