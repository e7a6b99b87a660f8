"""The moments of 3x3 windows and their gradient on a GPU, by Triton kernels.

They equal those of ``fast/cpu/moments.py``, in one pass over the images each way. Two runs give the
same bits: programs keep their own sums, and a second kernel adds those in a fixed order.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from ghostnet_small.fast.gpu.availability import runs_on

TAPS = 9
# Channels side by side: as many as fill a memory sector of 32 bytes, in float32.
_CHANNELS = 8
# A program of the sums is one warp: no lane waits for another warp when they are added.
_SUM_LANES = 4
_SUM_PROGRAMS = 2048
_LANES = 16
# Of those programs, how many are added at a time.
_PARTS = 128
# Named always: Triton means to change what it does where nothing is said, and warns of that.
_FUSION = {"enable_fp_fusion": True}


@functools.cache
def available(device: torch.device) -> bool:
    """Whether the kernels run on ``device``; where they should and do not, says so once."""
    return runs_on(device, lambda: window_moments(torch.ones(1, 1, 1, 1, device=device)), "Triton")


def window_moments(x: Tensor, stride: int = 1) -> tuple[Tensor, Tensor]:
    """Means ``(C, 9)`` and biased covariances ``(C, 9, 9)`` of the taps of zero-padded windows.

    Windows are those of a 3x3 convolution of ``x`` ``(N, C, H, W)``, any strides, with padding 1
    and stride 1 or 2. Float64 for float64, else float32.
    """
    from ghostnet_small.fast.gpu.window_kernels import SLOTS, moments_of_sums, window_sums

    n, channels, height, width = x.shape
    out_height, out_width = (height - 1) // stride + 1, (width - 1) // stride + 1
    real = _real(x)
    blocks = -(-channels // _CHANNELS)
    programs = min(-(-n * out_width // _SUM_LANES), max(_SUM_PROGRAMS // blocks, 1))
    sums = torch.empty(programs, SLOTS.value, channels, dtype=real, device=x.device)
    first = torch.empty(channels, TAPS, dtype=real, device=x.device)
    covariance = torch.empty(channels, TAPS, TAPS, dtype=real, device=x.device)
    with torch.cuda.device_of(x):
        window_sums[blocks, programs](
            x,
            sums,
            *x.shape,
            out_height,
            out_width,
            *x.stride(),
            STRIDE=stride,
            LANES=_SUM_LANES,
            CHANNELS=_CHANNELS,
            num_warps=1,
            **_FUSION,
        )
        moments_of_sums[TAPS, TAPS, blocks](
            sums,
            first,
            covariance,
            programs,
            channels,
            n * out_height * out_width,
            LANES=_PARTS,
            CHANNELS=_CHANNELS,
            **_FUSION,
        )
    return first, covariance


def add_window_slope(
    out: Tensor, x: Tensor, first: Tensor, second: Tensor, stride: int = 1
) -> Tensor:
    """Add to ``out``, the gradient of ``x``: windows with taps t add ``first + second t`` to that
    of those taps, ``(C, 9)`` and symmetric ``(C, 9, 9)``."""
    from ghostnet_small.fast.gpu.window_kernels import WEIGHTS, add_gradient, gradient_kernels

    n, channels, height, width = x.shape
    real = _real(x)
    blocks = -(-channels // _CHANNELS)
    # For three kinds of rows and of columns.
    table = torch.empty(3, 3, WEIGHTS.value, channels, dtype=real, device=x.device)
    with torch.cuda.device_of(x):
        gradient_kernels[blocks, 9](
            first.contiguous(),
            second.contiguous(),
            table,
            channels,
            height,
            width,
            STRIDE=stride,
            CHANNELS=_CHANNELS,
            num_warps=1,
            **_FUSION,
        )
        add_gradient[blocks * -(-n * width // _LANES), 3](
            out,
            x,
            table,
            *x.shape,
            *out.stride(),
            *x.stride(),
            STRIDE=stride,
            LANES=_LANES,
            CHANNELS=_CHANNELS,
            **_FUSION,
        )
    return out


def _real(x: Tensor) -> torch.dtype:
    """What sums of ``x`` are kept in."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32
