"""Any classifier of timm: found by name, saved and loaded, and started from a file of weights."""

from __future__ import annotations

import logging
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

import ghostnet_small as gns
from ghostnet_small.errors import InputError
from ghostnet_small.models.network import order_classes
from ghostnet_small.models.pretrained import mean_std, pretrained_on
from ghostnet_small.models.teachers import teacher_of
from ghostnet_small.models.timm_network import TimmNetwork

NAME = "timm/test_efficientnet"
INFO = gns.ModelInfo(("cat", "dog", "Möwe"), (32, 32), (0.5,), (0.25,), {"name": "x"})

State = dict[str, torch.Tensor]


def make(name: str = NAME, **words: Any) -> TimmNetwork:
    torch.manual_seed(0)
    model = gns.create_model(name, **{"num_classes": 3, "in_channels": 1, **words})
    assert isinstance(model, TimmNetwork)
    return model


@pytest.mark.parametrize(
    ("name", "upsample"),
    [
        (NAME, 224),
        ("timm/test_efficientnet.r160_in1k", 224),
        ("timm/test_vit", 160),  # built for one side
        ("timm/resnet18", None),  # a stem for tiny images is known
        ("timm/deit_tiny_distilled_patch16_224", 224),  # two classifiers
        ("timm/caformer_s18", 224),  # one of two layers
        ("timm/levit_512", 224),  # one with a norm
    ],
)
def test_shapes_and_classes(name: str, upsample: int | None) -> None:
    with torch.device("meta"):
        model = gns.create_model(name, num_classes=7)
        assert model.train()(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    assert model.config["upsample"] == upsample and not model.draws
    rows = {len(tensor) for tensor in model.last_layer().parameters()}
    assert rows == {7}


def test_classes_of_a_deeper_classifier_are_put_in_order() -> None:
    model = make("timm/levit_128s", num_classes=4).eval()
    x = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        before = model(x)
        order_classes(model, [2, 0, 3, 1])
        assert torch.equal(model(x), before[:, [2, 0, 3, 1]])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("timm/test_efficientnet.r160_in1k", {"upsample": 48, "interpolation": "bicubic"}),
        ("timm/test_vit", {"upsample": 64}),
        ("timm/resnet18", {}),
    ],
)
def test_a_round_trip(tmp_path: Path, name: str, words: dict[str, Any]) -> None:
    model = make(name, **words).eval()
    gns.save_model(model, INFO, tmp_path)
    loaded, info = gns.load(tmp_path)
    assert info == INFO and loaded.config == model.config
    x = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(x), model(x))
    if model.upsample is not None and not name.endswith("vit"):
        theirs = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
        assert theirs.pretrained_cfg["interpolation"] == "bicubic"


def test_interpolation_is_that_of_an_image_upsampled_before() -> None:
    model = make(upsample=48, interpolation="bicubic").eval()
    x = torch.randn(2, 1, 32, 32)
    before = nn.functional.interpolate(x, size=(48, 48), mode="bicubic", align_corners=False)
    with torch.no_grad():
        assert torch.equal(model(x), model.network(before))
        assert torch.allclose(model.whole()(x), model(x), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("timm/test_efficientnett", {}, "the nearest are timm/test_efficientnet,"),
        ("timm/efficientdet_d0", {}, "not known to timm"),
        ("timm/test_efficientnet.in9k", {}, "its weights are test_efficientnet.r160_in1k"),
        ("timm/deepseek_vit_412m_enc", {}, "has no classifier"),
        (NAME, {"width": 0.5}, "comes in one width"),
        (NAME, {"pretrained": "nowhere.pth"}, "nowhere.pth is not a file"),
        ("timm/vgg11", {"drop_path": 0.1}, "timm cannot build timm/vgg11 with .*drop_path_rate"),
        ("timmy/resnet18", {}, "timm/NAME for any classifier of timm"),
        (NAME, {"interpolation": "cubic"}, "must be one of bilinear, bicubic"),
        ("ghostnetv3_small", {"dropout": 0.5}, "dropout is 0.5; it is for networks of timm"),
    ],
)
def test_what_cannot_be_made_says_so(name: str, words: dict[str, Any], said: str) -> None:
    with torch.device("meta"), pytest.raises(InputError, match=said) as raised:
        gns.create_model(name, **words)
    assert "\n" not in str(raised.value)


def test_an_upsample_that_is_too_small() -> None:
    model = make("timm/inception_v4", upsample=32)
    with pytest.raises(InputError, match=r"model\.upsample 32 is too small for timm/inception_v4"):
        model.check_size(32, 32)


def published(classes: int = 1000) -> State:
    torch.manual_seed(7)
    state: State = timm.create_model("test_efficientnet", num_classes=classes).state_dict()
    return state


