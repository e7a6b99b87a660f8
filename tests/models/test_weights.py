from __future__ import annotations

import json
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import ghostnet_small as gns
from ghostnet_small.errors import InputError
from ghostnet_small.models.ghostnetv3 import GhostNetV3
from ghostnet_small.models.weights import CONFIG, WEIGHTS
from networks import randomize_network

INFO = gns.ModelInfo(("cat", "dog", "Möwe"), (9, 13), (0.5,), (0.25,), {"name": "x", "n": [1]})
X = torch.randn(2, 1, 9, 13, generator=torch.Generator().manual_seed(0))


def make_model(name: str = "ghostnetv3_small") -> GhostNetV3:
    torch.manual_seed(0)
    model = gns.create_model(name, width=0.25, num_classes=3, in_channels=1)
    randomize_network(model, X)
    return model


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "weights"
    gns.save_model(make_model(), INFO, folder)
    return folder


@pytest.fixture
def saved(made: Path, tmp_path: Path) -> Path:
    """A copy to be spoiled."""
    return Path(shutil.copytree(made, tmp_path / "weights"))


@pytest.mark.parametrize("name", ["ghostnetv3_small", "ghostnetv3"])
@pytest.mark.parametrize("form", ["training", "deployed"])
def test_a_round_trip(tmp_path: Path, name: str, form: str) -> None:
    model = make_model(name)
    if form == "deployed":
        model = gns.reparameterize(model)  # type: ignore[assignment]
    gns.save_model(model, INFO, tmp_path / "a" / "b")
    loaded, info = gns.load(tmp_path / "a" / "b")
    assert info == INFO and dict(info) == dict(INFO) and info["classes"] == info.classes
    assert not any(module.training for module in loaded.modules())
    assert json.loads((tmp_path / "a" / "b" / CONFIG).read_text())["form"] == form
    state = model.state_dict()
    assert list(loaded.state_dict()) == list(state)
    assert all(torch.equal(value, state[key]) for key, value in loaded.state_dict().items())
    with torch.no_grad():
        assert torch.equal(loaded(X), model(X))
    assert all(p.requires_grad and p.device.type == "cpu" for p in loaded.parameters())


def test_loaded_weights_can_be_trained_on_and_folded(saved: Path) -> None:
    loaded, _ = gns.load(str(saved))
    gns.reparameterize(loaded)
    before = loaded.head.weight.detach().clone()
    optimizer = torch.optim.SGD(loaded.train().parameters(), 0.1)
    loaded(X).square().sum().backward()
    optimizer.step()
    assert not torch.equal(loaded.head.weight, before)


def test_a_channels_last_model_is_saved_as_any_other(tmp_path: Path) -> None:
    model = make_model().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    gns.save_model(model, INFO, tmp_path)
    loaded, _ = gns.load(tmp_path)
    state = model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in loaded.state_dict().items())


def test_no_key_of_the_info_beyond_its_own() -> None:
    with pytest.raises(KeyError):
        INFO["as_dict"]


