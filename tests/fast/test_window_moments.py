"""The GPU's kernels against sums over ``unfold``: on a GPU, or without one in Triton's interpreter.

The interpreter has to be asked for before triton is imported, so one test runs this file again.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ghostnet_small.fast.gpu import window_moments as module
from ghostnet_small.fast.gpu.window_moments import add_window_slope, available, window_moments

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
TOLERANCE = {torch.float64: 1e-13, torch.float32: 1e-6}

runs_kernels = pytest.mark.skipif(
    not INTERPRETED and not torch.cuda.is_available(), reason="needs a GPU or the interpreter"
)

# Channels that fill no block, pictures that fill no program, borders that meet.
SHAPES = {
    "odd": (2, 9, 5, 3),
    "even": (3, 2, 4, 4),
    "one pixel": (5, 3, 1, 1),
    "two rows": (3, 1, 2, 1),
    "two columns": (3, 2, 3, 2),
}


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")
@pytest.mark.skipif(INTERPRETED, reason="runs this file")
def test_in_the_interpreter() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "needs a GPU or" not in done.stdout


def test_is_for_gpus_only() -> None:
    assert not available(torch.device("cpu"))


@runs_kernels
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_moments_and_their_gradient(shape: str, stride: int) -> None:
    check(pictures(SHAPES[shape]).to(memory_format=torch.channels_last), stride)


@runs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lesser_precisions(dtype: torch.dtype) -> None:
    check(pictures((2, 3, 4, 5)).to(dtype), 1)


@runs_kernels
def test_any_strides() -> None:
    wide = pictures((4, 6, 5, 8))
    check(wide[::2, 1::2, :3, 1::3], 1)
    check(wide.transpose(2, 3)[:1, :2, 1::2], 2)


@runs_kernels
def test_a_program_may_have_many_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SUM_PROGRAMS", 2)
    check(pictures((5, 2, 3, 4)), 1)


@runs_kernels
def test_a_large_mean_costs_no_digits() -> None:
    x = (pictures((4, 2, 3, 8)) + 1000).float()
    # Windows within the picture: zeros around it would be a variance of their own.
    centre = 4
    _, expected = reference(x.double(), 1)
    inner = x[:, :, 1, 1:-1].double().var(correction=0, dim=(0, 2))
    _, covariance = window_moments(x)
    assert inner.max() < 2
    error = (covariance[:, centre, centre] - expected[:, centre, centre]).abs()
    assert (error < 1e-5 * inner).all()


@runs_kernels
def test_repeats_itself_to_the_bit() -> None:
    x = pictures((3, 9, 3, 4)).float()
    again = [window_moments(x) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*again, strict=True))


@pytest.mark.skipif(INTERPRETED or not torch.cuda.is_available(), reason="needs a GPU")
def test_is_available_and_takes_large_batches() -> None:
    assert available(torch.device("cuda"))
    x = pictures((300, 40, 16, 16)).to(memory_format=torch.channels_last)
    check(x, 1)
    check(x.float(), 2)


def pictures(shape: tuple[int, ...]) -> Tensor:
    torch.manual_seed(0)
    return (torch.randn(shape, dtype=torch.float64) + 2).to(DEVICE)


def reference(x: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Means and biased covariances of what ``unfold`` puts side by side."""
    n, c, h, w = x.shape
    taps = functional.unfold(x.reshape(n * c, 1, h, w), 3, padding=1, stride=stride)
    taps = taps.view(n, c, 9, -1).permute(1, 2, 0, 3).flatten(2)
    mean = taps.mean(2)
    centred = taps - mean[:, :, None]
    return mean, centred @ centred.mT / taps.shape[2]


def check(x: Tensor, stride: int) -> None:
    exact = x.double().detach().requires_grad_()
    mean, covariance = reference(exact, stride)
    actual = window_moments(x, stride)
    real = torch.float64 if x.dtype == torch.float64 else torch.float32
    assert actual[0].dtype == actual[1].dtype == real
    assert_close(actual[0], mean, TOLERANCE[real])
    assert_close(actual[1], covariance, TOLERANCE[real])

    first, slope = torch.randn_like(mean), torch.randn_like(covariance)
    slope = slope + slope.mT
    # The windows' sum of first t + t slope t / 2, from their means.
    windows = x.shape[0] * -(-x.shape[2] // stride) * -(-x.shape[3] // stride)
    second = covariance + mean[:, :, None] * mean[:, None]
    (((first * mean).sum() + (slope * second).sum() / 2) * windows).backward()
    out = torch.ones_like(x)
    returned = add_window_slope(out, x, first.to(real), slope.to(real), stride)
    assert returned is out
    assert exact.grad is not None
    assert_close(out, exact.grad + 1, max(TOLERANCE[real], 2 * torch.finfo(x.dtype).eps))


def assert_close(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    error = (actual - expected).abs().max().item()
    assert error <= tolerance * expected.abs().max().item(), error
