"""int8 of the runtimes: near the network, nearer with parts in float32, and refused without use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from c_kit import answers, deployable, pictures
from ghostnet_small.deploy import fine_tune as fine_tune_module
from ghostnet_small.deploy.fake_quant import quantize_in_float
from ghostnet_small.deploy.fine_tune import fine_tune
from ghostnet_small.deploy.formats import FORMATS, open_file
from ghostnet_small.deploy.ranges import ranges_of
from ghostnet_small.deploy.sensitivity import measure_relief, parts_of
from ghostnet_small.deploy.taps import Taps
from ghostnet_small.errors import InputError
from ghostnet_small.models.weights import load
from ghostnet_small.nn.fold import reparameterize

WEIGHTS = Path(__file__).parents[2] / "results" / "weights" / "ghostnetv3_small_w1.0_cifar10"
MIXED = [name for name, form in FORMATS.items() if form.mixed]
SIZE = (8, 8)


def rms(found: np.ndarray, exact: np.ndarray) -> float:
    """The mean squared difference's root in units of that of ``exact`` itself."""
    return float(np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact**2)))


def largest_in_onnx(path: Path) -> int:
    """The largest weight in 8 bits, without its sign."""
    import onnx

    found = [onnx.numpy_helper.to_array(part) for part in onnx.load(path).graph.initializer]
    return max(int(np.abs(one.astype(int)).max()) for one in found if one.dtype == np.int8)


def largest_in_openvino(path: Path) -> int:
    import openvino

    found = [op for op in openvino.Core().read_model(path).get_ops() if is_weight(op)]
    return max(int(np.abs(op.get_data().astype(int)).max()) for op in found)


def is_weight(op: Any) -> bool:
    """Depth-wise convolutions, whose shape has five sides, add no products in pairs."""
    if op.get_type_name() != "Constant" or op.get_element_type().to_string() != "i8":
        return False
    return len(op.get_output_shape(0)) < 5


# ExecuTorch's kernels for x86 add in 32 bits.
LARGEST = {"onnx": largest_in_onnx, "openvino": largest_in_openvino}


@pytest.mark.parametrize("name", MIXED)
def test_int8_is_near_and_nearer_with_parts_in_float(name: str, tmp_path: Path) -> None:
    form = FORMATS[name]
    network, description = deployable(size=SIZE, int8=True, shallow=True)
    shown = pictures(description, 16)
    exact = answers(network, shown)
    errors = []
    for kept in ([], ["stem", "blocks", "last", "head"]):
        path = form.file(tmp_path / str(len(kept)), "int8")
        path.parent.mkdir()
        form.load_int8().quantize(network, description, shown, path, kept)
        session = open_file(path)
        assert session.description == description
        errors.append(rms(session(shown), exact))
        if name in LARGEST:
            # x86 without VNNI adds two products in 16 bits, which products of 8 bits overflow.
            assert 60 <= LARGEST[name](path) <= 64
    assert errors[0] < 0.4
    # The classifier alone has 8 bits then.
    assert errors[1] < 0.75 * errors[0]


@pytest.mark.parametrize("name", MIXED)
def test_what_cannot_be_quantized_is_refused(name: str, tmp_path: Path) -> None:
    form = FORMATS[name]
    network, description = deployable(size=(8, 8), int8=True)
    path = form.file(tmp_path, "int8")
    with pytest.raises(InputError, match="calibration images and there are 0"):
        form.load_int8().quantize(network, description, pictures(description, 0), path)
    with pytest.raises(InputError, match="'steam' cannot be kept in float"):
        form.load_int8().quantize(network, description, pictures(description, 2), path, ["steam"])
    assert not list(tmp_path.iterdir())


def test_every_part_is_measured_and_the_best_comes_first() -> None:
    network, description = deployable(size=(8, 8))
    shown = torch.from_numpy(pictures(description, 16))
    everywhere, reliefs = measure_relief(network.network, shown, shown)
    assert sorted(one.part for one in reliefs) == sorted(parts_of(network.network))
    errors = [one.error for one in reliefs]
    assert errors == sorted(errors) and 0 < errors[0] < everywhere
    names = {name.split(".", 2)[-1] for name in parts_of(network.network) if "." in name}
    assert names == {
        *("ghost1.primary", "ghost1.cheap", "ghost1.gate", "downsample", "se"),
        *("ghost2.primary", "ghost2.cheap", "shortcut"),
    }


def test_fine_tuning_brings_the_rounded_network_nearer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fine_tune_module, "BATCH", 16)
    # A trained network: of random ones the logits jump with every weight.
    model, info = load(WEIGHTS)
    network = reparameterize(model).requires_grad_(False)
    random = torch.Generator().manual_seed(0)
    # Smooth, as pictures are: of white noise the network is sure, the loss as good as zero.
    coarse = torch.randn(32, len(info.mean), 4, 4, generator=random)
    shown = 1.5 * functional.interpolate(coarse, info.size, mode="bilinear")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    losses: list[float] = []
    tuned = fine_tune(network, shown, 8, tell=lambda step, loss: losses.append(loss))
    exact = network(shown)

    def error(model: torch.nn.Module) -> float:
        places = Taps(model, len(info.mean), info.size)
        quantize_in_float(places, ranges_of(places, shown))
        with torch.no_grad():
            return rms(places(shown).numpy(), exact.numpy())

    assert error(tuned) < 0.85 * error(network)
    assert len(losses) == 8 and np.isfinite(losses).all()
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    again = fine_tune(network, shown, 8)
    for name, value in again.state_dict().items():
        assert torch.equal(value, tuned.state_dict()[name]), name
