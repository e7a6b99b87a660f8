"""The head of a network as one function: mean, two linear layers, the ReLU between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from ghostnet_small.fast.cpu.fused_parts import apply, matching
from ghostnet_small.fast.cpu.ghost import usable
from ghostnet_small.fast.cpu.kernels.convolutions import linear, linear_gradient
from ghostnet_small.fast.cpu.kernels.elementwise import (
    means_of_pixels,
    means_of_pixels_gradient,
    relu_gradient,
)
from ghostnet_small.models.ghostnetv3 import POOLED, GhostNetV3, head_by_parts


@dataclass(frozen=True)
class Head:
    """The mean over the places, the layer of features, the ReLU and the classifier.

    Its output is ``(N, 1, 1, K)``.
    """

    parameters: tuple[Tensor, Tensor, Tensor, Tensor]

    def run(self, x: Tensor, parameters: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """See ``Part``."""
        weight, bias, classes, class_bias = parameters
        means = means_of_pixels(x)
        features = linear(means, weight.flatten(1), bias, relu=True)
        return linear(features, classes, class_bias)[:, None, None], [means, features]

    def run_back(
        self, grad: Tensor, x: Tensor, kept: Sequence[Tensor], parameters: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """See ``Part``."""
        weight, _, classes, _ = parameters
        means, features = kept
        above, of_classes, of_class_bias = linear_gradient(grad[:, 0, 0], features, classes)
        assert above is not None
        below = relu_gradient(above, features)
        of_means, of_weight, of_bias = linear_gradient(below, means, weight.flatten(1))
        assert of_means is not None
        of_x = means_of_pixels_gradient(of_means, x)
        return of_x, [matching(of_weight, weight), of_bias, of_classes, of_class_bias]


def head_of(model: GhostNetV3, x: Tensor) -> Head | None:
    """Return the part of the head for feature maps like ``x``; ``None`` where there is none.

    ``x`` must be ``calls.usable``."""
    head, classifier = model.head, model.classifier
    if (
        not model.training
        or model.global_pool != POOLED
        or model.drop_rate
        or type(classifier) is not nn.Linear
        or classifier.bias is None
        or head.bias is None
        or x.dtype != head.weight.dtype
        or head._forward_hooks
        or classifier._forward_hooks
    ):
        return None
    return Head((head.weight, head.bias, classifier.weight, classifier.bias))


def fused_head(model: GhostNetV3, x: Tensor, pre_logits: bool) -> Tensor:
    """Compute ``head_by_parts(model, x, pre_logits)`` as one function where the C kernels can."""
    served = model.training and not pre_logits and usable(x)
    part = head_of(model, x) if served else None
    return head_by_parts(model, x, pre_logits) if part is None else apply(part, x).flatten(1)
