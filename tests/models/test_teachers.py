"""Teachers of timm: built and fitted, saved and loaded, refused. tests/run/test_teachers.py
trains one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import ghostnet_small as gns
from ghostnet_small.errors import InputError
from ghostnet_small.models import timm_network
from ghostnet_small.models.network import Network
from ghostnet_small.models.teachers import TEACHERS
from ghostnet_small.models.timm_network import TimmNetwork
from ghostnet_small.models.weights import CONFIG, WEIGHTS
from ghostnet_small.nn.complexity import both_forms

INFO = gns.ModelInfo(("cat", "dog", "Möwe"), (32, 32), (0.5,), (0.25,), {"name": "x"})


def seeded(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def make(name: str, **words: Any) -> TimmNetwork:
    torch.manual_seed(0)
    model = gns.create_model(name, **{"num_classes": 3, "in_channels": 1, **words})
    assert isinstance(model, TimmNetwork)
    return model


def on_meta(name: str, **words: Any) -> TimmNetwork:
    with torch.device("meta"):
        return make(name, **words)


# Side of the last feature map of 32x32 pictures, millions of MACs and parameters (10 classes).
# The ResNets and DenseNets are those of the papers' CIFAR stems: 0.56 and 1.30 GMACs are the
# figures that are published for ResNet-18 and -50.
SIZES = {
    "resnet18": (4, 555.422720, 11.173962),
    "resnet34": (4, 1159.402496, 21.282122),
    "resnet50": (4, 1297.829888, 23.520842),
    "vgg13_bn": (1, 228.267008, 9.416010),
    "densenet121": (4, 888.350720, 6.956426),
    "densenet161": (4, 2467.550784, 26.482570),
    "inception_v3": (7, 3631.154176, 21.806058),
    "efficientnetv2_s": (7, 2848.628672, 20.190298),
}


def test_every_teacher_is_tested() -> None:
    assert set(SIZES) == set(TEACHERS)


@pytest.mark.parametrize("name", TEACHERS)
def test_shapes_of_what_is_fitted(name: str) -> None:
    with torch.device("meta"):
        model = gns.create_model(name).eval()
        assert isinstance(model, TimmNetwork)
        features = model.forward_features(torch.zeros(2, 3, 32, 32))
        logits = model.train()(torch.zeros(2, 3, 32, 32))
    side, _, params = SIZES[name]
    assert tuple(features.shape[2:]) == (side, side) and features.shape[0] == 2
    assert tuple(logits.shape) == (2, 10)
    assert sum(p.numel() for p in model.parameters()) == round(params * 1e6)
    assert model.config == {
        "architecture": name,
        "width": 1.0,
        "num_classes": 10,
        "in_channels": 3,
        **(
            {"upsample": 224, "interpolation": "bilinear"}
            if name == "efficientnetv2_s"
            else {"upsample": None}
        ),
    }
    # A checkpoint has tensors and counters only: nothing may be drawn in a forward.
    assert not [part for part in model.modules() if isinstance(part, nn.Dropout) and part.p]
    assert not {type(part).__name__ for part in model.modules()} & {"DropPath", "StochasticDepth"}
    assert set(dict(model.named_buffers())) <= set(model.state_dict())


@pytest.mark.parametrize("name", TEACHERS)
def test_a_forward_in_both_modes(name: str) -> None:
    model = make(name, upsample=64 if name == "efficientnetv2_s" else None)
    x = seeded(2, 1, 32, 32)
    logits = model.train()(x)
    assert logits.shape == (2, 3) and logits.isfinite().all()
    with torch.inference_mode():
        logits = model.eval()(x)
        assert logits.shape == (2, 3) and logits.isfinite().all()
        # What evaluation does: a copy that computes the same and shares nothing.
        copy = gns.reparameterize(model)
        assert isinstance(copy, Network) and torch.equal(copy(x), logits)
    own = {tensor.data_ptr() for tensor in model.state_dict().values()}
    assert not own & {tensor.data_ptr() for tensor in copy.state_dict().values()}


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "efficientnetv2_s"])
def test_costs_are_counted_in_one_form(name: str) -> None:
    forms = both_forms(gns.create_model(name), (3, 32, 32))
    _, macs, params = SIZES[name]
    assert forms["training"]["total"] == (round(params * 1e6), round(macs * 1e6))
    assert forms["training"] == forms["deployed"]
    if name == "resnet18":
        assert list(forms["training"])[:5] == ["conv1", "bn1", "act1", "maxpool", "layer1.0"]
        # 3 -> 64 channels, 3x3, at 32x32 places.
        assert forms["training"]["conv1"] == (1728, 1728 * 1024)


@pytest.mark.parametrize(("name", "stem"), [("resnet18", 7), ("densenet121", 7), ("vgg13_bn", 3)])
def test_upsampled_pictures_meet_the_published_network(name: str, stem: int) -> None:
    with torch.device("meta"):
        published = timm.create_model(name, num_classes=3, in_chans=1)
    upsampled = on_meta(name, upsample=64)
    shapes = {f"network.{n}": t.shape for n, t in published.state_dict().items()}
    assert {n: t.shape for n, t in upsampled.state_dict().items()} == shapes
    kernels = {m.kernel_size for m in upsampled.modules() if isinstance(m, nn.Conv2d)}
    assert (stem, stem) in kernels
    with torch.device("meta"):
        assert upsampled.forward_features(torch.zeros(2, 1, 32, 32)).shape[2:] == (2, 2)


def test_upsampling_is_that_of_a_picture_upsampled_before() -> None:
    model = make("resnet18", upsample=64).eval()
    x = seeded(3, 1, 32, 32)
    before = nn.functional.interpolate(x, size=(64, 64), mode="bilinear", align_corners=False)
    with torch.no_grad():
        assert torch.equal(model(x), model.network(before))


@pytest.mark.parametrize(("upsample", "side"), [(32, 16), (None, 32)])
def test_evaluation_goes_by_parts(
    monkeypatch: pytest.MonkeyPatch, upsample: int | None, side: int
) -> None:
    name = "PART_PIXELS" if upsample is None else "UPSAMPLED_PART_PIXELS"
    model = make("resnet18", upsample=upsample).eval()
    x = seeded(5, 1, side, side)
    with torch.no_grad():
        whole = model(x)
        monkeypatch.setattr(timm_network, name, 2 * 32 * 32 + 5)
        sizes: list[int] = []
        hook = model.network.register_forward_hook(lambda m, i, out: sizes.append(len(out)))
        parts = model(x)
        monkeypatch.setattr(timm_network, name, 1)
        model(x[:2])
    assert sizes == [2, 2, 1, 1, 1]
    assert torch.allclose(parts, whole, rtol=1e-5, atol=1e-6)
    sizes.clear()
    model.train()(x)  # batch statistics are those of all
    hook.remove()
    assert sizes == [5]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet18", {}),
        ("resnet18", {"upsample": 40}),
        ("vgg13_bn", {}),
        ("densenet121", {}),
        ("inception_v3", {}),
        ("efficientnetv2_s", {"upsample": 64}),
    ],
)
def test_a_round_trip(tmp_path: Path, name: str, words: dict[str, Any]) -> None:
    model = make(name, **words)
    with torch.no_grad():
        model.train()(seeded(2, 1, 32, 32))
    gns.save_model(model.eval(), INFO, tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    # With its published stem it is timm's own network, and called so.
    called = name if model.upsample is None else TEACHERS[name].base_name
    assert (config["architecture"], config["form"]) == (called, "training")
    loaded, info = gns.load(tmp_path)
    assert info == INFO and isinstance(loaded, TimmNetwork) and loaded.config == model.config
    assert not any(module.training for module in loaded.modules())
    state = model.state_dict()
    assert list(loaded.state_dict()) == list(state)
    assert all(torch.equal(value, state[key]) for key, value in loaded.state_dict().items())
    assert not any(t.is_meta for t in (*loaded.parameters(), *loaded.buffers()))
    with torch.no_grad():
        assert torch.equal(loaded(seeded(2, 1, 32, 32)), model(seeded(2, 1, 32, 32)))


def spoil(folder: Path, how: str) -> None:
    config = json.loads((folder / CONFIG).read_text())
    del config["digest"]
    state = load_file(folder / WEIGHTS)
    if how == "another teacher":
        config["architecture"] = "resnet34"
    elif how == "a ghostnet":
        config["architecture"] = "ghostnetv3_small"
    elif how == "upsampled":
        config["upsample"] = 64
    elif how == "upsample out of range":
        config["upsample"] = 10**6
    elif how == "upsample no number":
        config["upsample"] = "64"
    elif how == "a width":
        config["width"] = 2.0
    elif how == "a parameter less":
        save_file({k: v for k, v in state.items() if "layer1.0.conv1" not in k}, folder / WEIGHTS)
    elif how == "too large":
        save_file({**state, "extra": torch.zeros(2)}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("another teacher", "another architecture"),
        ("a ghostnet", "another architecture"),
        ("upsampled", "network.conv1.weight"),
        ("upsample out of range", "1000000"),
        ("upsample no number", "'64'"),
        ("a width", "one width"),
        ("a parameter less", "layer1.0.conv1"),
        ("too large", "extra"),
    ],
)
def test_spoilt_weights_are_an_error_of_one_line(tmp_path: Path, how: str, said: str) -> None:
    gns.save_model(make("resnet18"), INFO, tmp_path)
    spoil(tmp_path, how)
    with pytest.raises(InputError) as raised:
        gns.load(tmp_path)
    assert said in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("resnet18", {"width": 2.0}, "resnet18 comes in one width"),
        ("resnet18", {"width": 0}, "width is 0"),
        ("resnet18", {"upsample": 7}, "upsample is 7; it must be 8 to 1024"),
        ("resnet18", {"upsample": 1025}, "upsample is 1025"),
        ("resnet18", {"upsample": 64.0}, "upsample is 64.0"),
        ("resnet18", {"upsample": True}, "upsample is True"),
        ("resnet18", {"num_classes": 0}, "num_classes is 0"),
        ("resnet19", {}, "the nearest is resnet18,"),
        ("ghostnetv3_small", {"pretrained": True}, "start ghostnetv3_small from trained weights"),
        ("ghostnetv3_small", {"upsample": 64}, "data.size"),
    ],
)
def test_what_cannot_be_made_says_so(name: str, words: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as raised:
        gns.create_model(name, **words)
    assert said in str(raised.value) and "\n" not in str(raised.value)


def test_pictures_that_do_not_suit(monkeypatch: pytest.MonkeyPatch) -> None:
    vgg = make("vgg13_bn").train()
    vgg.check_size(32, 32)
    with pytest.raises(InputError, match=r"images of 40x31 are too small for vgg13_bn.*data\.si"):
        vgg.check_size(31, 40)
    assert all(part.training for part in vgg.modules())
    with pytest.raises(InputError, match=r"512x513 are too large for vgg13_bn.*data\.size"):
        vgg.check_size(513, 512)
    small = make("resnet18", upsample=16)
    small.check_size(8, 16)
    with pytest.raises(InputError, match=r"17x8 are larger than model\.upsample 16"):
        small.check_size(8, 17)
    # Without padding or a pool that refuses, nothing is left and no error says so.
    monkeypatch.setattr(small, "forward_features", lambda x: torch.zeros(1, 512, 0, 1))
    with pytest.raises(InputError, match=r"model\.upsample 16 is too small"):
        small.check_size(8, 8)
    gns.create_model("ghostnetv3_small", width=0.1).check_size(8, 8)


def test_without_timm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gns.save_model(make("resnet18"), INFO, tmp_path)
    monkeypatch.setitem(sys.modules, "timm", None)
    cure = r"pip install 'ghostnet-small\[timm\]'"
    with pytest.raises(InputError, match=f"model resnet18 needs timm .*{cure}"):
        gns.create_model("resnet18")
    with pytest.raises(InputError, match=cure):
        gns.load(tmp_path)
    gns.create_model("ghostnetv3_small", width=0.1)


def weights_of(folder: Path, name: str) -> tuple[Path, dict[str, torch.Tensor]]:
    """A file of weights as the hub has them: of 1000 classes and coloured pictures."""
    torch.manual_seed(7)
    state = timm.create_model(name).state_dict()
    save_file(state, folder / "weights.safetensors")
    return folder / "weights.safetensors", state


def serve(monkeypatch: pytest.MonkeyPatch, file: Path) -> list[tuple[str, bool]]:
    """``file`` in place of the hub's weights; the list gets each name that timm is asked for."""
    asked: list[tuple[str, bool]] = []
    build = timm.create_model

    def create_model(name: str, pretrained: bool = False, **words: Any) -> nn.Module:
        asked.append((name, pretrained))
        overlay = {"pretrained_cfg_overlay": {"file": str(file)}} if pretrained else {}
        return build(name, pretrained=pretrained, **words, **overlay)

    monkeypatch.setattr(timm, "create_model", create_model)
    return asked


