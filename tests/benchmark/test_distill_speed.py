"""The comparison of distillation with plain training: its variants, figures, tables; no timings."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from evidence.speed_tables import distill_speed_table
from evidence.tables import render_tables
from ghostnet_small.benchmark import distill_speed
from ghostnet_small.benchmark.distill_speed import (
    BATCHES,
    RECIPE,
    SETTINGS,
    TEACHERS,
    VARIANTS,
    Turns,
    chosen_variants,
    compare_distillation,
    figures,
    save_teachers,
)
from ghostnet_small.benchmark.noise_data import made_up_data
from ghostnet_small.cli import main
from ghostnet_small.distill.targets import CachedTargets, LiveTargets
from ghostnet_small.errors import InputError
from ghostnet_small.nn.fold import is_folded
from ghostnet_small.recipe.recipe import Recipe, known_keys, read_recipe
from ghostnet_small.recipe.shipped_recipes import find_recipe
from ghostnet_small.run.records import append_row, read_rows
from ghostnet_small.train.device import make_accelerator

SMALL = ["--model.width", "0.25", "--train.batch_size", "2", "--train.device", "cpu"]
COMMAND = ["benchmark", "distill", *SMALL, "--repetitions", "2", "--steps", "3"]
FEW = ["plain", "cached_kd", "cached_ensemble", "live_gns_1.6"]

Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """Runs the command with ``--json``; its value."""

    def run(*words: str) -> dict[str, Any]:
        status = main([*COMMAND, *words, "--json"])
        out, err = capsys.readouterr()
        assert status == 0 and err == ""
        return dict(json.loads(out))

    return run


@pytest.fixture(autouse=True)
def small_work(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The GhostNets among the teachers are as small as the first, and one thread does it all."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name, (architecture, _) in TEACHERS.items():
        if architecture == "ghostnetv3_small":
            monkeypatch.setitem(TEACHERS, name, (architecture, 0.25))
    yield
    torch.set_num_threads(threads)


def small_recipe() -> Recipe:
    recipe = read_recipe(find_recipe(RECIPE), SMALL)
    return distill_speed._standing(recipe, epochs=2)


def make_turns(names: list[str], folder: Path, recipe: Recipe | None = None) -> dict[str, Turns]:
    recipe = recipe or small_recipe()
    data = made_up_data(BATCHES * recipe.train.batch_size, 0)
    assert save_teachers(names, data, folder) == {}
    accelerator = make_accelerator("cpu")
    return {
        name: Turns(recipe, VARIANTS[name], data, accelerator, folder, time.perf_counter)
        for name in names
    }


# Figures -------------------------------------------------------------------------------------


def test_ratios_are_taken_within_a_repetition() -> None:
    # A machine that grows slower: its medians alone would give the ratio 1.
    seconds = {"plain": [1.0, 4.0, 16.0], "cached_kd": [2.0, 4.0, 4.0]}
    found = figures(seconds, steps=8)
    assert found["cached_kd"] == {
        "ratio_to_plain": 1.0,  # of 2/1, 4/4, 4/16
        "ratio_to_plain_min": 0.25,
        "ratio_to_plain_max": 2.0,
        "ms_per_step": 500.0,
        "ms_per_step_min": 250.0,
        "ms_per_step_max": 500.0,
        "n": 3,
    }
    assert {found["plain"][f"ratio_to_plain{end}"] for end in ("", "_min", "_max")} == {1.0}


def test_a_ratio_is_the_median_and_no_mean() -> None:
    found = figures({"plain": [1.0] * 3, "live": [1.5, 9.0, 2.0]}, steps=1)
    assert found["live"]["ratio_to_plain"] == 2.0 and found["live"]["ms_per_step"] == 2000.0


def test_a_turn_counts_all_steps_but_its_first() -> None:
    ticks = iter(range(1000))
    value = compare_distillation(
        read_recipe(find_recipe(RECIPE), SMALL),
        variants=["plain", "cached_dkd"],
        repetitions=2,
        steps=5,
        clock=lambda: float(next(ticks)),
    )
    # A turn begins and ends with a tick, a second apart, whatever it does in between.
    for variant in value["variants"].values():
        assert variant["ms_per_step"] == 1000 / 5 and variant["ratio_to_plain"] == 1.0
        assert variant["n"] == 2


@pytest.mark.parametrize("steps", [1, 7, BATCHES - 1, BATCHES])
def test_a_turn_goes_on_where_the_last_one_ended(steps: int, tmp_path: Path) -> None:
    (turn,) = make_turns(["plain"], tmp_path).values()
    looks: list[int] = []
    turn.clock = lambda: float(looks.append(turn.training.counters.step) or len(looks))
    assert turn(2) == 1.0 and turn.training.counters.step == 3
    assert turn(steps) == 1.0 and turn.training.counters.step == 4 + steps
    # The clock is read after the step that does not count, and after the last.
    assert looks == [1, 3, 4, 4 + steps]


# What is compared ----------------------------------------------------------------------------


def test_variants_by_name() -> None:
    assert chosen_variants(None) == list(VARIANTS) and next(iter(VARIANTS)) == "plain"
    assert chosen_variants("cached_dist, live_resnet18,cached_dist") == [
        "plain",
        "cached_dist",
        "live_resnet18",
    ]
    assert chosen_variants("cached_kd,plain") == ["plain", "cached_kd"]
    with pytest.raises(InputError, match="'cached_dxd' is not known; the nearest is cached_dkd"):
        chosen_variants("plain,cached_dxd")


def test_variants_are_what_they_are_called() -> None:
    for name, settings in VARIANTS.items():
        assert set(settings.teachers) <= set(TEACHERS), name
        if name != "plain":
            assert name.partition("_")[0] == settings.targets, name
    assert VARIANTS["plain"].teachers == ()
    losses = [VARIANTS[f"cached_{loss}"].loss for loss in ("kd", "dkd", "dist", "standardized")]
    assert losses == ["kd", "dkd", "dist", "logit_standardized"]
    assert len(set(VARIANTS["cached_ensemble"].teachers)) == 3


def test_settings_are_those_of_a_recipe() -> None:
    assert set(SETTINGS) <= set(known_keys())


def test_each_variant_trains_a_student_of_its_own_from_one_start(tmp_path: Path) -> None:
    turns = make_turns(FEW, tmp_path)
    starts = {name: weights_of(turn) for name, turn in turns.items()}
    for name in FEW:
        assert_equal(starts[name], starts["plain"])
    held = [
        {tensor.data_ptr() for tensor in turn.training.state()[0].values() if tensor.numel()}
        for turn in turns.values()
    ]
    assert sum(map(len, held)) == len(set().union(*held))
    turns["cached_kd"](3)
    for name in set(FEW) - {"cached_kd"}:
        assert turns[name].training.counters.step == 0
        assert_equal(weights_of(turns[name]), starts[name])


def test_a_training_does_the_same_alone_and_in_turn_with_others(tmp_path: Path) -> None:
    # At a rate at which weights move, else there would be nothing to see of what leaks.
    recipe = small_recipe()
    recipe = replace(recipe, optimizer=replace(recipe.optimizer, learning_rate=0.05))
    ends = {}
    for name in FEW:
        (turn,) = make_turns([name], tmp_path / name, recipe).values()
        start = weights_of(turn)
        turn(5)
        ends[name] = weights_of(turn)
        assert any(not torch.equal(start[key], ends[name][key]) for key in start)
    turns = make_turns(FEW, tmp_path / "together", recipe)
    for _ in range(3):
        for turn in turns.values():
            turn(1)
    for name, turn in turns.items():
        assert_equal(weights_of(turn), ends[name])
    # And the teachers do teach: each loss leads elsewhere.
    heads = [end["model.head.weight"] for end in ends.values()]
    assert all(not torch.equal(a, b) for i, a in enumerate(heads) for b in heads[:i])


def test_what_teaches_is_folded_and_kept_as_the_variant_says(tmp_path: Path) -> None:
    turns = make_turns(FEW, tmp_path)
    assert turns["plain"].teaching is None
    for name in FEW[1:]:
        teaching = turns[name].teaching
        assert teaching is not None
        assert len(teaching.teachers) == len(VARIANTS[name].teachers), name
        for teacher in teaching.teachers:
            assert is_folded(teacher.network) and not teacher.network.training, name
            assert not any(weight.requires_grad for weight in teacher.network.parameters()), name
        kind = LiveTargets if name.startswith("live") else CachedTargets
        assert isinstance(teaching.targets, kind), name
        assert all(cache.missing() == [] for cache in teaching.caches), name
        assert not is_folded(turns[name].training.model), name
    # Each teacher says something else, or an ensemble would be no ensemble.
    teaching = turns["cached_ensemble"].teaching
    assert teaching is not None and len(set(teaching.digests)) == 3


def weights_of(turn: Turns) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in turn.training.state()[0].items()}


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


# The command ---------------------------------------------------------------------------------


def test_all_is_recorded(ask: Ask, tmp_path: Path) -> None:
    results = tmp_path / "results" / "distill-speed.jsonl"
    value = ask("--variants", ",".join(FEW), "--record", str(results), "--train.threads", "1")
    assert list(value["variants"]) == FEW and value["left_out"] == {}
    for name, variant in value["variants"].items():
        for figure in ("ratio_to_plain", "ms_per_step"):
            assert 0 < variant[f"{figure}_min"] <= variant[figure] <= variant[f"{figure}_max"], name
        assert variant["n"] == 2 and len(variant["teachers"]) == len(VARIANTS[name].teachers)
    assert value["variants"]["live_gns_1.6"]["targets"] == "live"
    assert value["variants"]["cached_kd"]["loss"] == "kd"
    assert value["width"] == 0.25 and value["batch_size"] == 2 and value["picture"] == [3, 32, 32]
    assert value["pictures"] == f"{2 * BATCHES}, made up" and value["steps"] == 3
    assert value["kind"] == "cpu" and value["threads"] == 1 and value["device"]
    assert value["commit"] and value["torch"] == torch.__version__
    assert read_rows(results) == [value]


def test_a_table_for_a_reader_and_one_for_a_document(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "distill-speed.jsonl"
    words = ["--variants", "cached_standardized", "--record", str(results)]
    assert main([*COMMAND, *words]) == 0
    out, err = capsys.readouterr()
    assert err == "" and all(len(line) <= 80 for line in out.splitlines())
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.strip()}
    assert rows["plain"][1:3] == ["1.000", "1.000-1.000"]
    assert len(rows["cached_standardized"]) == 5 and "random weights" in out
    _, table = distill_speed_table(results)
    assert [row[3] for row in table] == ["plain", "cached_standardized"]


def test_a_line_of_the_document_is_a_variant_of_a_record(tmp_path: Path) -> None:
    results, document = tmp_path / "distill-speed.jsonl", tmp_path / "performance.md"
    common = {
        "model": "ghostnetv3_small",
        "width": 1.0,
        "batch_size": 64,
        "picture": [3, 32, 32],
        "precision": "fp32",
        "kind": "cpu",
        "device": "A CPU, 2 cores",
        "threads": 2,
    }
    seconds = {"plain": [1.0, 1.0, 1.0], "cached_kd": [1.01, 1.0, 1.5]}
    for commit in ("old", "new"):
        append_row({**common, "commit": commit, "variants": figures(seconds, steps=8)}, results)
    document.write_text("<!-- table: distill-speed -->\n<!-- end table -->\n")
    assert render_tables(document, tmp_path) is False
    lines = [line for line in document.read_text().splitlines() if line.startswith("|")]
    assert lines[0] == "| variant | times plain: median [least-most] | ms a step |"
    assert lines[2:] == ["| plain | 1 [1-1] | 125 |", "| cached_kd | 1.01 [1-1.5] | 126 |"]
    assert (
        "\n\nIn every row: student ghostnetv3_small 1; batch 64 of 3x32x32; precision fp32; n 3; "
        "device A CPU, 2 cores, threads: 2; commit new.\n"
    ) in document.read_text()


def test_a_teacher_that_cannot_be_built_is_left_out_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, ask: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    create = distill_speed.create_model

    def without_timm(name: str, **words: Any) -> Any:
        if name == "resnet18":
            raise InputError("model resnet18 needs timm; install it")
        return create(name, **words)

    monkeypatch.setattr(distill_speed, "create_model", without_timm)
    value = ask("--variants", "live_resnet18,cached_kd")
    assert list(value["variants"]) == ["plain", "cached_kd"]
    assert value["left_out"] == {"live_resnet18": "model resnet18 needs timm; install it"}
    assert main([*COMMAND, "--variants", "live_resnet18"]) == 0
    assert "left out  live_resnet18: model resnet18 needs timm" in capsys.readouterr().out


REFUSED = {
    "variant": ("--variants cached_kd,life_gns_1.6", "'life_gns_1.6'", "nearest is live_gns_1.6"),
    "no variant": ("--variants=", "variant ''", "cached_dist"),
    "width": ("--model.width 0", "width is 0", "above 0"),
    "half precision": ("--train.precision fp16", "'fp16'", "bf16"),
    "one picture": ("--train.batch_size 1", "train.batch_size 1", "two"),
    "large batch": ("--train.batch_size 99999999999", "99999999999 images", "make one of them"),
    "no repetition": ("--repetitions 0", "'0'", "at least 1"),
    "no step": ("--steps 0", "'0'", "at least 1"),
    "setting of no effect": ("--distill.temperature 2", "--distill.temperature", "leave it out"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    words, value, cure = REFUSED[case]
    assert main([*COMMAND, *words.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert value in line and cure in line


def test_a_file_that_takes_no_record_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(distill_speed, "compare_distillation", lambda *_, **__: pytest.fail())
    results = tmp_path / "results.jsonl"
    results.write_text("no JSON\n")
    assert main([*COMMAND, "--record", str(results)]) == 2
    assert "line 1" in capsys.readouterr().err
    assert results.read_text() == "no JSON\n"
