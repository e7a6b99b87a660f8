"""Forms of a network that are made in memory: what they compute, and that it stays as it was."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import ghostnet_small as gns
from distill_kit import Net
from ghostnet_small.deploy import fast_inference
from ghostnet_small.deploy.fast_inference import FORMS, PIECE, DirectForm, InPieces, build, exported
from ghostnet_small.nn.fold import reparameterize
from networks import randomize

IMAGE = (3, 8, 8)


def images(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, *IMAGE, generator=torch.Generator().manual_seed(seed))


def ghost_net() -> nn.Module:
    torch.manual_seed(0)
    network = gns.create_model("ghostnetv3_small", width=0.1, num_classes=4).eval()
    randomize(network)
    return reparameterize(network)


class Attention(nn.Module):
    """No convolution, no batch norm, and a layer norm."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(24, 2, 8, dropout=0.0, batch_first=True)
        self.head = nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.layer(x.permute(0, 2, 1, 3).flatten(2)).mean(1))
        return logits


def attention() -> nn.Module:
    torch.manual_seed(0)
    return Attention().eval()


class Hostile(nn.Module):
    """What may not be folded: two readers of a convolution, a kernel that is computed, no
    convolution at all; and what may, a norm without weights."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(4), nn.BatchNorm2d(4)])
        self.alone = nn.BatchNorm2d(3)
        randomize(self)
        self.last = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, affine=False))

    def forward(self, x: Tensor) -> Tensor:
        both = self.one(self.alone(x))
        kernel = self.other.weight / self.other.weight.norm()
        standard = self.norms[1](nn.functional.conv2d(both, kernel))
        logits: Tensor = self.last(self.norms[0](both) + both + standard).mean((2, 3))
        return logits


def hostile() -> nn.Module:
    torch.manual_seed(0)
    return Hostile().eval()


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "convolutions": lambda: Net(1).eval(),
    "ghost modules": ghost_net,
    "a transformer": attention,
    "hard to fold": hostile,
}


# Random ghost modules make their logits of differences that bfloat16 cannot tell.
@pytest.mark.parametrize(
    ("name", "form"),
    [
        *((name, "torch float32") for name in NETWORKS),
        *((name, "torch bfloat16") for name in NETWORKS if name != "ghost modules"),
    ],
)
def test_torch_computes_the_same_and_leaves_the_network_alone(name: str, form: str) -> None:
    network = NETWORKS[name]()
    before = copy.deepcopy(network.state_dict())
    direct_form = build(FORMS[form], exported(network, IMAGE, 1), 1)
    assert {k: v.dtype for k, v in network.state_dict().items()} == {
        k: v.dtype for k, v in before.items()
    }
    assert all(torch.equal(value, before[k]) for k, value in network.state_dict().items())
    x = images(PIECE + 3)
    with torch.no_grad():
        exact, found = network(x), direct_form(x)
    assert found.dtype == torch.float32 and found.shape == exact.shape
    bound = 1e-4 if form == "torch float32" else 0.05
    assert (found - exact).abs().max() <= bound * exact.abs().max()


@pytest.mark.parametrize("form", [name for name in FORMS if not name.startswith("torch")])
def test_a_runtime_computes_the_same(form: str) -> None:
    if not all(map(fast_inference.find_spec, FORMS[form].modules)):
        pytest.skip("not installed")
    if FORMS[form].bfloat16 and (
        not fast_inference.has_bfloat16() or "ONEDNN_MAX_CPU_ISA" in os.environ
    ):
        pytest.skip("no arithmetic in bfloat16")
    network = Net(1).eval()
    x = images(PIECE + 3)
    with torch.no_grad():
        # Of two pieces: the memory of one's answers must not be that of the next.
        exact, found = network(x), build(FORMS[form], exported(network, IMAGE, 1), 1)(x)
    bound = 1e-4 if form.endswith("float32") else 0.05
    assert (found - exact).abs().max() <= bound * exact.abs().max()


@pytest.mark.parametrize(("name", "left"), [("convolutions", 0), ("hard to fold", 3)])
def test_batch_norms_behind_convolutions_are_gone(name: str, left: int) -> None:
    graph = copy.deepcopy(exported(NETWORKS[name](), IMAGE, 1).module())
    fast_inference.fold_batch_norms(graph)
    kinds = [node.target for node in graph.graph.nodes]
    assert kinds.count(torch.ops.aten.batch_norm.default) == left


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8])
def test_a_last_piece_is_filled_up_and_cut(count: int) -> None:
    seen: list[int] = []

    def run(x: Tensor) -> Tensor:
        seen.append(len(x))
        return x.flatten(1)[:, :2]

    x = images(count)
    assert torch.equal(InPieces(run, 4)(x), x.flatten(1)[:, :2])
    assert seen == [4] * -(-count // 4)


def test_a_form_is_there_where_its_modules_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_inference, "has_bfloat16", lambda: False)
    run = FORMS["torch float32"].build
    assert DirectForm(run).there() and DirectForm(run, ("torch",)).there()
    assert not DirectForm(run, ("torch", "no_such_runtime")).there()
    assert not DirectForm(run, bfloat16=True).there()
    monkeypatch.setattr(fast_inference, "has_bfloat16", lambda: True)
    assert DirectForm(run, bfloat16=True).there()