def other_names(state: State) -> State:
    return {f"_{name.replace('blocks', 'parts')}": tensor for name, tensor in state.items()}


def write(path: Path, state: Any) -> str:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return str(path)


@pytest.mark.parametrize("file", ["w.safetensors", "w.pth", "nested.pth", "wrapped.pth"])
def test_a_file_of_weights(tmp_path: Path, file: str) -> None:
    state = published()
    given: Any = state
    if file == "nested.pth":
        given = {"epoch": 3, "state_dict": state}
    elif file == "wrapped.pth":
        given = {f"module.{name}": tensor for name, tensor in state.items()}
    model = make(in_channels=3, pretrained=write(tmp_path / file, given))
    own = model.network.state_dict()
    assert {name for name in own if not torch.equal(own[name], state[name])} == {
        "classifier.weight",
        "classifier.bias",
    }


def test_weights_for_as_many_classes_keep_their_classifier(tmp_path: Path) -> None:
    state = published(classes=3)
    own = make(in_channels=3, pretrained=write(tmp_path / "w.pth", state)).network.state_dict()
    assert all(torch.equal(own[name], state[name]) for name in own)
    # Grey images get the sum over the colours of the stem's kernels.
    grey = make(pretrained=write(tmp_path / "w.pth", state)).network.state_dict()
    summed = state["conv_stem.weight"].sum(1, keepdim=True)
    assert torch.allclose(grey["conv_stem.weight"], summed)


def test_other_names_are_mapped_in_order_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = published()
    path = write(tmp_path / "w.pth", other_names(state))
    with caplog.at_level(logging.WARNING):
        own = make(in_channels=3, pretrained=path).network.state_dict()
    assert "from _conv_stem.weight as conv_stem.weight" in caplog.text
    body = [name for name in own if not name.startswith("classifier")]
    assert all(torch.equal(own[name], state[name]) for name in body)


class Harmful:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("touched"),))


def spoilt(how: str, folder: Path) -> str:
    """A file that is refused."""
    state = published()
    if how == "another network":
        return write(folder / "w.pth", timm.create_model("test_resnet").state_dict())
    if how == "another shape":
        key = "blocks.0.0.conv.weight"
        return write(folder / "w.safetensors", state | {key: torch.zeros(1)})
    if how == "swapped":
        names = list(other_names(state))
        first, second = names.index("_conv_stem.weight"), names.index("_bn1.weight")
        names[first], names[second] = names[second], names[first]
        return write(folder / "w.pth", {name: other_names(state)[name] for name in names})
    if how == "a tensor less":
        return write(folder / "w.pth", dict(list(other_names(state).items())[:-1]))
    if how == "no order":
        return write(folder / "w.safetensors", other_names(state))
    if how == "no state dict":
        return write(folder / "w.pth", {"a": 1})
    path = folder / "w.pth"
    if how == "compressed":
        stored = zipfile.ZipFile(write(folder / "stored.pth", state))
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in stored.namelist():
                archive.writestr(name, stored.read(name))
    elif how == "harmful":
        path.write_bytes(pickle.dumps(Harmful()))
    elif how == "cut short":
        write(path, state)
        path.write_bytes(path.read_bytes()[:2000])
    return str(path)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("another network", r"'stem\.conv1\.weight'|conv_stem\.weight"),
        ("another shape", r"blocks\.0\.0\.conv\.weight has shape \(1,\)"),
        ("swapped", r"'_bn1\.weight' has shape .*conv_stem\.weight of shape"),
        ("a tensor less", "tensors, the network"),
        ("no order", "no order to go by"),
        ("no state dict", "holds no state dict"),
        ("harmful", "cannot be read as a state dict"),
        ("compressed", "compressed archive"),
        ("cut short", "cannot be read as a state dict"),
    ],
)
def test_a_file_of_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = spoilt(how, tmp_path)
    with pytest.raises(InputError, match=said) as raised:
        make(in_channels=3, pretrained=path)
    assert "\n" not in str(raised.value) and not Path("touched").exists()


def test_what_weights_are_used_to() -> None:
    lite = teacher_of("timm/tf_efficientnet_lite0")
    assert mean_std(lite, 3) == ((0.5,) * 3, (0.5,) * 3)
    resnet = teacher_of("resnet18")
    mean, std = mean_std(resnet, 1)
    assert mean == (pytest.approx(0.449, abs=1e-3),) and std == (pytest.approx(0.226, abs=1e-3),)
    with pytest.raises(InputError, match=r"4 channels.*give data\.mean and data\.std"):
        mean_std(resnet, 4)
    assert pretrained_on(lite) == "ImageNet-1k"
    assert pretrained_on(teacher_of("efficientnetv2_s")) == "ImageNet-1k and ImageNet-21k"
