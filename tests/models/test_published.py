from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor, nn

import ghostnet_small as gns
from ghostnet_small.errors import InputError
from ghostnet_small.models.ghostnetv3 import GHOSTNETV3_SMALL, GhostNetV3
from ghostnet_small.models.published import rename_published
from networks import randomize_network


def model_of(width: float = 0.25) -> GhostNetV3:
    torch.manual_seed(0)
    model = gns.create_model("ghostnetv3_small", width=width)
    randomize_network(model, torch.randn(2, 3, 8, 8))
    return model


GROUPS = [(s, b) for s, size in enumerate(GHOSTNETV3_SMALL.groups) for b in range(size)]


@functools.cache
def published_names() -> dict[str, str]:
    """Published name to ours for all of GN-S, found by trying every name that there could be."""
    known, ours_of_all = {}, set(gns.create_model("ghostnetv3_small", width=0.25).state_dict())
    parts = [
        *(f"ghost{g}.{kind}_rpr_conv.{i}.{part}" for g in (1, 2) for kind in ("primary", "cheap")
          for i in range(3) for part in ("conv", "bn")),
        *(f"ghost{g}.{kind}_rpr_skip" for g in (1, 2) for kind in ("primary", "cheap")),
        *(f"ghost{g}.cheap_rpr_scale.{part}" for g in (1, 2) for part in ("conv", "bn")),
        *(f"ghost1.short_conv.{i}" for i in range(6)),
        *(f"dw_rpr_conv.{i}.{part}" for i in range(3) for part in ("conv", "bn")),
        *(f"dw_rpr_scale.{part}" for part in ("conv", "bn")),
        "se.conv_reduce", "se.conv_expand",
        *(f"shortcut.{i}" for i in range(4)),
    ]  # fmt: skip
    ends = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = [f"blocks.{s}.{b}.{part}" for s, b in GROUPS for part in parts]
    names += ["conv_stem", "bn1", "blocks.7.0.conv", "blocks.7.0.bn1", "conv_head", "classifier"]
    for name in (f"{name}.{end}" for name in names for end in ends):
        ours = rename_published(name, GHOSTNETV3_SMALL)
        if ours in ours_of_all:
            known[name] = ours
    return known


def published(model: GhostNetV3) -> dict[str, Tensor]:
    """The state dict of ``model`` under the paper's names."""
    state = model.state_dict()
    return {name: state[ours].clone() for name, ours in published_names().items() if ours in state}


def test_every_weight_has_a_published_name_and_comes_back() -> None:
    model = model_of()
    state = published(model)
    assert len(state) == len(model.state_dict())
    other = gns.create_model("ghostnetv3_small", width=0.25)
    gns.load_published_state_dict(other, state)
    ours = model.state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in other.state_dict().items())
    # It was copied: training on does not change what was given.
    assert other.head.weight.data_ptr() != state["conv_head.weight"].data_ptr()


def test_counters_of_batches_may_be_absent() -> None:
    model = model_of()
    state = {k: v for k, v in published(model).items() if not k.endswith("num_batches_tracked")}
    gns.load_published_state_dict(gns.create_model("ghostnetv3_small", width=0.25), state)


def altered(state: dict[str, Tensor], how: str) -> dict[str, Tensor]:
    weight = state["conv_head.weight"]
    if how == "missing":
        return {k: v for k, v in state.items() if k != "blocks.3.0.se.conv_reduce.weight"}
    if how == "unknown part":
        return {**state, "blocks.3.0.attn.weight": weight}
    if how == "unknown block":
        return {**state, "blocks.6.2.shortcut.0.weight": weight}
    if how == "unknown end":
        return {**state, "conv_head.gamma": weight}
    if how == "unknown name":
        return {**state, "module.conv_stem.weight": weight}
    return {**state, "conv_head.weight": weight[:-1]}


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("missing", "blocks.3.se.reduce.weight"),
        ("unknown part", "blocks.3.0.attn.weight"),
        ("unknown block", "blocks.6.2.shortcut.0.weight"),
        ("unknown end", "head.gamma"),
        ("unknown name", "module.conv_stem.weight"),
        ("wrong shape", "(1279, 40, 1, 1)"),
    ],
)
def test_a_wrong_state_dict_is_named_and_changes_nothing(how: str, said: str) -> None:
    state = altered(published(model_of()), how)
    model = gns.create_model("ghostnetv3_small", width=0.25)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(InputError) as raised:
        gns.load_published_state_dict(model, state)
    assert said in str(raised.value) and "\n" not in str(raised.value)
    after = model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_only_our_networks_in_training_form() -> None:
    state = published(model_of())
    with pytest.raises(InputError, match="Linear"):
        gns.load_published_state_dict(nn.Linear(2, 2), state)
    with pytest.raises(InputError, match="form"):
        gns.load_published_state_dict(gns.reparameterize(model_of()), state)


def test_another_width_is_another_size() -> None:
    with pytest.raises(InputError, match="width"):
        gns.load_published_state_dict(model_of(0.5), published(model_of(0.25)))


@pytest.mark.parametrize("name", ["blocks.8.0.conv.weight", "blocks.0.1.se.x", "blocks", "", "x.y"])
def test_names_that_belong_nowhere(name: str) -> None:
    assert rename_published(name, GHOSTNETV3_SMALL) is None
