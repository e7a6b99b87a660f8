"""What a user gets wrong: one line that names the value and the cure, status 2, nothing written."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

import ghostnet_small as gns
from ghostnet_small.cli import main
from ghostnet_small.recipe.recipe import read_recipe
from ghostnet_small.run.run_folder import RunFolder
from makers import make_folder

Refuse = Callable[..., str]


@pytest.fixture
def refuse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refuse:
    """Runs a command that must be refused as the house refuses; the line that it says."""

    def run(*words: object) -> str:
        before = tree(tmp_path)
        status = main(list(map(str, words)))
        out, err = capsys.readouterr()
        assert status == 2, (out, err)
        assert out == ""
        assert tree(tmp_path) == before
        (line,) = err.splitlines()
        assert line.startswith("ghostnet-small: error: ")
        return line.removeprefix("ghostnet-small: error: ")

    return run


def tree(root: Path) -> dict[str, bytes | None]:
    """Every file and folder below ``root``, with what it holds."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
        for path in root.rglob("*")
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of fresh weights for the digits."""
    model = gns.create_model("ghostnetv3_small", width=0.25, in_channels=1)
    classes = tuple(str(digit) for digit in range(10))
    recipe = read_recipe(None, ["--model.width", "0.25"]).as_dict()
    info = gns.ModelInfo(classes, (8, 8), (0.3,), (0.4,), recipe)
    folder = tmp_path_factory.mktemp("made") / "weights"
    gns.save_model(model, info, folder)
    return folder


@pytest.fixture
def weights(made: Path, tmp_path: Path) -> Path:
    """A copy to be spoiled."""
    return Path(shutil.copytree(made, tmp_path / "weights"))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that has just begun."""
    folder = RunFolder(tmp_path / "run")
    folder.create(read_recipe())
    return folder.path


def absent_device() -> str:
    there = torch.accelerator.current_accelerator(check_available=True)
    return "mps" if there is not None and there.type == "cuda" else "cuda"


# Settings ------------------------------------------------------------------------------------

