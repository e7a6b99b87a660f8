from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from timm.data import resolve_data_config
from timm.optim import create_optimizer_v2
from torch import nn

import ghostnet_small as gns
import ghostnet_small.timm_models as timm_models
from ghostnet_small import fast
from ghostnet_small.errors import InputError
from ghostnet_small.models.ghostnetv3 import GhostNetV3
from ghostnet_small.models.settings import Compute
from ghostnet_small.nn.ghost import GhostBottleneck, drop_path
from networks import randomize_network, relative

BOTH = ["ghostnetv3", "ghostnetv3_small"]


SHIPPED = "ghostnetv3_small.w1.0_cifar10"
DISTILLED = f"{SHIPPED}_distilled"
GREY = "ghostnetv3_small.w1.0_fashion_mnist"
WIDE = "ghostnetv3_small.w2.8_cifar10"
ALL = [SHIPPED, DISTILLED, GREY, WIDE]


def test_timm_lists_both() -> None:
    assert set(BOTH) <= set(timm.list_models("ghostnetv3*"))
    assert timm.list_models(module="timm_models") == BOTH
    assert timm.list_models(module="timm_models", pretrained=True) == ALL
    assert set(BOTH) <= set(timm_models.__all__)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", BOTH)
def test_timm_makes_what_we_make(name: str) -> None:
    torch.manual_seed(0)
    theirs = timm.create_model(name, num_classes=7, in_chans=1, width=0.5).eval()
    torch.manual_seed(0)
    ours = gns.create_model(name, num_classes=7, in_channels=1, width=0.5).eval()
    assert isinstance(theirs, GhostNetV3) and theirs.config == ours.config
    x = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(theirs(x), ours(x))


@pytest.mark.parametrize("name", BOTH)
def test_what_timms_tools_read(name: str) -> None:
    model = timm.create_model(name, width=0.5).eval()
    cfg = model.default_cfg
    assert model.pretrained_cfg is cfg and cfg["architecture"] == name
    assert (cfg["input_size"], cfg["num_classes"]) == ((3, 32, 32), 10)
    assert len(cfg["mean"]) == len(cfg["std"]) == 3
    assert resolve_data_config(model=model)["input_size"] == (3, 32, 32)
    first, last = model.get_submodule(cfg["first_conv"]), model.get_submodule(cfg["classifier"])
    assert isinstance(first, nn.Conv2d) and first.in_channels == 3
    assert last is model.get_classifier()
    with torch.no_grad():
        features = model.forward_features(torch.randn(2, 3, *cfg["input_size"][1:]))
        assert features.shape == (2, model.num_features, *cfg["pool_size"])
        assert model.forward_head(features, pre_logits=True).shape == (2, model.head_hidden_size)
        assert model.forward_head(features).shape == (2, 10)


def pictures(channels: int) -> torch.Tensor:
    return torch.randn(2, channels, 28, 28, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "channels"), [(SHIPPED, 3), (GREY, 1)])
def test_shipped_weights_are_tags(name: str, channels: int) -> None:
    model = timm.create_model(name, pretrained=True).eval()
    ours, info = gns.load(name.replace(".", "_", 1))
    assert model.pretrained_cfg["label_names"] == info.classes
    assert model.pretrained_cfg["input_size"] == (channels, *info.size)
    assert resolve_data_config(model=model)["mean"] == info.mean
    x = pictures(channels)
    with torch.no_grad():
        assert torch.equal(model(x), ours(x))


def test_a_bare_name_means_the_first_tag() -> None:
    model = timm.create_model("ghostnetv3_small", pretrained=True)
    assert model.pretrained_cfg["tag"] == "w1.0_cifar10"


def test_shipped_weights_with_other_classes_and_channels() -> None:
    ours, _ = gns.load(SHIPPED.replace(".", "_", 1))
    model = timm.create_model(SHIPPED, pretrained=True, num_classes=100, in_chans=1).eval()
    grey = pictures(1)
    with torch.no_grad():
        assert model(grey).shape == (2, 100)
        # As the same pictures in colour, up to the classifier, which is fresh.
        theirs = model.forward_features(grey)
        assert relative(theirs, ours.forward_features(grey.expand(-1, 3, -1, -1))) < 1e-5
        colour = timm.create_model(GREY, pretrained=True, in_chans=3).eval()
        assert colour(pictures(3)).shape == (2, 10)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        (SHIPPED, {"width": 0.5}, "width is 0.5; the weights"),
        (SHIPPED, {"deployed": True}, "deployed is True"),
        ("ghostnetv3", {}, "there are no weights ghostnetv3.untrained"),
        (
            "ghostnetv3_small.untrained",
            {},
            f"name existing weights ({', '.join(ALL)})",
        ),
    ],
)
def test_weights_that_there_are_not(name: str, options: dict, said: str) -> None:
    with pytest.raises(InputError) as raised:
        timm.create_model(name, pretrained=True, **options)
    assert said in str(raised.value) and "\n" not in str(raised.value)