def test_a_run_has_last_and_best(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    saved.rename(tmp_path / "run" / "last")
    gns.load(tmp_path / "run")
    with pytest.raises(InputError, match="no best weights"):
        gns.load(tmp_path / "run", "best")
    gns.save_model(make_model(), INFO, tmp_path / "run" / "best")
    gns.load(tmp_path / "run", weights="best")
    with pytest.raises(InputError, match="last, best"):
        gns.load(tmp_path / "run", "newest")


def spoil(folder: Path, how: str) -> None:
    weights, config = folder / WEIGHTS, folder / CONFIG
    whole = weights.read_bytes()
    state = load_file(weights)
    written = json.loads(config.read_text())
    del written["digest"]  # as one who edits it by hand is told to
    if how.startswith("cut at "):
        weights.write_bytes(whole[: int(how.removeprefix("cut at "))])
    elif how == "cut in the middle":
        weights.write_bytes(whole[: len(whole) // 2])
    elif how == "random bytes":
        weights.write_bytes(torch.randint(256, (4096,), dtype=torch.uint8).numpy().tobytes())
    elif how == "no weights":
        weights.unlink()
    elif how == "no config":
        config.unlink()
    elif how == "a parameter less":
        save_file({k: v for k, v in state.items() if k != "head.bias"}, weights)
    elif how == "a parameter more":
        save_file({**state, "extra": torch.ones(1)}, weights)
    elif how == "another width":
        config.write_text(json.dumps({**written, "width": 0.5}))
    elif how == "another head":
        config.write_text(json.dumps({**written, "head": 640}))
    elif how == "no such head":
        config.write_text(json.dumps({**written, "head": 10**9}))
    elif how == "another network":
        config.write_text(json.dumps({**written, "architecture": "ghostnetv3"}))
    elif how == "an unknown network":
        config.write_text(json.dumps({**written, "architecture": "resnet"}))
    elif how == "another form":
        config.write_text(json.dumps({**written, "form": "deployed"}))
    elif how == "no such form":
        config.write_text(json.dumps({**written, "form": "quantized"}))
    elif how == "a class less":
        config.write_text(json.dumps({**written, "classes": ["cat", "dog"]}))
    elif how == "a key less":
        config.write_text(json.dumps({k: v for k, v in written.items() if k != "mean"}))
    elif how == "a list":
        config.write_text("[1, 2]")
    elif how == "no JSON":
        config.write_text("{")
    else:
        raise AssertionError(how)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("cut at 0", WEIGHTS),
        ("cut at 5", WEIGHTS),
        ("cut at 300", WEIGHTS),
        ("cut in the middle", WEIGHTS),
        ("random bytes", WEIGHTS),
        ("no weights", WEIGHTS),
        ("no config", CONFIG),
        ("a parameter less", "head.bias"),
        ("a parameter more", "extra"),
        ("another width", "width"),
        ("another head", "check architecture, width, head"),
        ("no such head", "head is 1000000000; it must be a whole number from 8 to 4096"),
        ("another network", "architecture"),
        ("an unknown network", "resnet"),
        ("another form", "form"),
        ("no such form", "quantized"),
        ("a class less", "classes"),
        ("a key less", "mean"),
        ("a list", CONFIG),
        ("no JSON", CONFIG),
    ],
)
def test_spoilt_weights_are_an_error_of_one_line(saved: Path, how: str, said: str) -> None:
    spoil(saved, how)
    with pytest.raises(InputError) as raised:
        gns.load(saved)
    assert said in str(raised.value) and "\n" not in str(raised.value)


class Trap:
    """Unpickled, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5, "torch"])
def test_a_pickle_is_never_executed(saved: Path, tmp_path: Path, protocol: int | str) -> None:
    trap = Trap(tmp_path / "sprung")
    if protocol == "torch":
        torch.save({"a": trap}, saved / WEIGHTS)
    else:
        (saved / WEIGHTS).write_bytes(pickle.dumps(trap, protocol=int(protocol)))
    with pytest.raises(InputError, match="pickle" if protocol else "safetensors"):
        gns.load(saved)
    assert not trap.path.exists()


@pytest.mark.parametrize("what", ["missing", "file", "empty"])
def test_a_path_without_weights(tmp_path: Path, what: str) -> None:
    path = tmp_path / what
    if what == "file":
        path.write_text("x")
    elif what == "empty":
        path.mkdir()
    with pytest.raises(InputError) as raised:
        gns.load(path)
    assert str(path) in str(raised.value)


def test_what_could_not_be_loaded_is_not_saved(tmp_path: Path) -> None:
    model = gns.create_model("ghostnetv3_small", width=0.1, num_classes=3, in_channels=1)
    for changes, said in (
        ({"classes": ("cat", "dog")}, "info.classes has 2 names, and the model has 3"),
        ({"mean": (0.5,) * 3, "std": (1.0,) * 3}, "have 3 values, and the model takes 1"),
    ):
        with pytest.raises(InputError, match=said):
            gns.save_model(model, replace(INFO, **changes), tmp_path / "new")  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()


def test_numbers_and_names_of_numpy_are_saved_as_plain_ones(tmp_path: Path) -> None:
    labels = np.array([0, 2, 1])
    model = gns.create_model(
        "ghostnetv3_small",
        width=np.float32(0.5),
        num_classes=labels.max() + 1,
        in_channels=np.uint8(1),
    )
    info = gns.ModelInfo(
        np.array(["a", "b", "c"]),  # type: ignore[arg-type]
        np.array([9, 13]),  # type: ignore[arg-type]
        np.array([0.5], np.float32),  # type: ignore[arg-type]
        [np.float64(0.25)],  # type: ignore[arg-type]
        {},
    )
    gns.save_model(model, info, tmp_path)
    loaded, found = gns.load(tmp_path)
    assert found == gns.ModelInfo(("a", "b", "c"), (9, 13), (0.5,), (0.25,), {}) == info
    assert loaded.config == model.config == {**model.config, "num_classes": 3, "width": 0.5}
    for number in (2.0, np.float64(2), True, 0, np.int64(-1), "3"):
        with pytest.raises(InputError, match=r"num_classes is .*; it must be a whole number"):
            gns.create_model("ghostnetv3_small", num_classes=number)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"size \(9.5, 13\).* is not allowed"):
        replace(INFO, size=(9.5, 13))  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("folded", [False, True])
def test_weights_of_another_type_are_converted(
    dtype: torch.dtype, folded: bool, tmp_path: Path
) -> None:
    model = gns.create_model("ghostnetv3_small", width=0.1, num_classes=3, in_channels=1).eval()
    saved = (gns.reparameterize(model) if folded else model).to(dtype)
    gns.save_model(saved, INFO, tmp_path)  # type: ignore[arg-type]
    loaded, _ = gns.load(tmp_path)
    found = {k: tensor for k, tensor in loaded.state_dict().items() if tensor.is_floating_point()}
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}
    for name, tensor in saved.state_dict().items():
        if tensor.is_floating_point():
            assert torch.equal(found[name], tensor.float())


def test_the_default_type_of_pytorch_is_not_asked(saved: Path) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        model, _ = gns.load(saved)
    finally:
        torch.set_default_dtype(torch.float32)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_the_fingerprints_of_the_splits_are_kept(tmp_path: Path) -> None:
    model = gns.create_model("ghostnetv3_small", width=0.1, num_classes=3, in_channels=1)
    info = replace(INFO, fingerprints={"train": "a1", "test": "b2"})
    gns.save_model(model, info, tmp_path)
    assert gns.load(tmp_path)[1] == info
    gns.save_model(model, INFO, tmp_path)
    assert "fingerprints" not in json.loads((tmp_path / "config.json").read_text())