SETTINGS = {
    "unknown": ("--train.epoch 3", "--train.epoch", "--train.epochs"),
    "unknown room": ("--training.epochs 3", "--training.epochs", "--train.epochs"),
    "whole number": ("--train.epochs ten", "train.epochs is 'ten'", "a whole number"),
    "half an epoch": ("--train.epochs 1.5", "'1.5'", "a whole number"),
    "number": ("--optimizer.learning_rate fast", "'fast'", "a number"),
    "number or null": ("--train.clip_norm x", "train.clip_norm is 'x'", "a number, or null"),
    "truth": ("--train.shuffle maybe", "'maybe'", "true or false"),
    "word": ("--augment.flip sideways", "'sideways'", "none, random, alternating"),
    "list": ("--data.mean grey", "'grey'", "a list of numbers"),
    "no value": ("--train.epochs", "--train.epochs has no value", "a whole number"),
    "stray word": ("--train.epochs 3 4", "recipe 4", "a shipped recipe"),
    "width 0": ("--model.width 0", "width is 0", "above 0"),
    "width below 0": ("--model.width=-1", "width is -1", "above 0"),
    "model": ("--model.name ghostnetv3_smal", "'ghostnetv3_smal'", "nearest is ghostnetv3_small,"),
    "epochs": ("--train.epochs 0", "train.epochs 0", "at least 1"),
    "batch": ("--train.batch_size 5000", "5000", "give at most 1294"),
    "cut of a batch": ("--train.batch_size 6 --train.accumulate 4", "accumulate=4", "a divisor"),
    "sampler": ("--train.sampler most", "'most'", "one of all, balanced"),
    "sampler in order": (
        "--train.sampler balanced --train.shuffle false",
        "train.sampler 'balanced'",
        "shuffle true",
    ),
    "two helps": (
        "--train.sampler balanced --train.class_weights balanced",
        "train.class_weights 'balanced'",
        "one of the two",
    ),
    "weights": ("--train.class_weights heavy", "'heavy'", "one of none, balanced, or a list"),
    "weight below 0": ("--train.class_weights [1,-2]", "-2.0", "above 0"),
    "three weights": ("--train.class_weights [1,2,3]", "3 numbers for 10", "one for each"),
    "mixup": ("--augment.mixup 1000", "augment.mixup 1000", "from 0.01 to 100"),
    "cutmix": ("--augment.cutmix nan", "augment.cutmix is 'nan'", "a number"),
    "probability": ("--augment.mix_probability 2", "mix_probability 2", "from 0 to 1"),
    "smoothing": ("--train.label_smoothing 1", "label_smoothing 1", "below 1"),
    "padding": ("--augment.crop_padding 9", "crop_padding 9", "at most 8"),
    "mean": ("--data.mean [0.5,0.5]", "[0.5, 0.5]", "give 1"),
    "size": ("--data.size 4", "data.size 4", "8 or more"),
    "directory": ("--data.root nowhere", "data.root 'nowhere' does not exist", "train/<class>"),
    "source": ("--data.source digit", "data.source 'digit'", "nearest is digits"),
    "unknown device": ("--train.device tpu", "'tpu'", "cuda"),
    "half precision": ("--train.device cpu --train.precision fp16", "'fp16'", "bf16"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_a_setting_that_cannot_be(case: str, tmp_path: Path, refuse: Refuse) -> None:
    words, value, cure = SETTINGS[case]
    # The settings come last: one of them lacks its value.
    line = refuse("train", "--out", tmp_path / "new", *words.split())
    assert value in line and cure in line


def test_a_device_that_is_not_there(tmp_path: Path, refuse: Refuse) -> None:
    device = absent_device()
    line = refuse("train", "--train.device", device, "--out", tmp_path / "new")
    assert f"'{device}' is not there" in line and "cpu" in line


RECIPES = {
    "unknown key": ("train:\n  epoch: 3\n", "'train.epoch'", "train.epochs"),
    "unknown room": ("trainer:\n  epochs: 3\n", "'trainer.epochs'", "train.epochs"),
    "wrong type": ("train:\n  epochs: many\n", "train.epochs is 'many'", "a whole number"),
    "no room": ("train: 3\n", "train in ", "settings of its own"),
    "no mapping": ("- train\n", "no mapping", "train:"),
    "no YAML": ("train: [\n", "no YAML", "recipe.yaml"),
}


@pytest.mark.parametrize("case", RECIPES)
def test_a_recipe_that_cannot_be(case: str, tmp_path: Path, refuse: Refuse) -> None:
    text, value, cure = RECIPES[case]
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(text)
    line = refuse("train", recipe, "--out", tmp_path / "new")
    assert value in line and cure in line


# Words ---------------------------------------------------------------------------------------

WORDS = {
    "no command": ("", "no command", "train, distill, evaluate"),
    "command": ("trian", "'trian'", "nearest is train"),
    "option": ("info ghostnetv3 --per-stag", "--per-stag", "nearest is --per-stage"),
    "option of a setting": ("train --out x --epochs 3", "--epochs", "--train.epochs"),
    "choice": ("evaluate x --split tset", "'tset'", "'test'"),
    "missing": ("predict x", "IMAGES", "predict --help"),
    "count": ("predict x y --top 0", "'0'", "at least 1"),
    "recipe": ("train quickstart --out x", "quickstart", "quickstart-digits"),
    "no folder": ("train", "--out", "runs/NAME"),
    "setting of no effect": ("evaluate x --augment.flip random", "--augment.flip", "leave it out"),
    "network": ("info ghostnetv4", "'ghostnetv4'", "nearest is ghostnetv3,"),
    "width": ("info ghostnetv3 --model.width 0", "width is 0", "above 0"),
    "picture size": ("info ghostnetv3 --size 4", "--size 4", "8 or more"),
    "run": ("train --resume nowhere", "nowhere", "train --out"),
    "weights": ("evaluate nowhere", "nowhere", "runs/NAME"),
}


@pytest.mark.parametrize("case", WORDS)
def test_words_that_cannot_be(
    case: str, tmp_path: Path, refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words, value, cure = WORDS[case]
    line = refuse(*words.split())
    assert value in line and cure in line


# Data ----------------------------------------------------------------------------------------


def test_an_empty_class_folder(tmp_path: Path, refuse: Refuse) -> None:
    data = make_folder(tmp_path / "data")
    (data / "train" / "pear").mkdir()
    line = refuse("train", "--data.root", data, "--out", tmp_path / "new")
    assert "pear" in line and "image" in line


def test_one_class_only(tmp_path: Path, refuse: Refuse) -> None:
    data = make_folder(tmp_path / "data", classes=("apple",))
    line = refuse("train", "--data.root", data, "--out", tmp_path / "new")
    assert "apple" in line and "two" in line


@pytest.mark.parametrize("damage", ["truncated", "random", "empty"])
def test_a_picture_that_cannot_be_read(damage: str, tmp_path: Path, refuse: Refuse) -> None:
    data = make_folder(tmp_path / "data")
    picture = data / "train" / "leaf" / "003.png"
    whole = picture.read_bytes()
    picture.write_bytes(
        {"truncated": whole[: len(whole) // 2], "random": random.Random(0).randbytes(400)}.get(
            damage, b""
        )
    )
    line = refuse("train", "--data.root", data, "--out", tmp_path / "new")
    assert "leaf/003.png" in line and "replace or remove it" in line


def test_pictures_of_mixed_size(tmp_path: Path, refuse: Refuse) -> None:
    data = make_folder(tmp_path / "data", size=16)
    Image.new("RGB", (20, 12)).save(data / "train" / "leaf" / "odd.png")
    line = refuse("train", "--data.root", data, "--out", tmp_path / "new")
    assert "20x12" in line and "16x16" in line and "odd.png" in line and "--data.size" in line


def test_pictures_to_predict_that_cannot_be_read(
    weights: Path,
    tmp_path: Path,
    refuse: Refuse,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    good, bad = tmp_path / "a.png", tmp_path / "b.png"
    Image.new("L", (8, 8)).save(good)
    bad.write_bytes(good.read_bytes()[:40])
    # The others are answered to, in their order, and the status tells that not all were.
    assert main(["predict", str(weights), str(bad), str(good), str(bad)]) == 3
    out, err = capsys.readouterr()
    assert [line.split("  ")[0] for line in out.splitlines()] == [str(good)]
    assert err.splitlines()[0] == err.splitlines()[1]
    assert f"{bad} is not a readable" in err and "error: 2 of 3 images cannot be read" in err
    monkeypatch.setattr("ghostnet_small.use.prediction.MOST_REMARKS", 1)
    assert main(["predict", str(weights), str(bad), str(good), str(bad), "--json"]) == 3
    out, err = capsys.readouterr()
    first, second, third = json.loads(out)
    assert first == third and first.pop("error").startswith(f"{bad} is not a readable")
    assert first == {"path": str(bad), "label": None, "probability": None, "topk": []}
    assert (second["path"], second["topk"][0]["label"]) == (str(good), second["label"])
    assert "error" not in second and err.count("is not a readable") == 1
    assert "1 more images cannot be read" in err
    # Where there is nothing to answer, that is all there is to say.
    assert "none of the 2 images can be read" in refuse("predict", weights, bad, bad)
    assert str(bad) in refuse("predict", weights, bad)
    assert "c.png does not exist" in refuse("predict", weights, good, tmp_path / "c.png")
    (tmp_path / "folder").mkdir()
    assert "holds no image" in refuse("predict", weights, tmp_path / "folder")


def test_data_of_other_classes_or_channels(weights: Path, tmp_path: Path, refuse: Refuse) -> None:
    data = make_folder(tmp_path / "data", size=8, grey=True)
    line = refuse("evaluate", weights, "--data.root", data)
    assert "3 classes (apple, leaf, plum)" in line and "10 classes (0, 1, 2" in line
    assert "--data.root" in line
    line = refuse("evaluate", weights, "--data.channels", "3")
    assert "data.channels 3 is not what" in line and "8x8 in 1 channels; leave it out" in line


def test_a_folder_that_pictures_would_fall_into(tmp_path: Path, refuse: Refuse) -> None:
    (tmp_path / "there").mkdir()
    assert "exists" in refuse("data", "--save", tmp_path / "there")
    line = refuse("data", "--save", tmp_path / "new", "--count", "9999")
    assert "--count 9999" in line and "1 to " in line
    assert "--save" in refuse("data", "--count", "3")
    assert ".png" in refuse("data", "--views", tmp_path / "views.jpg")


# Weights -------------------------------------------------------------------------------------

USES = {
    "evaluate": ["evaluate"],
    "info": ["info"],
    "fold": ["fold", "--out", "new"],
    "predict": ["predict"],
}


@pytest.fixture(params=USES)
def use(
    request: pytest.FixtureRequest,
    weights: Path,
    tmp_path: Path,
    refuse: Refuse,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[], str]:
    """Each command that reads weights, refused."""
    monkeypatch.chdir(tmp_path)
    command, *options = USES[request.param]
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    pictures = [tmp_path / "a.png"] if command == "predict" else []
    return lambda: refuse(command, weights, *pictures, *options)


def test_truncated_weights(weights: Path, use: Callable[[], str]) -> None:
    file = weights / "model.safetensors"
    whole = file.read_bytes()
    for length in (0, 4, 100, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        line = use()
        assert "model.safetensors is damaged" in line and "copy it again" in line


def test_random_bytes_as_weights(weights: Path, use: Callable[[], str]) -> None:
    for seed in range(3):
        (weights / "model.safetensors").write_bytes(random.Random(seed).randbytes(5000))
        assert "model.safetensors is damaged" in use()


class Payload:
    """Unpickled, it would make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("kind", ["torch", "protocol 2", "protocol 4", "protocol 5"])
def test_a_pickle_is_never_executed(
    kind: str, weights: Path, tmp_path: Path, refuse: Refuse
) -> None:
    file = weights / "model.safetensors"
    payload = Payload(tmp_path / "executed")
    if kind == "torch":
        torch.save({"weight": payload}, file)
    else:
        file.write_bytes(pickle.dumps(payload, protocol=int(kind[-1])))
    for line in (refuse("evaluate", weights), refuse("info", weights)):
        assert "is a pickle" in line and "save_file" in line
    assert not (tmp_path / "executed").exists()
    # The payload is live: it is the refusal that kept it from running.
    pickle.loads(pickle.dumps(payload))
    assert (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"architecture": "ghostnetv3"}, "another architecture"),
        ({"width": 0.5}, "of another architecture"),
        ({"form": "deployed"}, "another architecture"),
        ({"architecture": "resnet"}, "'resnet'"),
        ({"width": "wide"}, "'wide'"),
        ({"num_classes": 7}, "config.json"),
        ({"form": "melted"}, "'melted'"),
    ],
    ids=str,
)
def test_weights_of_another_architecture(
    change: dict[str, object], said: str, weights: Path, use: Callable[[], str]
) -> None:
    config = json.loads((weights / "config.json").read_text())
    (weights / "config.json").write_text(json.dumps(config | change))
    assert "digest" in use()
    del config["digest"]  # as one who edits it by hand is told to
    (weights / "config.json").write_text(json.dumps(config | change))
    assert said in use()


def test_a_config_that_is_damaged(weights: Path, use: Callable[[], str]) -> None:
    for text in ("", "[]", "{}", '{"form": "training"}', "\x00", '{"form": 1e999}'):
        (weights / "config.json").write_text(text)
        assert "config.json" in use()


def test_weights_that_are_not_finite(weights: Path, refuse: Refuse) -> None:
    model, info = gns.load(weights)
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    gns.save_model(model, info, weights)
    assert "not finite" in refuse("evaluate", weights)


def test_best_weights_where_there_are_none(weights: Path, tmp_path: Path, refuse: Refuse) -> None:
    run = tmp_path / "run"
    run.mkdir()
    weights.rename(run / "last")
    assert "--weights last" in refuse("evaluate", run, "--weights", "best")


def test_folding_what_is_folded_or_onto_something(
    weights: Path, tmp_path: Path, refuse: Refuse
) -> None:
    model, info = gns.load(weights)
    folded = gns.reparameterize(model)
    gns.save_model(folded, info, tmp_path / "folded")  # type: ignore[arg-type]
    line = refuse("fold", tmp_path / "folded", "--out", tmp_path / "new")
    assert "folded already" in line
    assert "exists" in refuse("fold", weights, "--out", tmp_path / "folded")


# Runs ----------------------------------------------------------------------------------------


def test_a_run_folder_that_exists(run: Path, tmp_path: Path, refuse: Refuse) -> None:
    line = refuse("train", "--out", run)
    assert f"{run} exists" in line and f"train --resume {run}" in line
    (tmp_path / "other").mkdir()
    line = refuse("train", "--out", tmp_path / "other")
    assert "other exists" in line and "resume" not in line
    assert "is not a folder" in refuse("train", "--out", run / "recipe.yaml" / "new")


def test_a_resume_with_changed_settings(run: Path, refuse: Refuse) -> None:
    line = refuse("train", "--resume", run, "--train.epochs", "99", "--optimizer.name=adamw")
    assert "train.epochs 30 -> 99" in line and "optimizer.name 'sgd' -> 'adamw'" in line
    assert "a new --out" in line
    assert "leave out RECIPE" in refuse("train", "quickstart-digits", "--resume", run)


def test_a_resume_on_other_data(run: Path, tmp_path: Path, refuse: Refuse) -> None:
    folder = RunFolder(run)
    folder.extra = {"fingerprint": "f" * 64, "sessions": []}
    folder.save_state({"model.x": torch.zeros(1)}, {})
    line = refuse("train", "--resume", run)
    assert "f" * 12 in line and "--data.root" in line


def test_a_damaged_state(run: Path, refuse: Refuse) -> None:
    (run / "state.safetensors").write_bytes(b"\x80\x04" + bytes(100))
    assert "is a pickle" in refuse("train", "--resume", run)
    (run / "state.safetensors").write_bytes(random.Random(1).randbytes(1000))
    assert "state.safetensors is damaged" in refuse("train", "--resume", run)


@pytest.mark.parametrize(
    "words",
    [
        ("data", "--data.source", "PATH"),
        ("data", "--data.root", "PATH"),
        ("predict", "ghostnetv3_small_w1.0_cifar10", "PATH"),
        ("train", "PATH", "--out", "x"),
        ("train", "--model.weights", "PATH", "--out", "x"),
        ("distill", '--distill.teachers=["PATH"]', "--out", "x"),
    ],
)
def test_a_home_that_nobody_knows(words: tuple[str, ...], refuse: Refuse) -> None:
    path = "~nobody-of-that-name/x"
    assert path in refuse(*(word.replace("PATH", path) for word in words))
