"""The commands, as a user types them."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

import ghostnet_small as gns
from fresh_process import output_of
from ghostnet_small.cli import main
from ghostnet_small.data.dataset import normalize
from ghostnet_small.data.sources import DataSettings, load_data
from ghostnet_small.recipe.recipe import known_keys, read_recipe
from ghostnet_small.recipe.recipe_help import recipe_schema
from ghostnet_small.train.progress import TrainingProgress, clock
from ghostnet_small.train.settings import TrainSettings
from ghostnet_small.use import folding
from makers import make_folder, make_parquet, make_picture

SMALL = ["--data.limit", "64", "--train.batch_size", "16", "--train.epochs", "1"]
PROGRAM = [sys.executable, "-m", "ghostnet_small"]

Ask = Callable[..., Any]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """Runs a command that must succeed with ``--json``; its value."""

    def run(*words: object) -> Any:
        status = main([*map(str, words), "--json"])
        out, err = capsys.readouterr()
        assert status == 0, err
        return json.loads(out)

    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on a few digits."""
    out = tmp_path_factory.mktemp("runs") / "digits"
    assert main(["train", "quickstart-digits", *SMALL, "--out", str(out)]) == 0
    return out


def start(*words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PROGRAM, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# Training ------------------------------------------------------------------------------------


def test_train_writes_what_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    words = [*SMALL, "--train.epochs", "2", "--out", str(out), "--json"]
    assert main(["train", *words]) == 0
    printed, err = capsys.readouterr()
    value = json.loads(printed)
    assert value.pop("run") == str(out)
    written = json.loads((out / "summary.json").read_text())
    assert {**value, "digest": written["digest"]} == written
    assert value["data"]["train_images"] + value["data"]["validation_images"] == 64
    assert value["recipe"]["train"]["epochs"] == 2
    # No terminal, so a plain line an epoch.
    lines = err.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert "left" in lines[0] and "validation" in lines[0] and "images/s" in lines[0]
    assert "\x1b" not in err


def test_resuming_what_is_finished_shows_it_again(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run / "metrics.jsonl").stat().st_mtime_ns
    assert main(["train", "--resume", str(run)]) == 0
    out, _ = capsys.readouterr()
    assert "top-1" in out and str(run) in out
    assert (run / "metrics.jsonl").stat().st_mtime_ns == before


def test_the_bar_names_what_a_waiting_user_wants_to_know() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=100)
    with TrainingProgress(TrainSettings(epochs=3, batch_size=8), console) as progress:
        for done in range(1, 11):
            progress.step(1, done, 10, loss=1.25, top1=37.5)
        progress.bar.refresh()
    shown = file.getvalue()
    for part in ("reading the data", "epoch 2/3", "loss 1.250", "top-1 37.5 %", "images/s", "left"):
        assert part in shown


def test_times_read_as_on_a_clock() -> None:
    assert [clock(s) for s in (0, 59.4, 61, 3599.6, 3661)] == [
        "0:00",
        "0:59",
        "1:01",
        "1:00:00",
        "1:01:01",
    ]


@pytest.mark.usefixtures("quick_pictures")
def test_a_training_stopped_by_signals_ends_like_one_that_was_not(tmp_path: Path, ask: Ask) -> None:
    """Kills are in tests/faults/test_kill.py."""
    whole, out = tmp_path / "whole", tmp_path / "cut"
    words = [*SMALL, "--model.width", "0.1", "--train.threads", "1"]
    words += ["--train.epochs", "6", "--train.checkpoint_seconds", "0"]
    begin = ["train", *words, "--out", out]
    for number in (signal.SIGINT, signal.SIGTERM):
        before = state_of(out)
        process = start(*begin)
        while state_of(out) == before:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(number)
        stdout, stderr = process.communicate()
        assert stdout == "" and "Traceback" not in stderr
        assert process.returncode == 128 + number
        last = stderr.splitlines()[-1]
        assert last.endswith(f"ghostnet-small train --resume {out}") and "error" not in last
        begin = ["train", "--resume", out]
    assert not (out / "summary.json").exists()
    cut = ask(*begin)
    assert len(cut["sessions"]) == 3
    assert cut["last"] == ask("train", *words, "--out", whole)["last"]
    name = "last/model.safetensors"
    assert (out / name).read_bytes() == (whole / name).read_bytes()


