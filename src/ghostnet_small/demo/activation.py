"""Class-activation maps as a part of a network's graph, for runtimes without gradients.

Grad-CAM of a class weighs each feature map by the mean gradient of the class's logit by it, and
adds them up. Behind an average pool that gradient is the same at all places, and for the heads here
it is plain algebra. Source: arXiv:1610.02391, section 3; behind one linear layer alone it is CAM,
arXiv:1512.04150.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ghostnet_small.models.ghostnetv3 import GhostNetV3
from ghostnet_small.models.network import Network
from ghostnet_small.models.timm_network import TimmNetwork

# The allowed difference of the maps' mean from the logits, relative to the largest logit.
BOUND = 1e-4
GRAD_CAM, CAM = "Grad-CAM", "CAM"


class Maps(nn.Module):
    """``(N, C, H, W)``, normalised, to signed maps ``(N, K, h, w)``, one a class.

    At a place, a class's map is the sum over the features of its logit's gradient by the pooled
    feature, times the feature there. Grad-CAM divides that by the number of places, and leaves out
    what is negative.
    """

    method: str

    def gradients(self, features: Tensor) -> Tensor:
        """Return the gradients of the logits by the pooled features, ``(N, K, C)``, at maps
        ``(N, C, h, w)``."""
        raise NotImplementedError

    def features(self, pictures: Tensor) -> Tensor:
        """Return the last feature maps, ``(N, C, h, w)``."""
        raise NotImplementedError

    def forward(self, pictures: Tensor) -> Tensor:
        features = self.features(pictures)
        height, width = features.shape[2:]
        maps = self.gradients(features) @ features.flatten(2)
        return maps.unflatten(2, (height, width))


class GhostNetMaps(Maps):
    """Maps of a GhostNet in either form: pool, linear, ReLU, linear."""

    method = GRAD_CAM

    def __init__(self, network: GhostNetV3) -> None:
        super().__init__()
        self.network = network

    def features(self, pictures: Tensor) -> Tensor:
        """See the base class."""
        return self.network.forward_features(pictures)

    def gradients(self, features: Tensor) -> Tensor:
        """See the base class: through the two linear layers and the active ReLUs."""
        head, classifier = self.network.head, self.network.classifier
        assert isinstance(classifier, nn.Linear)
        before = head(features.mean((2, 3), keepdim=True)).flatten(1)
        is_open = (before > 0).to(features.dtype)
        return (is_open[:, None, :] * classifier.weight) @ head.weight.flatten(1)


class LinearMaps(Maps):
    """Maps of a network of timm whose head is an average pool and one linear layer."""

    method = CAM

    def __init__(self, network: TimmNetwork, classifier: nn.Linear) -> None:
        super().__init__()
        self.network, self.classifier = network, classifier

    def features(self, pictures: Tensor) -> Tensor:
        """See the base class."""
        return self.network.forward_features(pictures)

    def gradients(self, features: Tensor) -> Tensor:
        """See the base class: the weights themselves."""
        weight = self.classifier.weight
        return weight.expand(len(features), *weight.shape)


def activation_maps(network: Network, picture: tuple[int, int, int]) -> Maps | None:
    """Return the maps of ``network``, in evaluation mode, for images ``(C, H, W)``; None if
    its head is of no kind that is known here."""
    if isinstance(network, GhostNetV3):
        return GhostNetMaps(network).eval()
    if not isinstance(network, TimmNetwork):
        return None
    inner: Any = network.network
    classifier = inner.get_classifier()
    if not isinstance(classifier, nn.Linear):
        return None
    maps = LinearMaps(network, classifier).eval()
    return maps if _explain(maps, network, picture) else None


@torch.inference_mode()
def _explain(maps: LinearMaps, network: Network, picture: tuple[int, int, int]) -> bool:
    """Return whether the mean over the places and the bias give the logits."""
    shown = torch.randn(2, *picture, generator=torch.Generator().manual_seed(0))
    features = maps.features(shown)
    if features.ndim != 4 or features.shape[1] != maps.classifier.in_features:
        return False
    logits = network(shown)
    found = maps(shown).mean((2, 3))
    if maps.classifier.bias is not None:
        found = found + maps.classifier.bias
    return bool((found - logits).abs().max() <= BOUND * logits.abs().max())