def test_pretrained_weights_and_what_is_fresh(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file, state = weights_of(tmp_path, "resnet18")
    asked = serve(monkeypatch, file)
    fitted = make("resnet18", in_channels=3, pretrained=True)
    assert asked == [("resnet18.a1_in1k", True)]
    other = {n for n, t in fitted.network.state_dict().items() if not torch.equal(t, state[n])}
    assert other == {"conv1.weight", "fc.weight", "fc.bias"}
    upsampled = make("resnet18", in_channels=3, pretrained=True, upsample=64)
    other = {n for n, t in upsampled.network.state_dict().items() if not torch.equal(t, state[n])}
    assert other == {"fc.weight", "fc.bias"}
    # Grey pictures get the sum over the colours of the stem's kernels.
    grey = make("resnet18", pretrained=True, upsample=64).network.state_dict()["conv1.weight"]
    assert torch.allclose(grey, state["conv1.weight"].sum(1, keepdim=True))
    # Saved, they are never fetched again.
    gns.save_model(
        upsampled,
        gns.ModelInfo(INFO.classes, (32, 32), (0.5,) * 3, (1.0,) * 3, {}),
        tmp_path / "saved",
    )
    file.unlink()
    asked.clear()
    loaded, _ = gns.load(tmp_path / "saved")
    assert asked == [("resnet18.a1_in1k", False)]
    assert torch.equal(loaded.state_dict()["network.conv1.weight"], state["conv1.weight"])


@pytest.mark.parametrize("name", TEACHERS)
def test_pretrained_weights_have_a_tag_that_timm_knows(name: str) -> None:
    known = timm.get_pretrained_cfg(TEACHERS[name].timm_name, allow_unregistered=False)
    assert known is not None and known.has_weights
    # The docstring of teachers.py says what they were trained under.
    halves = name in ("inception_v3", "efficientnetv2_s")
    mean = (0.5, 0.5, 0.5) if halves else (0.485, 0.456, 0.406)
    std = (0.5, 0.5, 0.5) if halves else (0.229, 0.224, 0.225)
    assert (known.mean, known.std) == (mean, std)


def test_weights_that_cannot_be_fetched() -> None:
    # tests/conftest.py forbids the hub.
    with pytest.raises(InputError) as raised:
        gns.create_model("resnet18", pretrained=True)
    said = str(raised.value)
    assert "resnet18.a1_in1k cannot be fetched" in said and "model.pretrained false" in said
    assert "\n" not in said


def test_damaged_pretrained_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"no weights")
    serve(monkeypatch, tmp_path / "weights.safetensors")
    with pytest.raises(InputError, match="cannot be fetched"):
        gns.create_model("resnet18", pretrained=True)
