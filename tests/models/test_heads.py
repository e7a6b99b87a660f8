"""Networks with another number of features before the classifier than the paper's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ghostnet_small as gns
from engine_kit import made_data
from ghostnet_small import fast
from ghostnet_small.cli import main
from ghostnet_small.deploy.description import describe, read_description
from ghostnet_small.errors import InputError
from ghostnet_small.models.ghostnetv3 import GhostNetV3
from ghostnet_small.models.weights import CONFIG, weights_digest
from ghostnet_small.recipe.recipe import Recipe, read_recipe
from ghostnet_small.run.build_network import network_of
from ghostnet_small.use.describe_model import describe_model
from networks import randomize_network, relative
from scrambled import scrambled

BOTH = ("ghostnetv3_small", "ghostnetv3")
INFO = gns.ModelInfo(tuple("abcdefghij"), (8, 8), (0.5,) * 3, (0.2,) * 3, {"name": "x"})


def make(name: str = "ghostnetv3_small", **options: Any) -> GhostNetV3:
    torch.manual_seed(0)
    model = gns.create_model(name, width=0.25, **options)
    assert isinstance(model, GhostNetV3)
    return model


@pytest.mark.parametrize("name", BOTH)
def test_the_papers_head_is_the_default_to_the_bit(name: str) -> None:
    plain, named = make(name), make(name, head=1280)
    assert plain.config == named.config and "head" not in plain.config
    assert list(plain.state_dict()) == list(named.state_dict())
    assert weights_digest(plain) == weights_digest(named)
    assert Recipe().hash() == read_recipe(None, ["--model.head", "1280"]).hash()
    assert Recipe().hash() != read_recipe(None, ["--model.head", "256"]).hash()


@pytest.mark.parametrize("name", BOTH)
def test_only_the_head_changes(name: str) -> None:
    usual, small = make(name), make(name, head=11)
    shapes = {key: value.shape for key, value in usual.state_dict().items()}
    found = {key: value.shape for key, value in small.state_dict().items()}
    changed = [key for key in shapes if shapes[key] != found[key]]
    assert changed == ["head.weight", "head.bias", "classifier.weight"]
    assert small.head_hidden_size == 11
    x = torch.randn(2, 3, 8, 8)
    assert small(x).shape == (2, 10)
    assert small.forward_head(small.forward_features(x), pre_logits=True).shape == (2, 11)
    small.reset_classifier(3)
    assert small(x).shape == (2, 3)


@pytest.mark.parametrize("name", BOTH)
def test_it_folds_and_comes_back_from_a_folder(name: str, tmp_path: Path) -> None:
    x = torch.randn(32, 3, 16, 16)
    model = randomize_network(make(name, head=20), x)
    assert isinstance(model, GhostNetV3)
    folded = gns.reparameterize(model)
    for form in (model, folded):
        folder = tmp_path / type(form.stem).__name__
        gns.save_model(form, INFO, folder)  # type: ignore[arg-type]
        written = json.loads((folder / CONFIG).read_text())
        assert written["head"] == written["model_args"]["head"] == 20
        loaded, _ = gns.load(folder)
        assert loaded.config["head"] == 20
        with torch.inference_mode():
            assert torch.equal(loaded(x), form(x))
    exact = model.double()
    with torch.inference_mode():
        assert relative(gns.reparameterize(exact)(x.double()), exact(x.double())) < 1e-12


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("head", [8, 9, 260])
def test_kernels_train_it_as_its_definition(head: int) -> None:
    found = []
    for compute in ("branches", "merged"):
        torch.manual_seed(1)
        model = scrambled(make(head=head)).double().train()
        assert isinstance(model, GhostNetV3)
        fast.use(model, compute)
        x = torch.randn(6, 3, 8, 8, dtype=torch.float64)
        torch.nn.functional.cross_entropy(model(x), torch.arange(6)).backward()
        found.append([model.head.weight.grad, model.head.bias.grad, model.stem.conv.weight.grad])
    assert all(relative(a, b) < 1e-9 for a, b in zip(*found, strict=True))


def test_info_counts_it() -> None:
    usual, small = (describe_model("ghostnetv3_small", head=head) for head in (None, 256))
    assert (usual["head"], small["head"]) == (1280, 256)
    # Between 160 features and 10 classes, 1024 fewer.
    for form in ("training", "deployed"):
        assert usual["params"][form] - small["params"][form] == 1024 * (160 + 1 + 10)
        assert usual["macs"][form] - small["macs"][form] == 1024 * (160 + 10)


def test_the_command_counts_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "ghostnetv3_small", "--model.head", "256"]) == 0
    assert "ghostnetv3_small, width 1, head 256, 10 classes" in capsys.readouterr().out
    assert main(["info", "ghostnetv3_small", "--model.head", "5000"]) == 2
    assert "head is 5000; it must be a whole number from 8 to 4096" in capsys.readouterr().err


def test_a_recipe_trains_a_network_of_its_head() -> None:
    recipe = read_recipe(None, ["--model.width", "0.25", "--model.head", "17"])
    model = network_of(recipe, made_data(), fetch=False)
    assert isinstance(model, GhostNetV3) and model.head_hidden_size == 17


def test_a_file_says_it_where_it_is_not_the_papers() -> None:
    usual, small = (describe(make(head=head), INFO) for head in (1280, 20))
    assert '"head"' not in usual.as_json() and '"head": 20' in small.as_json()
    assert read_description(usual.as_json(), "a file") == usual
    assert read_description(small.as_json(), "a file") == small


@pytest.mark.parametrize(
    ("name", "head", "said"),
    [
        ("ghostnetv3_small", 7, "head is 7; it must be a whole number from 8 to 4096"),
        ("ghostnetv3_small", 4097, "head is 4097; it must be"),
        ("ghostnetv3", 256.0, "head is 256.0; it must be"),
        ("ghostnetv3", True, "head is True; it must be"),
        ("resnet18", 256, "head is 256; it is for ghostnetv3_small and ghostnetv3, and resnet18"),
    ],
)
def test_heads_that_cannot_be(name: str, head: Any, said: str) -> None:
    with pytest.raises(InputError) as raised:
        gns.create_model(name, head=head)
    assert said in str(raised.value) and "\n" not in str(raised.value)


def test_a_number_of_numpy_is_a_head() -> None:
    model = make(head=np.int64(16))
    assert json.dumps(model.config) and model.head_hidden_size == 16


def test_timm_takes_it(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    from ghostnet_small import timm_models

    model = timm.create_model("ghostnetv3_small", width=0.25, head=24)
    assert model.get_classifier().in_features == model.head_hidden_size == 24
    gns.save_model(model, INFO, tmp_path)
    again = timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
    assert torch.equal(again.head.weight, model.head.weight)
    with pytest.raises(InputError, match=r"head is 24; the weights ghostnetv3_small\S+ have 1280"):
        timm_models.ghostnetv3_small(pretrained=True, head=24)
