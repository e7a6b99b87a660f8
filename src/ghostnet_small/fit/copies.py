"""Held-out images that are nearly in the training set too, which make a result too good."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ghostnet_small.data.dataset import Split

# Grey images of this side are compared first; those of the nearest are then compared in full.
SIDE = 8
# Mean absolute difference of two images, of pixels from 0 to 255, below which one is a copy: what
# saving as JPEG changes.
NEAR = 4.0
AT_ONCE = 1024


def near_copies(training: Split, held_out: Split) -> int:
    """Return how many of ``held_out`` have an image in ``training`` that is nearly the same."""
    known = torch.cat([_small(one) for one in training.images.split(AT_ONCE)])
    found = 0
    for images in held_out.images.split(AT_ONCE):
        nearest = torch.cdist(_small(images), known).argmin(1)
        near = training.images[nearest].float()
        found += int(((images.float() - near).abs().mean((1, 2, 3)) < NEAR).sum())
    return found


def _small(images: Tensor) -> Tensor:
    """Return images of a few grey pixels, ``(N, C, H, W) -> (N, SIDE * SIDE)``."""
    grey = images.float().mean(1, keepdim=True)
    return functional.interpolate(grey, (SIDE, SIDE), mode="area").flatten(1)