def test_folded_weights_and_other_classes_load_from_a_folder(tmp_path: Path) -> None:
    model, info = gns.load(SHIPPED.replace(".", "_", 1))
    folded = gns.reparameterize(model)
    gns.save_model(folded, info, tmp_path)  # type: ignore[arg-type]
    loaded = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    x = pictures(3)
    with torch.no_grad():
        assert torch.equal(loaded(x), folded(x))
    options = {"pretrained": True, "in_chans": 1, "num_classes": 3}
    other = timm.create_model(f"local-dir:{tmp_path}", **options).eval()
    assert torch.equal(other.stem.weight, folded.stem.weight.sum(1, keepdim=True))
    assert other.get_classifier().out_features == 3


def test_without_classes_the_features_come_out() -> None:
    model = timm.create_model("ghostnetv3_small", width=0.25, num_classes=0).eval()
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert model(x).shape == (2, model.head_hidden_size)
        model.reset_classifier(5, "avg")
        assert model(x).shape == (2, 5)


@pytest.mark.parametrize(("name", "sizes"), [("ghostnetv3_small", 3), ("ghostnetv3", 5)])
def test_the_last_map_of_each_size(name: str, sizes: int) -> None:
    whole = timm.create_model(name, width=0.25).eval()
    maps = timm.create_model(name, width=0.25, features_only=True).eval()
    maps.model.load_state_dict(whole.state_dict())
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        found = maps(x)
        last, two = whole.forward_intermediates(x, indices=2)
        backwards = whole.forward_intermediates(x, indices=(-1, 0), intermediates_only=True)
        # What follows the deepest map is the rest of the network.
        rest = whole.forward_head(torch.relu(whole.last(found[-1])))
        assert torch.equal(rest, whole(x)) and torch.equal(last, whole.forward_features(x))
    assert [tuple(one.shape) for one in found] == [
        (2, channels, 32 // reduction, 32 // reduction)
        for channels, reduction in zip(
            maps.feature_info.channels(), maps.feature_info.reduction(), strict=True
        )
    ]
    assert maps.feature_info.reduction() == [2**place for place in range(sizes)]
    assert all(map(torch.equal, two, found[-2:]))
    assert all(map(torch.equal, backwards, (found[-1], found[0])))


@pytest.mark.parametrize("indices", [0, 4, (3,), (-4,), ()])
def test_maps_that_there_are_not(indices: int | tuple[int, ...]) -> None:
    model = timm.create_model("ghostnetv3_small", width=0.25).eval()
    with pytest.raises(ValueError, match="there are 3 feature maps") as raised:
        model.forward_intermediates(torch.randn(1, 3, 8, 8), indices=indices)
    assert repr(indices) in str(raised.value)


def test_layer_decay_goes_by_depth() -> None:
    model = timm.create_model("ghostnetv3_small", width=0.25)
    optimizer = create_optimizer_v2(model, opt="adamw", lr=1.0, layer_decay=0.5)
    names = {parameter: name for name, parameter in model.named_parameters()}
    scales: dict[str, set[float]] = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            part = ".".join(names[parameter].split(".")[:2])
            part = part if part.startswith("blocks") else part.partition(".")[0]
            scales.setdefault(part, set()).add(group["lr_scale"])
    order = ["stem", *(f"blocks.{number}" for number in range(10)), "classifier"]
    found = [scale for part in order for scale in scales[part]]
    # One scale a part, each twice that of the part before; the last convolution goes with a block.
    assert scales["last"] == scales["blocks.9"] and scales["head"] == scales["classifier"]
    assert found == [0.5**place for place in range(len(order) - 1, -1, -1)]


def test_words_of_timm_that_say_what_to_do_instead() -> None:
    model = timm.create_model("ghostnetv3_small", width=0.25)
    with pytest.raises(ValueError, match="give 'avg', or ''"):
        model.reset_classifier(0, "max")
    with pytest.raises(ValueError, match="has only 'NCHW'"):
        model.forward_intermediates(torch.randn(1, 3, 8, 8), output_fmt="NHWC")


def test_without_pooling_a_map_comes_out() -> None:
    model = timm.create_model("ghostnetv3_small", width=0.25, num_classes=0, global_pool="").eval()
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        found = model(x)
        assert found.shape == (2, model.head_hidden_size, 4, 4)
        model.reset_classifier(3)
        assert model(x).shape == (2, 3, 4, 4)
        model.reset_classifier(3, "avg")
        assert model(x).shape == (2, 3)


@pytest.mark.parametrize("compute", ["branches", "merged"])
def test_checkpointing_changes_no_number(compute: Compute) -> None:
    torch.manual_seed(0)
    plain = timm.create_model("ghostnetv3_small", width=0.25).double()
    fast.use(plain, compute)
    again = copy.deepcopy(plain)
    again.set_grad_checkpointing()
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    for model in (plain, again):
        for _ in range(2):
            model(x).square().sum().backward()
    assert all(
        torch.allclose(one.grad, other.grad)
        for one, other in zip(plain.parameters(), again.parameters(), strict=True)
    )
    before, after = plain.state_dict(), again.state_dict()
    assert all(torch.allclose(before[name], after[name]) for name in before)
    assert any("num_batches_tracked" in name and before[name] == 2 for name in before)


def test_dropout_and_stochastic_depth_are_of_training_only() -> None:
    model = timm.create_model("ghostnetv3_small", drop_rate=0.5, drop_path_rate=0.5, width=0.25)
    assert [block.drop_path for block in model.blocks] == [0.5 * n / 9 for n in range(10)]
    x = torch.randn(64, 3, 8, 8)
    features = torch.ones(64, model.num_features, 2, 2)
    with torch.no_grad():
        dropped = model.forward_head(features, pre_logits=True)
        model.eval()
        there = model.forward_head(features, pre_logits=True) != 0
        assert abs((dropped[there] == 0).float().mean() - 0.5) < 0.05
        assert torch.equal(model(x), model(x))


def test_a_block_that_is_left_out_is_its_shortcut() -> None:
    torch.manual_seed(0)
    ones = torch.ones(1000, 1, 1, 1)
    found = drop_path(ones, 0.25).flatten()
    assert set(found.tolist()) == {0.0, (ones[0] / 0.75).item()}
    assert abs((found == 0).float().mean() - 0.25) < 0.05
    block = GhostBottleneck(8, 16, 8).double()
    block.drop_path = 1 - 1e-9
    x = torch.randn(4, 8, 6, 6, dtype=torch.float64)
    fast.use(block)
    assert torch.equal(block(x), x)


def test_training_scripts_may_pass_a_dropout_of_zero() -> None:
    off = {"drop_rate": 0.0, "drop_path_rate": 0.0, "drop_block_rate": None, "bn_eps": None}
    timm.create_model("ghostnetv3_small", width=0.25, **off)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"drop_rate": 1.2}, "drop_rate is 1.2; give 0 up to below 1"),
        ({"drop_path_rate": -0.1}, "drop_path_rate is -0.1; give 0 up to below 1"),
        ({"drop_block_rate": 0.1}, "drop_block_rate is 0.1; this network has no DropBlock"),
        ({"bn_eps": 1e-3}, "bn_eps is 0.001; batch norms keep PyTorch's eps"),
        ({"img_size": 64}, "img_size is 64; this network takes images of any size"),
        ({"width_mult": 2}, "width_mult is 2; this network calls it width"),
        ({"act_layer": "silu"}, "act_layer is 'silu'; this network has no such setting: it takes"),
        ({"global_pool": "max"}, "'max'"),
        ({"width": -1}, "-1"),
        ({"head": 7}, "head is 7; it must be a whole number from 8 to 4096"),
        ({"num_classes": -1}, "-1"),
        ({"in_chans": 0}, "0"),
    ],
)
def test_what_timm_cannot_have_says_so(options: dict, said: str) -> None:
    with pytest.raises(InputError) as raised:
        timm.create_model("ghostnetv3_small", **options)
    assert said in str(raised.value) and "\n" not in str(raised.value)


