"""Weights that timm saved are read where their network is known here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.models import save_for_hf

import ghostnet_small as gns
import ghostnet_small.timm_models
from ghostnet_small.errors import InputError
from ghostnet_small.publish.card import model_card
from networks import randomize_network

SMALL = {"pretrained_cfg_overlay": {"input_size": (3, 64, 64)}}


def save(model: torch.nn.Module, folder: Path, data: Any = None, **config: Any) -> Path:
    save_for_hf(
        model, str(folder), model_config=config or None, data_config=data, safe_serialization=True
    )
    return folder


def test_a_ghostnet_that_timm_saved(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 1, 32, 32)
    model = timm.create_model("ghostnetv3_small", width=0.25, num_classes=3, in_chans=1)
    randomize_network(model, x)
    pictures = {"mean": (0.5,), "std": (0.25,)}
    save(model, tmp_path, pictures, label_names=["cat", "dog", "frog"])
    loaded, info = gns.load(tmp_path)
    assert (info.classes, info.size) == (("cat", "dog", "frog"), (32, 32))
    assert loaded.config["width"] == 0.25 and (info.mean, info.std) == ((0.5,), (0.25,))
    with torch.no_grad():
        assert torch.equal(loaded(x), model(x))


def test_a_network_of_timm_with_its_published_stem(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = timm.create_model("resnet18", num_classes=3, **SMALL).eval()
    save(model, tmp_path)
    loaded, info = gns.load(tmp_path)
    # As it was published: no smaller stem, and pictures as large as timm shows them.
    assert loaded.config["upsample"] == 64 and info.size == (64, 64)
    assert info.classes == ("0", "1", "2")
    assert info.mean == (0.485, 0.456, 0.406)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded(x), model(x))
    # Saved by this program it is an ordinary folder of weights.
    gns.save_model(loaded, info, tmp_path / "ours")
    again, known = gns.load(tmp_path / "ours")
    assert known == info
    with torch.no_grad():
        assert torch.equal(again(x), model(x))


@pytest.mark.parametrize("name", ["resnet18", "efficientnetv2_s"])
def test_timm_loads_a_teacher_with_its_published_stem(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    model = gns.create_model(name, num_classes=3, upsample=64).eval()
    info = gns.ModelInfo(("a", "b", "c"), (32, 32), (0.5,) * 3, (0.2,) * 3, {})
    gns.save_model(model, info, tmp_path)
    theirs = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    assert theirs.pretrained_cfg["input_size"] == [3, 64, 64]
    ours, known = gns.load(tmp_path)
    assert (ours.config, known) == (model.config, info)
    x, shown = torch.randn(1, 3, 32, 32), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours(x), model(x))
        assert torch.equal(ours(shown), theirs(shown))
    options = {"pretrained": True, "num_classes": 5, "in_chans": 1}
    assert timm.create_model(f"local-dir:{tmp_path}", **options).num_classes == 5


def test_timm_refuses_a_teacher_with_a_stem_for_tiny_pictures(tmp_path: Path) -> None:
    model = gns.create_model("resnet18", num_classes=3)
    info = gns.ModelInfo(("a", "b", "c"), (32, 32), (0.5,) * 3, (0.2,) * 3, {})
    gns.save_model(model, info, tmp_path)
    with pytest.raises(RuntimeError, match="Missing key"):
        timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
    assert "does not load these" in model_card("x", model.config, info, None, hub="o/n")
    upsampled = {**model.config, "upsample": 64}
    assert "resized to 64 pixels" in model_card("x", upsampled, info, None, hub="o/n")
    folder = replace(info, classes=("b\udce4r", "b", "c"))
    assert "udce4r, b, c" in model_card("x", model.config, folder, None).encode().decode()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architecture": "resnet19d"}, "'resnet19d', which is none of this program's networks"),
        ({"architecture": ["x"]}, "does not describe weights"),
        ({"model_args": {"width": 0.25, "stem_type": "deep"}}, "with stem_type"),
        ({"model_args": {"width": "wide"}}, "width is 'wide'"),
        ({"model_args": {"width": 0.5}}, "is of another architecture or size"),
        ({"pretrained_cfg": None}, "does not describe weights"),
        ({"label_names": ["cat"]}, "contradict each other"),
        ({"num_classes": 3}, "contradict each other"),
        ({"num_classes": 10**9, "label_names": None}, "more than 1,000,000"),
    ],
)
def test_what_is_not_known_is_told_in_one_line(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    names = ["cat", "dog"]
    model = timm.create_model("ghostnetv3_small", width=0.25, num_classes=2)
    config = save(model, tmp_path, label_names=names) / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **changes}))
    with pytest.raises(InputError) as raised:
        gns.load(tmp_path)
    assert said in str(raised.value) and "\n" not in str(raised.value)
