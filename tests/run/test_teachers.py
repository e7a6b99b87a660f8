"""A teacher is trained, resumed, evaluated and asked as a GhostNet is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ghostnet_small as gns
from engine_kit import Silent
from ghostnet_small.cli import main
from ghostnet_small.errors import InputError
from ghostnet_small.models import timm_network
from ghostnet_small.models.teachers import is_timm
from ghostnet_small.models.timm_network import TimmNetwork
from ghostnet_small.recipe.recipe import Recipe, read_recipe
from ghostnet_small.recipe.shipped_recipes import shipped_recipes
from ghostnet_small.run import start as study
from ghostnet_small.train.interfaces import Interrupted
from ghostnet_small.use.describe_model import describe_model
from small_run import weights_of

WORDS = [
    *("--model.name", "resnet18", "--data.limit", "16", "--data.validation", "0.25"),
    *("--train.batch_size", "6", "--train.epochs", "1"),
    *("--train.device", "cpu", "--train.threads", "1"),
]


def after(polls: int) -> Any:
    left = iter(range(polls))
    return lambda: 2 if next(left, None) is None else None


def start(recipe: Recipe, out: Path, stop: Any = lambda: None) -> dict[str, Any]:
    return study.start(recipe, out, watcher=Silent(), stop_signal=stop)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("runs") / "resnet18"
    assert main(["train", *WORDS, "--out", str(out)]) == 0
    return out


def test_a_run_of_a_teacher(trained: Path) -> None:
    summary = json.loads((trained / "summary.json").read_text())
    assert summary["model"]["params"] == {"training": 11_172_810, "deployed": 11_172_810}
    model, info = gns.load(trained)
    assert isinstance(model, TimmNetwork) and model.config["in_channels"] == 1
    assert info.recipe["model"]["name"] == "resnet18"


def test_a_resumed_run_ends_in_the_same_weights(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        start(read_recipe(None, WORDS), out, after(0))
    assert main(["train", "--resume", str(out)]) == 0
    assert weights_of(out) == weights_of(trained)


def test_evaluate_predict_and_info(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = json.loads((trained / "summary.json").read_text())
    for more in ([], ["--no-fold"]):
        assert main(["evaluate", str(trained), "--json", *more]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["correct"] == summary["last"]["test_correct"]
    assert main(["data", "--save", str(tmp_path / "digits"), "--count", "2"]) == 0
    capsys.readouterr()
    assert main(["predict", str(trained), str(tmp_path / "digits"), "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert len(answers) == 2 and all(len(answer["topk"]) == 5 for answer in answers)
    assert main(["info", str(trained), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["params"] == summary["model"]["params"] and report["picture"] == [1, 8, 8]


def test_what_a_teacher_is_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    cases = [
        (["fold", str(trained), "--out", str(out)], "no branches to fold"),
        (["train", *WORDS, "--model.name", "vgg13_bn", "--out", str(out)], "8x8 are too small"),
        (["train", *WORDS, "--model.upsample", "4", "--out", str(out)], "upsample is 4"),
        (["train", *WORDS, "--widths", "1,2", "--out", str(out)], "one width"),
        (["train", "--model.pretrained", "true", "--out", str(out)], "model.weights"),
        (["train", "--model.upsample", "32", "--out", str(out)], "data.size"),
        (["benchmark", "train", "--model.name", "resnet18"], "one form"),
        (["info", "resnet18", "--model.upsample", "16"], "larger than model.upsample"),
        (["info", str(trained), "--model.upsample", "16"], "no effect"),
    ]
    for words, said in cases:
        assert main(words) == 2, words
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1, error
        assert not out.exists()


def test_info_of_an_upsampled_teacher() -> None:
    plain, upsampled = (describe_model("resnet18", upsample=u, size=16) for u in (None, 64))
    assert "upsample" not in plain and upsampled["upsample"] == 64
    assert upsampled["picture"] == plain["picture"] == [3, 16, 16]
    assert upsampled["macs"] != plain["macs"]


def test_pretrained_weights_are_not_fetched_for_a_run_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, there = timm_network._from_timm, [True]

    def from_timm(name: str, teacher: Any, pretrained: bool, words: Any) -> nn.Module:
        if pretrained and not there:
            raise InputError("the hub is gone")
        return build(name, teacher, False, words)  # type: ignore[no-any-return]

    monkeypatch.setattr(timm_network, "_from_timm", from_timm)
    recipe = read_recipe(None, [*WORDS, "--model.pretrained", "true"])
    out, early = tmp_path / "out", tmp_path / "early"
    with pytest.raises(Interrupted):
        start(recipe, out, after(0))
    # Before the first state there is nothing to go on from but the fetched weights.
    shutil.copytree(out, early, ignore=shutil.ignore_patterns("state*"))
    there.clear()
    for folder in (early, tmp_path / "new"):
        with pytest.raises(InputError, match="the hub is gone"):
            if folder == early:
                study.resume(folder, [], watcher=Silent(), stop_signal=after(9))
            else:
                start(recipe, folder)
    assert not (tmp_path / "new").exists()
    study.resume(out, [], watcher=Silent(), stop_signal=lambda: None)
    gns.load(out)


def test_recipes_of_teachers() -> None:
    recipes = [read_recipe(file) for name, file in shipped_recipes().items() if "teach" in name]
    assert len(recipes) >= 6 and any(recipe.model.pretrained for recipe in recipes)
    for recipe in recipes:
        assert is_timm(recipe.model.name)
        assert recipe.train.label_smoothing == recipe.augment.mixup == recipe.augment.cutmix == 0
        # Of the data, or as the pretrained weights are used to.
        assert recipe.data.mean is recipe.data.std is None


def test_pictures_too_small_at_evaluation(trained: Path, tmp_path: Path) -> None:
    from ghostnet_small.use.evaluation import evaluate_classifier

    model = gns.create_model("resnet18", in_channels=1, upsample=8)
    _, info = gns.load(trained)
    gns.save_model(model, info, tmp_path)
    with pytest.raises(InputError, match=r"larger than model\.upsample 8"):
        evaluate_classifier(tmp_path, overrides=["--data.size", "9"], say=print)