def test_ones_own_weights_load_through_timm(tmp_path) -> None:
    torch.manual_seed(1)
    x = torch.randn(2, 3, 8, 8)
    model = timm.create_model("ghostnetv3_small", width=0.25)
    randomize_network(model, x)
    info = gns.ModelInfo(tuple("abcdefghij"), (8, 8), (0.5,) * 3, (0.2,) * 3, {})
    gns.save_model(model, info, tmp_path)
    loaded = timm.create_model(
        "ghostnetv3_small",
        width=0.25,
        pretrained=True,
        pretrained_cfg_overlay={"file": str(tmp_path / "model.safetensors")},
    ).eval()
    with torch.no_grad():
        assert torch.equal(loaded(x), model(x))


def test_timms_own_ghostnetv3_loads_and_agrees() -> None:
    """On 64x64: timm's network cannot pool the 1x1 maps that its stem's stride leaves of 32x32."""
    torch.manual_seed(0)
    theirs = timm.create_model("ghostnetv3_100", num_classes=10)
    theirs.conv_stem.stride = (1, 1)
    x = torch.randn(2, 3, 64, 64)
    theirs.drop_rate = 0.0
    randomize_network(theirs, x)
    ours = gns.create_model("ghostnetv3")
    gns.load_published_state_dict(ours, theirs.state_dict())
    theirs, ours, x = theirs.double().eval(), ours.double().eval(), x.double()
    with torch.no_grad():
        logits = theirs(x)
        assert relative(ours(x), logits) < 1e-12
        assert relative(gns.reparameterize(ours)(x), logits) < 1e-12


def test_without_timm_the_error_names_the_cure() -> None:
    program = (
        "import sys\nsys.modules['timm'] = None\n"
        "try:\n    import ghostnet_small.timm_models\n"
        "except ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "pip install 'ghostnet-small[timm]'" in done.stdout
