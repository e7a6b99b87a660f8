"""Fine-tuning: what a training starts from, how it is made to fit, and what is kept of it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import ghostnet_small as gns
from engine_kit import Silent
from ghostnet_small.errors import InputError
from ghostnet_small.models.settings import ModelSettings
from ghostnet_small.recipe.recipe import Recipe, read_recipe, terms
from ghostnet_small.recipe.shareable import portable_recipe, portable_record
from ghostnet_small.run import start as study
from ghostnet_small.run.initial_weights import Beginning
from ghostnet_small.run.run_folder import RunFolder
from ghostnet_small.study.training_job import Job, check_beginnings
from ghostnet_small.tensorfile import read_tensors
from ghostnet_small.train.interfaces import Interrupted
from ghostnet_small.train.processes import ALONE
from networks import randomize_network, relative

pytestmark = pytest.mark.usefixtures("no_pictures")

COLOURS = ("red", "green", "blue")
DIGITS = tuple(map(str, range(10)))
WIDTH = 0.05
# 48 pictures to train on, in three steps an epoch.
WORDS = [
    *("--model.width", str(WIDTH), "--data.limit", "60", "--data.validation", "0.2"),
    *("--train.epochs", "2", "--train.batch_size", "16", "--train.device", "cpu"),
    *("--train.ema_decay", "0.9", "--train.checkpoint_seconds", "0"),
]


def make_weights(
    folder: Path,
    *,
    channels: int = 3,
    classes: tuple[str, ...] = COLOURS,
    seed: int = 1,
    fold: bool = False,
    name: str = "ghostnetv3_small",
) -> Path:
    torch.manual_seed(seed)
    width = WIDTH if name.startswith("ghostnet") else 1.0
    model = gns.create_model(name, width=width, num_classes=len(classes), in_channels=channels)
    if width == WIDTH:
        randomize_network(model, torch.randn(4, channels, 8, 8), seed)
    if fold:
        model = gns.reparameterize(model.eval())  # type: ignore[assignment]
    info = gns.ModelInfo(classes, (8, 8), (0.5,) * channels, (0.2,) * channels, {"name": "first"})
    gns.save_model(model, info, folder)
    return folder


@pytest.fixture(scope="module")
def colour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_weights(tmp_path_factory.mktemp("weights") / "colour")


def asked(weights: Path | str, **changes: Any) -> ModelSettings:
    return ModelSettings(**{"width": WIDTH, "weights": str(weights), **changes})


def filled(weights: Path, channels: int, classes: tuple[str, ...]) -> tuple[Any, dict[str, Any]]:
    beginning = Beginning(asked(weights))
    torch.manual_seed(9)
    model = gns.create_model(
        "ghostnetv3_small", width=WIDTH, num_classes=len(classes), in_channels=channels
    )
    beginning.fill(model, classes)
    return model.eval(), beginning.about


def recipe_of(*more: str) -> Recipe:
    return read_recipe(None, [*WORDS, *more])


def never() -> int | None:
    return None


def start(recipe: Recipe, out: Path, stop: Any = never) -> dict[str, Any]:
    return study.start(recipe, out, watcher=Silent(), stop_signal=stop)


def resume(out: Path, *words: str) -> dict[str, Any]:
    return study.resume(out, list(words), watcher=Silent(), stop_signal=never)


# -- how weights are made to fit ---------------------------------------------------------------


def test_the_same_classes_and_channels_give_the_same_logits(colour: Path) -> None:
    model, about = filled(colour, 3, COLOURS)
    given, _ = gns.load(colour)
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(model(x), given(x))
    assert (about["classifier"], about["channels"]) == ("kept", 3)


def test_classes_in_another_order_keep_their_rows(
    colour: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = tuple(reversed(COLOURS))
    model, about = filled(colour, 3, other)
    given, _ = gns.load(colour)
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(model(x), given(x).flip(1))
    assert about["classifier"] == "kept"
    assert "know the data's classes in another order" in caplog.text


@pytest.mark.parametrize("classes", [(*COLOURS[:-1], "pink"), ("a", "b", "c"), DIGITS])
def test_other_classes_start_the_classifier_afresh(colour: Path, classes: tuple[str, ...]) -> None:
    model, about = filled(colour, 3, classes)
    given, _ = gns.load(colour)
    torch.manual_seed(9)
    fresh = gns.create_model("ghostnetv3_small", width=WIDTH, num_classes=len(classes))
    assert about["classifier"] == "afresh"
    assert torch.equal(model.classifier.weight, fresh.classifier.weight)
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        ours = model.forward_head(model.forward_features(x), pre_logits=True)
        assert torch.equal(ours, given.forward_head(given.forward_features(x), pre_logits=True))


def test_grey_pictures_are_answered_to_as_the_same_in_colour(colour: Path) -> None:
    model, about = filled(colour, 1, COLOURS)
    given, _ = gns.load(colour)
    grey = torch.randn(2, 1, 8, 8)
    with torch.no_grad():
        assert relative(model(grey), given(grey.expand(-1, 3, -1, -1))) < 1e-5
    assert about["channels"] == 3


def test_colour_is_answered_to_by_its_mean(tmp_path: Path) -> None:
    weights = make_weights(tmp_path / "grey", channels=1)
    model, _ = filled(weights, 3, COLOURS)
    given, _ = gns.load(weights)
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        assert relative(model(x), given(x.mean(1, keepdim=True))) < 1e-5


def test_a_teacher_is_fine_tuned_too(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    weights = make_weights(tmp_path / "resnet", name="resnet18")
    beginning = Beginning(asked(weights, name="resnet18", width=1.0))
    model = gns.create_model("resnet18", num_classes=4, in_channels=1)
    fresh = model.state_dict()["network.fc.weight"].clone()
    beginning.fill(model, ("a", "b", "c", "d"))
    state, given = model.state_dict(), gns.load(weights)[0].state_dict()
    assert torch.equal(state["network.fc.weight"], fresh)
    assert torch.equal(state["network.layer4.1.bn2.bias"], given["network.layer4.1.bn2.bias"])
    summed = given["network.conv1.weight"].sum(1, keepdim=True)
    assert torch.equal(state["network.conv1.weight"], summed)
    with pytest.raises(InputError, match=r"trained with model\.upsample null"):
        Beginning(asked(weights, name="resnet18", width=1.0, upsample=64))


@pytest.mark.parametrize("classes", [("a", "b", "c", "d"), None])
def test_a_smaller_head_keeps_the_first_features(
    colour: Path, classes: tuple[str, ...] | None
) -> None:
    given, info = gns.load(colour)
    model = gns.create_model(
        "ghostnetv3_small", width=0.05, head=64, num_classes=len(classes or info.classes)
    )
    Beginning(asked(colour, head=64)).fill(model, classes or info.classes)
    assert torch.equal(model.head.weight, given.head.weight[:64])
    assert torch.equal(model.head.bias, given.head.bias[:64])
    # A classifier that is kept reads the features that are.
    kept = torch.equal(model.classifier.weight[:2], given.classifier.weight[:2, :64])
    assert kept == (classes is None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"width": 0.1}, "give --model.width 0.05"),
        (
            {"head": 1288},
            "are of head 1280, and model.head is 1288; give --model.head 1280 or fewer",
        ),
        ({"name": "ghostnetv3"}, "give --model.name ghostnetv3_small"),
        ({"weights": "nowhere"}, "model.weights nowhere: nowhere is not a folder"),
        ({"weights": "hf-hub:nowhere"}, "not the name of a model of the hub"),
    ],
)
def test_what_does_not_fit_is_named(colour: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as raised:
        Beginning(asked(**{"weights": colour, **changes}))
    assert said in str(raised.value) and "\n" not in str(raised.value)


def test_folded_weights_cannot_be_trained(tmp_path: Path) -> None:
    weights = make_weights(tmp_path / "folded", fold=True)
    with pytest.raises(InputError, match="folded weights cannot be trained"):
        Beginning(asked(weights))


def test_it_is_refused_before_any_work(tmp_path: Path, colour: Path) -> None:
    recipe = recipe_of("--model.weights", str(colour), "--model.width", "0.1")
    # These data do not exist, and it is not of them that the error speaks.
    recipe = replace(recipe, data=replace(recipe.data, root=str(tmp_path / "none")))
    with pytest.raises(InputError, match=r"give --model\.width 0\.05"):
        start(recipe, tmp_path / "run")
    new, begun = (Job(name, tmp_path / name, recipe) for name in ("new", "begun"))
    check_beginnings({begun: "stopped"})
    with pytest.raises(InputError, match=r"give --model\.width 0\.05"):
        check_beginnings({begun: "stopped", new: "missing"})
    both = ModelSettings(name="resnet18", weights="x", pretrained=True)
    with pytest.raises(InputError, match="leave one of them out"):
        start(replace(recipe, model=both), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# -- what is kept of it ------------------------------------------------------------------------


def test_the_recipe_counts_that_there_are_weights_and_not_where(colour: Path) -> None:
    plain, one = recipe_of(), recipe_of("--model.weights", str(colour))
    other = recipe_of("--model.weights", "elsewhere")
    assert one.hash() == other.hash() != plain.hash()
    assert one.changes(other) == []
    assert plain.changes(one) == [f"model.weights None -> {colour}"]
    # A recipe of before there was the setting has the hash that it had.
    before = plain.as_dict()
    del before["model"]["weights"]
    assert terms(before) == terms(plain.as_dict())
    kept = portable_recipe(recipe_of("--model.weights", "hf-hub:o/n").as_dict())
    assert kept["model"]["weights"] == "hf-hub:o/n"
    assert portable_recipe(one.as_dict())["model"]["weights"] is None


def test_the_average_starts_from_the_weights(tmp_path: Path, colour: Path) -> None:
    recipe = recipe_of("--model.weights", str(colour))
    folder = RunFolder(tmp_path / "run")
    training = study._prepare(recipe, folder, Silent(), never, ALONE).training
    assert training.ema is not None
    given = gns.load(colour)[0].state_dict()
    for state in (training.model.state_dict(), training.ema.model.state_dict()):
        assert torch.equal(state["head.weight"], given["head.weight"])
        assert torch.equal(state["last.bn.running_var"], given["last.bn.running_var"])


def test_a_run_goes_on_without_the_weights_it_started_from(tmp_path: Path) -> None:
    weights = make_weights(tmp_path / "weights")
    recipe = recipe_of("--model.weights", str(weights))
    whole = start(recipe, tmp_path / "whole")
    digest = whole["beginning"]["weights_sha256"]
    assert len(digest) == 64 and whole["beginning"]["name"] == str(weights)
    polls = iter(range(3))
    with pytest.raises(Interrupted):
        start(recipe, tmp_path / "run", lambda: 2 if next(polls, None) is None else None)
    _, values = read_tensors(tmp_path / "run" / "state.safetensors")
    assert values["beginning"]["weights_sha256"] == digest
    shutil.rmtree(weights)
    summary = resume(tmp_path / "run")
    assert summary["beginning"] == whole["beginning"]
    ours, theirs = (gns.load(tmp_path / name)[0].state_dict() for name in ("run", "whole"))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    # What is published of it names no folder.
    assert str(tmp_path) not in json.dumps(portable_record(summary))


def test_before_a_state_other_weights_are_refused(tmp_path: Path) -> None:
    weights = make_weights(tmp_path / "weights")
    out = tmp_path / "run"
    recipe = recipe_of("--model.weights", str(weights))
    prepared = study._prepare(recipe, RunFolder(out), Silent(), never, ALONE)
    RunFolder(out).create(recipe, prepared.beginning)  # and killed before the first state
    make_weights(weights, seed=2)
    with pytest.raises(InputError, match=r"model\.weights are not those that .* was started from"):
        resume(out)
    # Those that it was started from may lie elsewhere by now.
    # Those that it was started from may lie elsewhere by now.
    moved = make_weights(tmp_path / "moved")
    assert "test_top1" in resume(out, "--model.weights", str(moved))["last"]


def test_what_it_started_from_is_not_to_be_changed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create(recipe_of(), {"weights_sha256": "0" * 64})
    assert folder.beginning() == {"weights_sha256": "0" * 64}
    file = tmp_path / "run" / "beginning.json"
    file.write_text(file.read_text().replace("0", "1"))
    with pytest.raises(InputError, match=r"beginning\.json is damaged"):
        folder.beginning()
