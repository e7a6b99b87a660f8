"""Activation maps in closed form against Grad-CAM by autograd, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import ghostnet_small as gns
from ghostnet_small.demo.activation import CAM, GRAD_CAM, activation_maps
from ghostnet_small.models.network import Network
from ghostnet_small.models.timm_network import TimmNetwork
from networks import randomize_network, relative


def grad_cam(network: Network, pictures: Tensor) -> Tensor:
    """Signed Grad-CAM ``(N, K, h, w)``: the mean gradient times the features, summed."""
    features = network.forward_features(pictures)  # type: ignore[operator]
    if isinstance(network, TimmNetwork):
        logits = network.network.forward_head(features)  # type: ignore[operator]
    else:
        logits = network.forward_head(features)  # type: ignore[operator]
    maps = []
    for k in range(logits.shape[1]):
        (gradient,) = torch.autograd.grad(logits[:, k].sum(), features, retain_graph=True)
        maps.append((gradient.mean((2, 3), keepdim=True) * features).sum(1))
    return torch.stack(maps, 1).detach()


@pytest.mark.parametrize("size", ((32, 32), (16, 24)))
@pytest.mark.parametrize("folded", (False, True))
def test_of_a_ghostnet(folded: bool, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = gns.create_model("ghostnetv3_small", width=0.1, num_classes=4).double()
    pictures = torch.randn(3, 3, *size, dtype=torch.float64)
    randomize_network(model, pictures)
    network: Network = gns.reparameterize(model) if folded else model  # type: ignore[assignment]
    maps = activation_maps(network, (3, *size))
    assert maps is not None and maps.method == GRAD_CAM
    expected = grad_cam(network, pictures)
    places = expected.shape[2] * expected.shape[3]
    found = maps(pictures).detach()
    assert found.shape == (3, 4, size[0] // 4, size[1] // 4)
    assert relative(found / places, expected) < 1e-10
    # Both signs, and another map for another class: nothing here is zero by chance.
    assert found.min() < 0 < found.max() and relative(found[:, 0], found[:, 1]) > 0.1


class Head(nn.Module):
    """timm's doors, and a head of a kind that is told."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.conv = nn.Conv2d(1, 4, 3)
        self.fc = nn.Linear(4 * 36 if kind == "flat" else 4, 2)

    def forward_features(self, x: Tensor) -> Tensor:
        return self.conv(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.conv(x))

    def forward_head(self, features: Tensor) -> Tensor:
        if self.kind == "flat":
            return self.fc(features.flatten(1))
        return self.fc(features.amax((2, 3)) if self.kind == "max" else features.mean((2, 3)))

    def get_classifier(self) -> nn.Module:
        return nn.Identity() if self.kind == "none" else self.fc


@pytest.mark.parametrize("kind", ("mean", "max", "flat", "none"))
def test_heads_that_have_no_maps(kind: str) -> None:
    torch.manual_seed(0)
    network = TimmNetwork(Head(kind), config={}).eval()
    assert (activation_maps(network, (1, 8, 8)) is not None) == (kind == "mean")
    assert activation_maps(Network(), (1, 8, 8)) is None


def test_of_a_linear_head() -> None:
    torch.manual_seed(0)
    network = TimmNetwork(Head("mean"), config={}).eval()
    maps = activation_maps(network, (1, 8, 8))
    assert maps is not None and maps.method == CAM
    pictures = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    found, expected = maps.double()(pictures).detach(), grad_cam(network.double(), pictures)
    assert found.shape == (2, 2, 6, 6) and relative(found / 36, expected) < 1e-10
    # CAM: the mean over the places, and the bias, are the logits.
    bias = network.network.fc.bias  # type: ignore[union-attr]
    assert relative(found.mean((2, 3)) + bias, network(pictures)) < 1e-10