def state_of(run: Path) -> int | None:
    """Changes with every state that the run saves."""
    file = run / "state.safetensors"
    return file.stat().st_mtime_ns if file.exists() else None


def test_a_loss_that_is_not_finite_stops_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*SMALL, "--optimizer.learning_rate", "1e20", "--schedule.warmup", "0"]
    assert main(["train", *words, "--out", str(tmp_path / "run"), "--json"]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    line = err.splitlines()[-1]
    assert "the loss is nan" in line or "the loss is inf" in line
    assert (
        "learning rate" in line
        and "e+" in line
        and "at step" in line
        and "last good checkpoint" in line
    )


# Using what was trained ----------------------------------------------------------------------


def test_evaluate_repeats_the_figures_of_the_run(run: Path, ask: Ask) -> None:
    last = json.loads((run / "summary.json").read_text())["last"]
    value = ask("evaluate", run)
    assert {key: value[key] for key in ("top1", "loss", "correct", "total")} == {
        key: last[f"test_{key}"] for key in ("top1", "loss", "correct", "total")
    }
    for key in ("balanced_accuracy", "calibration_error"):
        assert value[key] == last[f"test_{key}"]
    assert value["per_class"] == json.loads((run / "classes.json").read_text())
    matrix = value["confusion"]
    assert [sum(line) for line in matrix] == [one["pictures"] for one in value["per_class"]]
    assert sum(line[label] for label, line in enumerate(matrix)) == value["correct"]
    assert value["split"] == "test" and value["weights"] == "last"
    assert ask("evaluate", run, "--split", "validation", "--weights", "best")["total"] < 64


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """Untrained weights whose batch norms have the statistics of the digits."""
    torch.manual_seed(0)
    model = gns.create_model("ghostnetv3_small", width=0.5, in_channels=1)
    data = load_data(DataSettings())
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the plain mean of all batches
    with torch.no_grad():
        for images in data.train.images.split(256):
            model.train()(normalize(images, data.mean, data.std))
    recipe = read_recipe(None, ["--model.width", "0.5"]).as_dict()
    info = gns.ModelInfo(data.classes, (8, 8), data.mean, data.std, recipe)
    gns.save_model(model, info, tmp_path / "fresh")
    return tmp_path / "fresh"


def test_folded_weights_answer_alike(fresh: Path, tmp_path: Path, ask: Ask) -> None:
    out = tmp_path / "out" / "deployed"
    value = ask("fold", fresh, "--out", out)
    assert value["relative_error"] <= value["bound"] < 1e-4
    assert value["compared_on"] == "the test split" and value["pictures"] == 359
    assert value["params"]["deployed"] < value["params"]["training"]
    names = {name.rsplit(".", 1)[-1] for name in gns.load(out)[0].state_dict()}
    assert names == {"weight", "bias"}
    trained, folded = ask("evaluate", fresh, "--no-fold"), ask("evaluate", out)
    assert folded["loss"] == pytest.approx(trained["loss"], rel=1e-5)
    again = ask("evaluate", fresh)
    assert again["correct"] == folded["correct"] and again["folded"]
    assert list(out.parent.iterdir()) == [out]


def test_a_fold_past_the_bound_is_not_kept(
    fresh: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def wrong(model: torch.nn.Module) -> torch.nn.Module:
        folded = gns.reparameterize(model)
        with torch.no_grad():
            next(folded.parameters()).mul_(1.001)
        return folded

    monkeypatch.setattr(folding, "reparameterize", wrong)
    assert main(["fold", str(fresh), "--out", str(tmp_path / "deployed")]) == 3
    assert "not kept" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [fresh]


def test_hardly_trained_weights_fold_within_their_own_rounding(
    run: Path, tmp_path: Path, ask: Ask
) -> None:
    value = ask("fold", run, "--out", tmp_path / "deployed")
    assert value["relative_error"] <= value["bound"]


def test_own_pictures_train_by_command_alone(
    tmp_path: Path, ask: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    data, run = make_folder(tmp_path / "data", test=2), tmp_path / "run"
    words = ["--data.root", data, "--train.batch_size", "8", "--train.epochs", "1"]
    ask("train", *words, "--out", run)
    assert ask("evaluate", run)["total"] == 6
    labels = {one["label"] for one in ask("predict", run, data / "test")}
    assert labels <= {"apple", "leaf", "plum"}
    # Weights outlive their data: then random pixels are compared.
    data.rename(tmp_path / "elsewhere")
    assert main(["fold", str(run), "--out", str(tmp_path / "out"), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["compared_on"] == "random pixels" and "random pixels" in err
    assert ask("evaluate", run, "--data.root", tmp_path / "elsewhere")["total"] == 6


def test_predict_names_files_and_folders(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    for name, size in (("a.png", 8), ("deep/b.png", 20), ("deep/c.jpg", 30)):
        Image.new("RGB", (size, size), (200, 30, 30)).save(folder / name)
    (folder / "notes.txt").write_text("passed over")
    file = folder / "a.png"
    assert main(["predict", str(run), str(folder), "--top", "3", str(file), "--json"]) == 0
    out, err = capsys.readouterr()
    answers = json.loads(out)
    names = [str(folder / name) for name in ("a.png", "deep/b.png", "deep/c.jpg", "a.png")]
    assert [answer["path"] for answer in answers] == names
    for answer in answers:
        topk = answer["topk"]
        assert len(topk) == 3 and topk[0]["probability"] >= topk[1]["probability"]
        assert (answer["label"], answer["probability"]) == tuple(topk[0].values())
        assert answer["label"] in gns.load(run)[1].classes
    assert answers[0] == answers[3]
    # Two pictures are of another size, and that is said once.
    assert err.count("20x20") == 1 and "30x30" not in err and "8x8" in err


def test_probabilities_sum_to_one_and_agree_with_the_model(tmp_path: Path, ask: Ask) -> None:
    # Trained ones: of weights of a few steps, rounding decides the answer.
    weights, picture = "ghostnetv3_small_w1.0_cifar10", tmp_path / "picture.png"
    make_picture(3, 10, size=32, random=np.random.default_rng(0)).save(picture)
    (answer,) = ask("predict", weights, picture, "--top", "99")
    assert len(answer["topk"]) == 10
    assert sum(one["probability"] for one in answer["topk"]) == pytest.approx(1)
    model, info = gns.load(weights)
    with Image.open(picture) as image:
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    with torch.no_grad():
        logits = model(normalize(pixels, info.mean, info.std))
    assert answer["label"] == info.classes[int(logits.argmax())]
    assert answer["probability"] == pytest.approx(logits.softmax(1).max().item(), rel=1e-4)


# Looking ------------------------------------------------------------------------------------


def test_info_counts_both_forms_as_the_size_table_does(ask: Ask) -> None:
    value = ask("info", "ghostnetv3_small", "--model.width", "1.0", "--per-stage")
    assert value["params"] == {"training": 483_554, "deployed": 374_174}
    assert value["macs"] == {"training": 19_634_560, "deployed": 8_962_176}
    for quantity in ("params", "macs"):
        for form in ("training", "deployed"):
            total = sum(stage[quantity][form] for stage in value["stages"].values())
            assert total == value[quantity][form]


def test_info_of_a_run_counts_its_own_pictures(run: Path, ask: Ask) -> None:
    value = ask("info", run)
    assert value["picture"] == [1, 8, 8]
    assert value["class_names"] == [str(digit) for digit in range(10)]
    assert value["params"] == ask("info", "ghostnetv3_small", "--channels", "1")["params"]


def test_data_counts_and_saves_pictures_that_predict_reads(
    run: Path, tmp_path: Path, ask: Ask
) -> None:
    views = tmp_path / "views.png"
    saved = tmp_path / "digits"
    value = ask("data", "quickstart-digits", "--save", saved, "--count", "12", "--views", views)
    assert value["classes"] == [str(digit) for digit in range(10)]
    assert sum(value["images"].values()) == 1797
    for label in value["classes"]:
        assert all(value["images_by_class"][label].values())
    assert value["size"] == [8, 8] and value["channels"] == 1
    assert sorted(map(str, saved.iterdir())) == sorted(value["saved"])
    # Every class comes once before any comes twice.
    assert [Path(path).name.split("-")[0] for path in value["saved"][:10]] == value["classes"]
    assert len(ask("predict", run, saved)) == 12
    with Image.open(views) as sheet:
        assert sheet.width > 400


def test_classes_with_odd_names_become_plain_files(tmp_path: Path, ask: Ask) -> None:
    data = make_folder(tmp_path / "data", classes=("a b", ".x", "ü"), size=8)
    saved = ask("data", "--data.root", data, "--save", tmp_path / "out", "--count", "3")["saved"]
    assert all(not Path(path).name.startswith(".") for path in saved)
    assert len(set(saved)) == len(list((tmp_path / "out").iterdir())) == 3


def test_overrides_reach_the_data(tmp_path: Path, ask: Ask) -> None:
    root = make_parquet(tmp_path / "set", train=60, test=20)
    value = ask("data", "--data.root", root, "--data.limit=30", "--data.validation=0")
    assert value["images"] == {"train": 30, "test": 20}


# The program ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        *("train", "evaluate", "predict", "info", "fold", "export", "data"),
        "benchmark train",
        "benchmark distill",
        "benchmark deploy",
    ],
)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--help"]) == 0
    out = capsys.readouterr().out
    assert f"ghostnet-small {command}" in out and "--json" in out
    assert "--data.root" not in out and "--train.epochs" not in out


@pytest.mark.parametrize("command", ["train", "distill", "evaluate", "data", "study", "export"])
def test_help_says_what_lists_the_settings(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--help"]) == 0
    own = capsys.readouterr().out
    assert own.splitlines()[-1].endswith("are listed by --help-settings.")
    # Whatever else is there, also what is still missing.
    assert main([command, "--data.limit", "3", "--help-settings", "--json"]) == 0
    shown = capsys.readouterr().out
    assert "  --data.limit LIMIT" in shown and "--help" not in shown


def test_a_command_without_settings_lists_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--help"]) == 0
    assert "settings" not in capsys.readouterr().out
    assert main(["predict", "--help-settings"]) == 2
    assert "option --help-settings is not known" in capsys.readouterr().err


def test_help_tells_a_setting_its_meaning_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help-settings"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "passes over the training split. (type: int, default: 30)" in out
    assert [key for key in known_keys() if f"--{key}" not in out] == []


def test_an_editor_gets_the_schema_of_a_recipe(
    ask: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("train", "distill"):
        assert main([command, "--schema"]) == 0
        assert json.loads(capsys.readouterr().out) == ask(command, "--schema") == recipe_schema()


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert gns.__version__ in out and "predict" in out


def test_a_command_of_two_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "--help"]) == 0
    out = capsys.readouterr().out
    assert "usage: ghostnet-small benchmark COMMAND" in out
    assert "\n  benchmark train  " in out and "evaluate" not in out
    assert main(["--help"]) == 0
    assert "\n  benchmark train  " in capsys.readouterr().out
    assert main(["benchmark"]) == 2
    assert "no benchmark command is given; choose one of train" in capsys.readouterr().err
    assert main(["benchmark", "trian"]) == 2
    assert "benchmark command 'trian' is not known; the nearest is train" in capsys.readouterr().err
    assert main(["benchmrk", "train"]) == 2
    assert "nearest is benchmark" in capsys.readouterr().err


def test_info_leaves_heavy_libraries_alone() -> None:
    program = (
        "import sys\nfrom ghostnet_small.cli import main\n"
        "main(['--help'])\nmain(['info', 'ghostnetv3_small', '--json'])\n"
        "heavy = {'datasets', 'sklearn', 'matplotlib', 'accelerate', 'pydantic', 'timm'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)\n"
    )
    output_of(program)


def test_a_reader_that_leaves_early_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*PROGRAM, "info", "ghostnetv3_small", "--json"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    assert done.stderr == "" and done.returncode == 128 + signal.SIGPIPE


def test_json_says_null_where_a_figure_is_not_finite(
    run: Path, monkeypatch: pytest.MonkeyPatch, ask: Ask
) -> None:
    summary = json.loads((run / "summary.json").read_text())
    summary["epochs"][0]["validation_loss"] = float("inf")
    monkeypatch.setattr("ghostnet_small.run.start.resume", lambda *_, **__: summary)
    assert ask("train", "--resume", run)["epochs"][0]["validation_loss"] is None
