"""What every test runs under: one thread, no network, a cache of its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Set before torch and datasets are imported, and inherited by every command that a test starts.
# One thread: the pictures are so small that more threads only wait for one another. Where a test
# asks for more, they sleep while they wait: spinning ones would keep the other tests from working.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "passive"
os.environ["HF_HUB_OFFLINE"] = "1"
_CACHE = tempfile.TemporaryDirectory(prefix="ghostnet-small-tests-")
os.environ["HF_HOME"] = _CACHE.name
os.environ["GHOSTNET_CACHE"] = os.path.join(_CACHE.name, "ghostnet-small")

import pytest  # noqa: E402
import torch  # noqa: E402

from ghostnet_small.native.library import library  # noqa: E402


def pytest_unconfigure() -> None:
    _CACHE.cleanup()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """One torch thread, given back where a test changed it."""
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def kernels() -> None:
    """The C kernels, without which tests of them would compare PyTorch with itself."""
    for dtype in (torch.float32, torch.float64):
        assert library(dtype) is not None, f"no C kernels for {dtype} here: see the warning above"


@pytest.fixture(scope="session")
def cifar10_root() -> Path:
    """The directory of CIFAR-10 in Hugging Face layout that ``GHOSTNET_CIFAR10`` names.

    Unset, the test is skipped, but in CI it fails: there the data is always at hand, and a
    skip would hide that the committed weights were never checked.
    """
    named = os.environ.get("GHOSTNET_CIFAR10")
    if not named:
        if os.environ.get("CI"):
            pytest.fail("CI is set but GHOSTNET_CIFAR10 is not; start the tests with .ci/run")
        pytest.skip("set GHOSTNET_CIFAR10 to a directory that holds CIFAR-10 as parquet")
    root = Path(named)
    if not root.is_dir():
        pytest.fail(f"GHOSTNET_CIFAR10 names {named!r}, which is not a directory")
    return root
