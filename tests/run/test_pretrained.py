"""A training that starts from pretrained weights of timm, and settings of how it moves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

import ghostnet_small as gns
from engine_kit import Silent
from ghostnet_small.cli import main
from ghostnet_small.errors import InputError
from ghostnet_small.recipe.recipe import Recipe, read_recipe
from ghostnet_small.recipe.shareable import portable_record
from ghostnet_small.run import start as study
from ghostnet_small.tensorfile import read_tensors
from ghostnet_small.train.interfaces import Interrupted
from small_run import weights_of

pytestmark = pytest.mark.usefixtures("no_pictures")

WORDS = [
    *("--model.name", "timm/test_efficientnet.r160_in1k", "--model.upsample", "32"),
    *("--data.limit", "32", "--data.validation", "0.25", "--train.batch_size", "8"),
    *("--train.epochs", "1", "--train.device", "cpu", "--train.threads", "1"),
    *("--optimizer.learning_rate", "0.01"),
]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(7)
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save(timm.create_model("test_efficientnet").state_dict(), path)
    return path


def recipe_of(file: Path | bool, *more: str) -> Recipe:
    return read_recipe(None, [*WORDS, "--model.pretrained", str(file).lower(), *more])


def start(recipe: Recipe, out: Path, polls: int = 10**6) -> dict[str, Any]:
    left = iter(range(polls))
    return study.start(
        recipe, out, watcher=Silent(), stop_signal=lambda: 2 if next(left, None) is None else None
    )


def trained(out: Path) -> dict[str, torch.Tensor]:
    return read_tensors(out / "last" / "model.safetensors")[0]


def is_classifier(name: str) -> bool:
    return name.startswith("classifier")


def test_from_a_file_to_a_record(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    recipe = read_recipe(None, [*WORDS, "--model.pretrained", file.name])
    # Where the weights come from is of the place.
    assert recipe.model.pretrained == file.name
    assert recipe.hash() == recipe_of(True).hash() != recipe_of(False).hash()
    assert recipe.changes(recipe_of(True)) == []
    assert recipe.changes(recipe_of(False)) == ["model.pretrained True -> False"]
    with pytest.raises(Interrupted):
        start(recipe, tmp_path / "run", 2)
    # Resumed elsewhere: the first state replaced the weights, and the file is not asked for.
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--resume", str(tmp_path / "run")]) == 0
    record = json.loads((tmp_path / "run" / "summary.json").read_text())
    about = record["beginning"]
    assert about["pretrained_on"] == "ImageNet-1k" and len(about["weights_sha256"]) == 64
    assert portable_record(record)["beginning"] == about
    assert portable_record(record)["recipe"]["model"]["pretrained"] is True
    _, info = gns.load(tmp_path / "run")
    known = timm.get_pretrained_cfg("test_efficientnet.r160_in1k")
    assert known is not None
    assert info.mean == pytest.approx([sum(known.mean) / 3])
    assert info.std == pytest.approx([sum(known.std) / 3])


def test_a_mean_that_is_given_stays(file: Path, tmp_path: Path) -> None:
    start(recipe_of(file, "--data.mean", "[0.25]"), tmp_path / "run")
    _, info = gns.load(tmp_path / "run")
    assert info.mean == (0.25,) and info.std != (0.25,)


def test_a_frozen_backbone_stays_as_it_was(file: Path, tmp_path: Path) -> None:
    start(recipe_of(file, "--optimizer.backbone_rate", "0"), tmp_path / "run")
    state = torch.load(file, weights_only=True)
    state["conv_stem.weight"] = state["conv_stem.weight"].sum(1, keepdim=True)
    for name, tensor in trained(tmp_path / "run").items():
        if not is_classifier(name):  # batch norms' statistics among them
            assert torch.allclose(tensor, state[name], atol=1e-6), name


def test_a_slower_backbone_moves_less(file: Path, tmp_path: Path) -> None:
    once = ["--train.batch_size", "24", "--schedule.warmup", "0", "--optimizer.weight_decay", "0"]
    moved: dict[str, dict[str, torch.Tensor]] = {}
    for share in ("1", "0.1", "0"):
        start(recipe_of(file, *once, "--optimizer.backbone_rate", share), tmp_path / share)
        moved[share] = trained(tmp_path / share)
    # One step from the same weights, by the same gradient.
    name = "blocks.0.0.conv.weight"
    whole, slow = (moved[share][name] - moved["0"][name] for share in ("1", "0.1"))
    assert whole.abs().max() > 1e-6
    assert torch.allclose(slow, 0.1 * whole, rtol=0.05, atol=1e-6)
    assert torch.allclose(moved["1"]["classifier.bias"], moved["0.1"]["classifier.bias"])


def test_a_frozen_ghostnet_trains_its_classifier(tmp_path: Path) -> None:
    words = ["--model.width", "0.05", *WORDS[4:]]
    start(read_recipe(None, words), tmp_path / "first")
    frozen = ["--model.weights", str(tmp_path / "first"), "--optimizer.backbone_rate", "0"]
    for form in ("merged", "branches"):
        out = tmp_path / form
        start(read_recipe(None, [*words, *frozen, "--model.rep_conv", form]), out)
        before, after = trained(tmp_path / "first"), trained(out)
        same = {name for name in before if torch.equal(before[name], after[name])}
        assert {name for name in before if not is_classifier(name)} == same
        assert "classifier.weight" not in same


@pytest.mark.parametrize("setting", ["dropout", "drop_path"])
def test_a_resumed_run_draws_the_same(file: Path, tmp_path: Path, setting: str) -> None:
    recipe = recipe_of(file, f"--model.{setting}", "0.5")
    start(recipe, tmp_path / "whole")
    with pytest.raises(Interrupted):
        start(recipe, tmp_path / "cut", 2)
    torch.manual_seed(99)
    assert main(["train", "--resume", str(tmp_path / "cut")]) == 0
    assert weights_of(tmp_path / "cut") == weights_of(tmp_path / "whole")
    start(recipe_of(file), tmp_path / "plain")
    assert weights_of(tmp_path / "plain") != weights_of(tmp_path / "whole")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model.dropout", "1"], "dropout 1.0 is not allowed"),
        (["--optimizer.backbone_rate", "-1"], "backbone_rate -1.0 is not allowed"),
        (["--model.interpolation", "cubic"], "one of bilinear, bicubic"),
        (["--model.pretrained", "5"], "'5' is not a file|5 is not a file"),
        (["--data.channels", "4"], "4 channels|channels"),
    ],
)
def test_bad_settings(file: Path, tmp_path: Path, words: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        start(recipe_of(file, *words), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_layers_that_nothing_has_trained_are_not_frozen(file: Path, tmp_path: Path) -> None:
    frozen = ["--optimizer.backbone_rate", "0"]
    with pytest.raises(InputError, match=r"give model\.pretrained or model\.weights"):
        start(read_recipe(None, [*WORDS, *frozen]), tmp_path / "run")
    fitted = [*WORDS, *frozen, "--model.name", "resnet18", "--model.upsample", "null"]
    with pytest.raises(InputError, match="the stem of resnet18 for tiny images"):
        start(read_recipe(None, [*fitted, "--model.pretrained", str(file)]), tmp_path / "run")


def test_settings_that_a_ghostnet_has_not(tmp_path: Path) -> None:
    for words in (["--model.drop_path", "0.1"], ["--model.interpolation", "bicubic"]):
        with pytest.raises(InputError, match="is for networks of timm"):
            start(read_recipe(None, [*WORDS[4:], *words]), tmp_path / "run")
