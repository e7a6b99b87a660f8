"""Mixup and CutMix for whole batches, in integer arithmetic only."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from ghostnet_small.data.constants import constant
from ghostnet_small.data.counter_rng import below

WHOLE = 256  # a share of 1 in the fixed-point numbers of this module
QUANTILES = 4096
SMALLEST_ALPHA, LARGEST_ALPHA = 0.01, 100.0


def partner_rows(words: Tensor, count: int) -> Tensor:
    """Rows in ``0 .. count - 1``, int64 ``(N,)``, from random words ``(N, 4)``.

    No row is likelier than another by more than ``count / 2**63``.
    """
    return ((words[:, 0] << 31) | (words[:, 1] >> 1)) % count


def mix_pictures(
    own: Tensor,
    partner: Tensor,
    words: Tensor,
    *,
    mixup: float,
    cutmix: float,
    probability: float,
) -> tuple[Tensor, Tensor]:
    """Each image mixed with its partner, and the share of its own label.

    Shapes: ``own`` and ``partner`` uint8 ``(N, C, H, W)``; ``words`` ``(N, 4)``; the result uint8
    ``(N, C, H, W)`` and float32 ``(N,)``. ``mixup`` and ``cutmix`` are the alphas of the Beta
    distributions that the shares are drawn from, 0: not used; where both are, either is as
    likely. An image is mixed at all with ``probability``.

    Source: mixup arXiv:1710.09412, CutMix arXiv:1905.04899.
    Differs from the papers: the share of mixup and the area of CutMix are drawn in steps of a
    256th; CutMix rounds a side to the nearest pixel, where its authors' code cuts it to an even
    number of them.
    """
    height, width = own.shape[2:]
    mixed_below = round(probability * 2**32)
    pasted_below = 0 if not cutmix else mixed_below if not mixup else mixed_below // 2
    pasted = words[:, 0] < pasted_below
    blended = (words[:, 0] < mixed_below) & ~pasted

    drawn = below(words[:, 1], QUANTILES)
    out, share = own, torch.ones(len(own), device=own.device)
    if mixup:
        weight = constant(shares(mixup), torch.int32, own.device)[drawn]
        weight = torch.where(blended, weight, WHOLE)
        of_own = weight[:, None, None, None]
        out = (of_own * own.int() + (WHOLE - of_own) * partner.int() + WHOLE // 2) >> 8
        out, share = out.to(torch.uint8), weight / WHOLE
    if cutmix:
        weight = constant(shares(cutmix), torch.int64, own.device)[drawn]
        rows = _covered(words[:, 2], weight, height) & pasted[:, None]
        columns = _covered(words[:, 3], weight, width)
        out = torch.where((rows[:, :, None] & columns[:, None, :])[:, None], partner, out)
        left = height * width - rows.sum(1) * columns.sum(1)
        share = torch.where(pasted, left / (height * width), share)
    return out, share


@lru_cache
def shares(alpha: float) -> tuple[int, ...]:
    """The 4096 middle quantiles of Beta(alpha, alpha), rounded to 256ths."""
    from scipy.special import betaincinv

    half = QUANTILES // 2
    lower = [round(WHOLE * betaincinv(alpha, alpha, (k + 0.5) / QUANTILES)) for k in range(half)]
    return (*lower, *(WHOLE - share for share in reversed(lower)))


@lru_cache
def sides(length: int) -> tuple[int, ...]:
    """``length`` times the root of 1 - share for shares of 0 .. 256 256ths, in whole pixels."""
    # floor(sqrt(x) + 1/2) is (floor(sqrt(4x)) + 1) // 2, which integers compute exactly.
    return tuple(
        (math.isqrt(4 * (WHOLE - share) * length**2 // WHOLE) + 1) // 2
        for share in range(WHOLE + 1)
    )


def _covered(word: Tensor, share: Tensor, length: int) -> Tensor:
    """Return a mask ``(N, length)`` of the pixels in a rectangle with its middle anywhere."""
    side = constant(sides(length), torch.int64, word.device)[share]
    first = below(word, length) - side // 2
    offset = torch.arange(length, device=word.device) - first[:, None]
    return (offset >= 0) & (offset < side[:, None])
