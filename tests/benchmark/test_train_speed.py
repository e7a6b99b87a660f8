"""The comparison of training steps: its figures, its check and its command; never its timings."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from evidence.speed_tables import train_speed_table
from evidence.tables import render_tables
from ghostnet_small.benchmark import train_speed, train_variants
from ghostnet_small.benchmark.train_speed import SETTINGS, compare_training_steps, figures
from ghostnet_small.benchmark.train_variants import (
    USUAL,
    VARIANTS,
    build_step,
    chosen_variants,
    in_form,
)
from ghostnet_small.cli import main
from ghostnet_small.errors import InputError
from ghostnet_small.models.registry import create_model
from ghostnet_small.nn.fold import is_folded
from ghostnet_small.nn.rep_conv import RepConv2d
from ghostnet_small.recipe.recipe import known_keys, read_recipe
from ghostnet_small.run.records import append_row, read_rows
from ghostnet_small.train.device import make_accelerator
from ghostnet_small.train.timing import EngineStep

SMALL = ["--model.width", "0.5", "--train.batch_size", "4", "--train.device", "cpu"]
FEW = ["--size", "16", "--warm-up", "1", "--repetitions", "2"]
COMMAND = ["benchmark", "train", *SMALL, *FEW]

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


# Figures -------------------------------------------------------------------------------------


def test_ratios_are_taken_within_a_repetition() -> None:
    # A machine that grows slower: its medians alone would give other ratios.
    seconds = {
        "multibranch": [4.0, 10.0, 16.0],
        "plain_channels_last": [1.0, 5.0, 2.0],
        "merged": [2.0, 2.0, 8.0],
    }
    found = figures(seconds, pictures=80)
    merged = found["merged"]
    assert merged == {
        "images_per_s": 40.0,
        "images_per_s_min": 10.0,
        "images_per_s_quartile1": 25.0,
        "images_per_s_quartile3": 40.0,
        "images_per_s_max": 40.0,
        "n": 3,
        "ratio_to_plain": 0.5,  # of 1/2, 5/2, 1/4
        "ratio_to_multibranch": 2.0,  # of 2, 5, 2
    }
    assert found["plain_channels_last"]["ratio_to_plain"] == 1.0
    assert found["multibranch"]["ratio_to_multibranch"] == 1.0


def test_a_ratio_to_what_was_not_run_is_unknown() -> None:
    found = figures({"merged": [0.5], "multibranch": [1.0]}, pictures=4)
    assert found["merged"]["ratio_to_plain"] is None
    assert found["merged"]["ratio_to_multibranch"] == 2.0
    spread = [value for key, value in found["merged"].items() if key.startswith("images")]
    assert spread == [8.0] * 5 and found["merged"]["n"] == 1


def test_seconds_of_a_turn_are_those_of_all_its_steps() -> None:
    ticks = iter(range(1000))
    value = compare_training_steps(
        read_recipe(None, SMALL),
        variants=["merged", "plain_channels_last"],
        size=16,
        warm_up=1,
        repetitions=2,
        calls=3,
        clock=lambda: float(next(ticks)),
    )
    # A turn begins and ends with a tick, a second apart.
    for variant in value["variants"].values():
        assert variant["images_per_s"] == variant["images_per_s_min"] == 3 * 4
        assert variant["ratio_to_plain"] == 1.0
    assert value["steps"] == 3 and value["repetitions"] == 2


# What is compared ----------------------------------------------------------------------------


def test_variants_are_one_network_in_the_forms_that_they_name() -> None:
    torch.manual_seed(0)
    network = create_model("ghostnetv3_small", width=0.5)
    pictures, targets = torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 3])
    train_speed._check_losses(network, pictures, targets)
    logits, ways = {}, {}
    for name in USUAL:
        variant = VARIANTS[name]
        model, own = in_form(network, pictures, variant)
        assert own.is_contiguous(memory_format=variant.memory_format), name
        assert is_folded(model) == name.startswith("plain"), name
        assert all(parameter.requires_grad for parameter in model.parameters()), name
        convs = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d)]
        assert all(w.is_contiguous(memory_format=variant.memory_format) for w in convs), name
        momenta = {m.momentum for m in model.modules() if isinstance(m, nn.BatchNorm2d)}
        assert momenta <= {0.1}, name
        ways[name] = {m.compute for m in model.modules() if isinstance(m, RepConv2d)}
        logits[name] = model.train()(own).detach()
    assert ways["multibranch"] == ways["multibranch_channels_last"] != ways["merged"]
    reference = logits["multibranch"]
    for name in ("multibranch_channels_last", "merged"):
        assert torch.allclose(logits[name], reference, rtol=1e-3, atol=1e-3), name
    # The fold has the very batch's statistics, of which a biased and an unbiased form differ.
    scale = reference.abs().max()
    for name in ("plain", "plain_channels_last"):
        assert (logits[name] - reference).abs().max() < scale, name


def test_the_engine_runs_the_step_of_the_merged_form() -> None:
    torch.manual_seed(0)
    network = create_model("ghostnetv3_small", width=0.5)
    pictures, targets = torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 3])
    step = build_step(network, pictures, targets, VARIANTS["engine"], make_accelerator("cpu"))
    assert isinstance(step, EngineStep) and step.pictures.dtype == torch.uint8
    seen: list[Tensor] = []

    def see(module: nn.Module, inputs: tuple[Tensor, ...], logits: Tensor) -> None:
        seen.extend(inputs)

    step.model.register_forward_hook(see)
    step()
    # The images of the other variants, as far as bytes hold them.
    inside = pictures.abs() < 1.9
    assert inside.float().mean() > 0.8 and seen[0].shape == pictures.shape
    assert (seen[0] - pictures)[inside].abs().max() < 0.03
    # It trained: a first step sets momenta, and no gradient is left.
    assert step.optimizer.state and all(one.grad is None for one in step.model.parameters())


def test_settings_are_those_of_a_recipe() -> None:
    assert set(SETTINGS) <= set(known_keys())


def test_variants_by_name() -> None:
    assert chosen_variants(None) == list(USUAL) == list(VARIANTS)[: len(USUAL)]
    assert chosen_variants("plain, merged,plain") == ["plain", "merged"]


def test_another_loss_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(model: nn.Module, form: str) -> None:
        if form == "merged":

            def scaled(module: nn.Module, inputs: object, out: Tensor) -> Tensor:
                return out * 1.01

            model.register_forward_hook(scaled)

    monkeypatch.setattr(train_variants, "use", wrong)
    results = tmp_path / "results.jsonl"
    assert main([*COMMAND, "--record", str(results)]) == 3
    out, err = capsys.readouterr()
    assert out == "" and not results.exists()
    (line,) = err.splitlines()
    assert "the loss of merged training is" in line and "nothing was timed" in line
    assert "--model.rep_conv branches" in line


# The command ---------------------------------------------------------------------------------


def test_all_variants_are_measured(ask: Ask, tmp_path: Path) -> None:
    results = tmp_path / "results" / "train-speed.jsonl"
    value = ask("--record", str(results), "--classes", "7", "--train.threads", "1")
    assert list(value["variants"]) == list(USUAL)
    for name, variant in value["variants"].items():
        assert variant["n"] == 2, name
        low, middle, high = (variant[f"images_per_s{end}"] for end in ("_min", "", "_max"))
        assert 0 < low <= variant["images_per_s_quartile1"] <= middle, name
        assert middle <= variant["images_per_s_quartile3"] <= high, name
        assert variant["ratio_to_plain"] > 0 and variant["ratio_to_multibranch"] > 0, name
        assert variant["peak_memory_bytes"] > 2**20 > 4 * 4 * 3 * 16 * 16, name
        assert variant["held_memory_bytes"] > 2**20, name
    peaks = {name: one["peak_memory_bytes"] for name, one in value["variants"].items()}
    assert peaks["multibranch"] > peaks["plain"]
    held = {name: one["held_memory_bytes"] for name, one in value["variants"].items()}
    assert held["multibranch"] == held["merged"] > held["plain"] == held["plain_channels_last"]
    # The engine's images are bytes.
    assert held["merged"] - held["engine"] == (4 - 1) * 4 * 3 * 16 * 16
    assert value["width"] == 0.5 and value["batch_size"] == 4 and value["picture"] == [3, 16, 16]
    assert value["classes"] == 7 and value["precision"] == "fp32" and value["threads"] == 1
    assert value["kind"] == "cpu" and value["device"] and value["commit"]
    assert value["beside"] == 0 and "batch_sizes" not in value
    assert value["torch"] == torch.__version__
    assert value["losses"]["merged"] == pytest.approx(value["losses"]["multibranch"], abs=1e-4)
    assert read_rows(results) == [value]


def test_a_table_for_a_reader_and_one_for_a_document(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "train-speed.jsonl"
    words = [*COMMAND, "--variants", "plain_channels_last,merged", "--record", str(results)]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert err == "" and all(len(line) <= 80 for line in out.splitlines())
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.strip()}
    assert rows["plain_channels_last"][3:5] == ["1.00", "-"]
    assert rows["merged"][4] == "-"
    _, table = train_speed_table(results)
    assert [row[3] for row in table] == ["plain_channels_last", "merged"]


def test_a_line_of_the_document_is_a_variant_of_a_record(tmp_path: Path) -> None:
    results, document = tmp_path / "train-speed.jsonl", tmp_path / "performance.md"
    common = {
        "model": "ghostnetv3_small",
        "width": 2.8,
        "batch_size": 1024,
        "picture": [3, 32, 32],
        "precision": "fp32",
        "commit": "abc",
    }
    merged = {
        "images_per_s": 1234.5,
        "images_per_s_min": 99.94,
        "images_per_s_max": 2000.4,
        "ratio_to_plain": 0.8125,
        "ratio_to_multibranch": None,
        "peak_memory_bytes": 3 * 2**30,
        "n": 7,
    }
    cpu = {**common, "kind": "cpu", "device": "A CPU, 2 cores", "threads": 2}
    append_row({**cpu, "variants": {"merged": merged, "plain": merged}}, results)
    other = {**common, "kind": "mps", "device": "A chip", "threads": 4}
    append_row({**other, "variants": {"merged": {**merged, "peak_memory_bytes": None}}}, results)
    # Another question than that of the first row.
    busy = {**cpu, "beside": 1, "variants": {"merged": merged, "plain": merged}}
    append_row(busy, results)
    document.write_text("<!-- table: train-speed -->\n<!-- end table -->\n")
    assert render_tables(document, tmp_path) is False
    lines = [line for line in document.read_text().splitlines() if line.startswith("|")]
    assert lines[0] == "| variant | peak of a step, MiB | device |"
    assert lines[2:] == [
        "| merged | 3,072 | A CPU, 2 cores, threads: 2 |",
        "| plain | 3,072 | A CPU, 2 cores, threads: 2 |",
        "| merged | - | A chip |",
        "| merged | 3,072 | A CPU, 2 cores, threads: 2, busy cores beside: 1 |",
        "| plain | 3,072 | A CPU, 2 cores, threads: 2, busy cores beside: 1 |",
    ]
    assert (
        "\n\nIn every row: network ghostnetv3_small 2.8; batch 1,024 of 3x32x32; precision fp32; "
        "images/s: median [least-most] 1,234 [99.9-2,000]; of plain_channels_last 0.812; "
        "of multibranch -; n 7; commit abc.\n"
    ) in document.read_text()


# Batch sizes ---------------------------------------------------------------------------------

SWEEP = ["benchmark", "train", "--model.width", "0.5", "--train.device", "cpu", *FEW]
SWEEP += ["--size", "8", "--variants", "merged,plain_channels_last"]


def test_batch_sizes_have_the_figures_of_one_and_a_fixed_cost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "train-batches.jsonl"
    assert main([*SWEEP, "--batches", "6, 2,6", "--record", str(results), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert read_rows(results) == [value]
    assert value["batch_sizes"] == [2, 6] and "batch_size" not in value
    assert value["picture"] == [3, 8, 8] and value["beside"] == 0
    assert list(value["variants"]) == ["merged", "plain_channels_last"]
    for one in value["variants"].values():
        assert list(one["batches"]) == ["2", "6"] and one["n"] == 2
        assert one["fixed_ms_min"] <= one["fixed_ms"] <= one["fixed_ms_max"]
        for found in one["batches"].values():
            assert found["images_per_s"] > 0 and found["ratio_to_plain"] > 0
            assert found["ratio_to_multibranch"] is None
        peaks = [found["peak_memory_bytes"] for found in one["batches"].values()]
        assert peaks[0] < peaks[1]


def test_a_step_that_always_takes_as_long_is_fixed_cost(tmp_path: Path) -> None:
    ticks = iter(range(1000))
    value = compare_training_steps(
        read_recipe(None, ["--model.width", "0.5", "--train.device", "cpu"]),
        variants=["plain"],
        batches=[2, 4, 8],
        size=8,
        warm_up=1,
        repetitions=3,
        calls=2,
        clock=lambda: float(next(ticks)),
    )
    # Two steps a second, whatever the batch.
    one = value["variants"]["plain"]
    assert one["fixed_ms"] == pytest.approx(500) and one["image_ms"] == pytest.approx(0)
    speeds = {batch: found["images_per_s"] for batch, found in one["batches"].items()}
    assert speeds == {"2": 4.0, "4": 8.0, "8": 16.0}


def test_batch_sizes_on_a_terminal_beside_a_busy_core(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[int] = []

    @contextmanager
    def busy(count: int) -> Iterator[None]:
        asked.append(count)
        yield
        asked.append(0)

    monkeypatch.setattr(train_speed, "busy_cores", busy)
    assert main([*SWEEP, "--batches", "2,4", "--beside", "1"]) == 0
    out, err = capsys.readouterr()
    assert asked == [1, 0] and err == ""
    assert all(len(line) <= 80 for line in out.splitlines())
    rows = [line.split() for line in out.splitlines() if line.strip()]
    assert [row[1] for row in rows if row[0] == "merged"][:2] == ["2", "4"]
    assert "other processes kept busy: 1" in out and "fixed ms" in out


BAD_BATCHES = {
    "one image": ("--batches 1,16", "--batches 1 ", "at least 2"),
    "one size": ("--batches 16,16", "--batches 16 ", "--train.batch_size 16"),
    "no number": ("--batches 16,many", "'many'", "16,64,256"),
    "nothing": ("--batches=", "''", "16,64,256"),
    "a step": ("--batches 16,0.5", "'0.5'", "16,64,256"),
    "both": ("--batches 4,8 --train.batch_size 4", "--train.batch_size", "leave out one"),
    "compiled": ("--batches 4,8 --variants plain_compiled", "plain_compiled", "not compiled"),
    "a huge one": ("--batches 4,99999999999", "99999999999 images", "make one of them"),
    "beside nothing": ("--beside 0", "'0'", "at least 1"),
    "beside a half": ("--beside 0.5", "'0.5'", "at least 1"),
    "beside too many": ("--beside 99999", "--beside 99999", "give at most"),
    "size": ("--batches 4,8 --size 7", "--size 7", "8 or more"),
}


@pytest.mark.parametrize("case", BAD_BATCHES)
def test_batches_that_cannot_be(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    words, value, cure = BAD_BATCHES[case]
    assert main([*SWEEP, *words.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert value in line and cure in line


# More of the command ---------------------------------------------------------------------------


def test_bf16_and_another_network(ask: Ask) -> None:
    value = ask(
        "--train.precision",
        "bf16",
        "--model.name",
        "ghostnetv3",
        "--size",
        "32",
        "--variants",
        "plain",
    )
    assert value["precision"] == "bf16" and value["model"] == "ghostnetv3"
    assert list(value["variants"]) == ["plain"]


REFUSED = {
    "variant": ("--variants merged,plane", "'plane'", "nearest is plain"),
    "no variant": ("--variants=", "variant ''", "multibranch"),
    "width": ("--model.width 0", "width is 0", "above 0"),
    "half precision": ("--train.precision fp16", "'fp16'", "bf16"),
    "one picture": ("--train.batch_size 1", "train.batch_size 1", "at least 2"),
    "batch": ("--train.batch_size 0", "train.batch_size 0", "at least 1"),
    "large batch": ("--train.batch_size 99999999999", "99999999999 images", "make one of them"),
    "huge batch": (f"--train.batch_size {10**30}", f"{10**30} images", "make one of them"),
    "classes": ("--classes 99999999999999", "99999999999999 classes", "make one of them"),
    "no repetition": ("--repetitions 0", "'0'", "at least 1"),
    "no warm-up": ("--warm-up 0", "'0'", "at least 1"),
    "half a step": ("--steps 0.5", "'0.5'", "at least 1"),
    "size": ("--size 4", "--size 4", "8 or more"),
    "threads": ("--train.threads 0", "train.threads 0", "at least 1"),
    "device": ("--train.device tpu", "'tpu'", "cuda"),
    "setting of no effect": ("--train.epochs 2", "--train.epochs", "leave it out"),
    "option": ("--width 2", "--width", "--model.width"),
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
    monkeypatch.setattr(train_speed, "compare_training_steps", lambda *_, **__: pytest.fail())
    results = tmp_path / "results.jsonl"
    results.write_text("no JSON\n")
    assert main([*COMMAND, "--record", str(results)]) == 2
    assert "line 1" in capsys.readouterr().err
    assert results.read_text() == "no JSON\n"


def test_a_lack_of_memory_on_a_gpu_is_told_and_other_errors_are_not() -> None:
    told = pytest.raises(InputError, match="so many: this does not fit")
    with told, train_speed.enough_memory("so many"):
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(RuntimeError, match="a bug"), train_speed.enough_memory("so many"):
        raise RuntimeError("a bug")
