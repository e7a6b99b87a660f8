"""Augmentation of whole batches, on the device that holds them.

An image's view is a pure function of (view seed, view number, image index): random words come
from a counter, all arithmetic is on integers, and no image depends on its neighbours. So any view
can be computed again, bit for bit, in any order and batch split, on any device.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeVar, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ghostnet_small.data.constants import constant
from ghostnet_small.data.counter_rng import below, check_seed, philox
from ghostnet_small.data.mixing import (
    LARGEST_ALPHA,
    SMALLEST_ALPHA,
    mix_pictures,
    partner_rows,
)
from ghostnet_small.data.policy import randaugment, trivialaugment
from ghostnet_small.errors import InputError
from ghostnet_small.fields import LATER

PaddingMode = Literal["zero", "reflect"]
Flip = Literal["none", "random", "alternating"]
Policy = Literal["none", "trivialaugment", "randaugment"]
Number = TypeVar("Number", int, Tensor)

# Every purpose draws from a stream of its own, so that switching one on leaves the others' draws
# as they were. A policy's k-th operation uses POLICY_STREAM + k, hence POLICY_STREAM is last, and
# mixing, which came later, draws from far behind it.
CROP_STREAM, FLIP_STREAM, CUTOUT_STREAM, POLICY_STREAM = range(4)
PARTNER_STREAM, MIX_STREAM = 1 << 17, (1 << 17) + 1


@dataclass(frozen=True)
class Augmentation:
    """The changes to a training image before the network sees it; by default none.

    The steps run in this order: pad and crop, flip, policy, cutout; then mixing with a partner,
    another image of the training split that went through the same steps.

    Args:
        crop_padding: pixels added on each side before a crop of the image's own size.
        padding_mode: what the added pixels hold: "zero" or "reflect".
        flip: left-right; "random" with probability one half, "alternating" at random in view 0
            and from then on the other way round in every view.
        cutout: side of a filled square, in pixels; 0: none. Its centre lies anywhere in the
            image, so that it may be cut by the border.
        policy: "trivialaugment" or "randaugment".
        randaugment_ops: operations that RandAugment applies to an image.
        randaugment_magnitude: their strength, 0 .. 30.
        mixup: blend with the partner, by shares from Beta(mixup, mixup); 0: never.
        cutmix: replace a rectangle by the partner's, whose area is drawn from Beta(cutmix,
            cutmix); 0: never. With both, each image gets one of them, half of the images each.
        mix_probability: share of the images that are mixed at all.
        view_seed: the views' own seed, apart from the training's.
        views: epoch e uses view e, or ``e % views`` where a number is given.

    Source: random crops with flips as in arXiv:1512.03385 (section 4.2); cutout arXiv:1708.04552;
    alternating flip arXiv:2404.00498 (section 3.6); TrivialAugment arXiv:2103.10158; RandAugment
    arXiv:1909.13719; mixup arXiv:1710.09412; CutMix arXiv:1905.04899.
    """

    crop_padding: int = 0
    padding_mode: PaddingMode = "zero"
    flip: Flip = "none"
    cutout: int = 0
    policy: Policy = "none"
    randaugment_ops: int = 2
    randaugment_magnitude: int = 9
    mixup: float = field(default=0.0, metadata=LATER)
    cutmix: float = field(default=0.0, metadata=LATER)
    mix_probability: float = field(default=1.0, metadata=LATER)
    view_seed: int = 0
    views: int | None = None

    def __post_init__(self) -> None:
        """Raise ``InputError`` for a value that cannot be used on any image."""
        _check_word("padding_mode", self.padding_mode, get_args(PaddingMode))
        _check_word("flip", self.flip, get_args(Flip))
        _check_word("policy", self.policy, get_args(Policy))
        _check_range("crop_padding", self.crop_padding, 0)
        _check_range("cutout", self.cutout, 0)
        _check_range("randaugment_ops", self.randaugment_ops, 1)
        _check_range("randaugment_magnitude", self.randaugment_magnitude, 0, 30)
        for name in ("mixup", "cutmix"):
            alpha = getattr(self, name)
            if alpha and not SMALLEST_ALPHA <= alpha <= LARGEST_ALPHA:
                raise InputError(
                    f"{name} {alpha!r} is not allowed; give a number from {SMALLEST_ALPHA:g} to "
                    f"{LARGEST_ALPHA:g}, or 0 for none"
                )
        if not 0 <= self.mix_probability <= 1:
            raise InputError(
                f"mix_probability {self.mix_probability!r} is not allowed; "
                "give a number from 0 to 1"
            )
        check_seed(self.view_seed, "view_seed")
        if self.views is not None:
            _check_range("views", self.views, 1)

    @property
    def mixes(self) -> bool:
        """Return whether images are mixed with partners."""
        return bool(self.mixup or self.cutmix) and self.mix_probability > 0

    def view_of_epoch(self, epoch: Number) -> Number:
        """The number of the view that ``epoch`` (from 0), or each of several, trains on."""
        return epoch if self.views is None else epoch % self.views

    def check(self, height: int, width: int) -> None:
        """Raise ``InputError`` where a setting cannot be used on ``height x width`` images."""
        side = min(height, width)
        if self.cutout > side:
            raise InputError(
                f"cutout {self.cutout} is larger than the {height}x{width} images; "
                f"give at most {side}"
            )
        if self.padding_mode == "reflect" and self.crop_padding >= side:
            raise InputError(
                f"crop_padding {self.crop_padding} cannot be reflected in {height}x{width} "
                f"images; give at most {side - 1}, or padding_mode zero"
            )
        if self.padding_mode == "zero" and self.crop_padding > side:
            raise InputError(
                f"crop_padding {self.crop_padding} can leave nothing of {height}x{width} "
                f"images; give at most {side}"
            )

    def __call__(
        self, images: Tensor, index: Tensor, view: int | Tensor, fill: tuple[int, ...]
    ) -> Tensor:
        """View number ``view`` of each image before mixing, a new tensor like ``images``.

        Shapes: ``images`` uint8 ``(N, C, H, W)``; ``index`` int64 ``(N,)``, each image's row in
        its source, on the same device; ``view`` one number for all or int64 ``(N,)``; ``fill`` C
        values of 0 .. 255 for pixels that a policy or cutout leaves empty, by custom the rounded
        mean of the training split.
        """
        _, channels, height, width = images.shape
        self.check(height, width)
        assert len(fill) == channels, f"{len(fill)} fill values for {channels} channels"
        views = self._crop_and_flip(images.contiguous(), index, view)
        if self.policy == "trivialaugment":
            words = philox(index, view, POLICY_STREAM, self.view_seed)
            views = trivialaugment(views, words, fill)
        elif self.policy == "randaugment":
            for k in range(self.randaugment_ops):
                words = philox(index, view, POLICY_STREAM + k, self.view_seed)
                views = randaugment(views, words, self.randaugment_magnitude, fill)
        if self.cutout:
            views = self._cut_out(views, index, view, fill)
        return views if views is not images else images.clone()

    def partner(self, index: Tensor, view: int | Tensor, count: int) -> Tensor:
        """The row of the training split that each image is mixed with, int64 ``(N,)``.

        Any of the split's ``count`` rows, the image's own among them: a pure function of (view
        seed, ``view``, ``index``, ``count``), and so the same in every batch split.
        """
        return partner_rows(philox(index, view, PARTNER_STREAM, self.view_seed), count)

    def mix(
        self, views: Tensor, partner_views: Tensor, index: Tensor, view: int | Tensor
    ) -> tuple[Tensor, Tensor]:
        """Views mixed with those of their partners, and the share of each one's own label.

        Shapes: both views uint8 ``(N, C, H, W)``, the partner's under the same ``view`` number but
        its own index; ``index`` that of the images, not of their partners. The shares are
        float32 ``(N,)`` in 0 .. 1; the rest belongs to the partner's label.
        """
        words = philox(index, view, MIX_STREAM, self.view_seed)
        return mix_pictures(
            views,
            partner_views,
            words,
            mixup=self.mixup,
            cutmix=self.cutmix,
            probability=self.mix_probability,
        )

    def _crop_and_flip(self, images: Tensor, index: Tensor, view: int | Tensor) -> Tensor:
        """One gather does both: it reads row ``y`` and column ``x`` of the padded images."""
        n, channels, height, width = images.shape
        pad = self.crop_padding
        if not pad and self.flip == "none":
            return images
        rows = torch.arange(height, device=images.device).expand(n, height)
        columns = torch.arange(width, device=images.device).expand(n, width)
        if self.flip != "none":
            flipped = self._flipped(index, view)[:, None]
            columns = torch.where(flipped, width - 1 - columns, columns)
        if pad:
            words = philox(index, view, CROP_STREAM, self.view_seed)
            rows = rows + below(words[:, :1], 2 * pad + 1)
            columns = columns + below(words[:, 1:2], 2 * pad + 1)
            if self.padding_mode == "reflect":
                rows, columns = _reflect(rows - pad, height), _reflect(columns - pad, width)
            else:
                images = F.pad(images, (pad, pad, pad, pad))
        pixels = rows[:, :, None] * images.shape[3] + columns[:, None, :]
        pixels = pixels.flatten(1)[:, None].expand(n, channels, height * width)
        return images.flatten(2).gather(2, pixels).view(n, channels, height, width)

    def _flipped(self, index: Tensor, view: int | Tensor) -> Tensor:
        """Return a mask of the images to flip, bool ``(N,)``."""
        if self.flip == "random":
            return below(philox(index, view, FLIP_STREAM, self.view_seed)[:, 0], 2) == 1
        return below(philox(index, 0, FLIP_STREAM, self.view_seed)[:, 0], 2) != view % 2

    def _cut_out(
        self, images: Tensor, index: Tensor, view: int | Tensor, fill: tuple[int, ...]
    ) -> Tensor:
        _, _, height, width = images.shape
        words = philox(index, view, CUTOUT_STREAM, self.view_seed)
        inside_rows = self._inside(below(words[:, :1], height), height)
        inside_columns = self._inside(below(words[:, 1:2], width), width)
        inside = inside_rows[:, None, :, None] & inside_columns[:, None, None, :]
        colour = constant(fill, torch.uint8, images.device)
        return torch.where(inside, colour[:, None, None], images)

    def _inside(self, centre: Tensor, length: int) -> Tensor:
        """Return a mask ``(N, length)`` of pixels in the square around ``centre`` ``(N, 1)``."""
        offset = torch.arange(length, device=centre.device) - (centre - self.cutout // 2)
        return (offset >= 0) & (offset < self.cutout)


def _reflect(position: Tensor, length: int) -> Tensor:
    """Positions outside ``0 .. length - 1`` mirrored at the border pixel, which is not repeated."""
    return length - 1 - (length - 1 - position.abs()).abs()


def _check_word(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{name} {value!r} is not known; choose one of {', '.join(allowed)}")


def _check_range(name: str, value: int, low: int, high: int | None = None) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        allowed = f"from {low} up" if high is None else f"from {low} to {high}"
        raise InputError(f"{name} {value!r} is not allowed; give a whole number {allowed}")
