"""``benchmark deploy`` on a tiny network, in formats of milliseconds."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from export_kit import DIGITS, FakeModule, use_fakes
from ghostnet_small.benchmark import deploy_comparison, deploy_speed
from ghostnet_small.cli import main
from ghostnet_small.deploy.peak_memory import Memory, NotMeasured
from ghostnet_small.models.registry import create_ghostnet
from ghostnet_small.models.weights import ModelInfo, save_model
from networks import randomize_network

PICTURES = 40  # in the test split


@contextlib.contextmanager
def fake_deployments() -> Iterator[tuple[FakeModule, FakeModule]]:
    """Formats of milliseconds, few calls, no processes, no cache, and one thread that does it
    all."""

    def weigh(path: Path, batches: Sequence[int], threads: int) -> dict[int, Memory]:
        if path.suffix == ".odd":
            raise NotMeasured("out of luck")
        return {batch: Memory(500 + batch, 100 + batch) for batch in batches}

    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch, use_fakes() as modules:
        patch.setattr(deploy_speed, "CALLS", 4)
        patch.setattr(deploy_comparison, "peak_memory", weigh)
        # What one test made must not spare another the making.
        patch.setattr(deploy_comparison, "cache_root", lambda: None)
        yield modules
    torch.set_num_threads(threads)


def save_noise(folder: Path) -> Path:
    """Noise of ten classes, in the size that the peers take."""
    file = folder / "noise.npz"
    random = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 60), ("test", PICTURES)):
        arrays[f"x_{split}"] = random.integers(256, size=(count, 32, 32, 3), dtype=np.uint8)
        arrays[f"y_{split}"] = np.arange(count) % 10
    np.savez(file, **arrays)
    return file


def save_tiny(folder: Path, data: Path, seed: int = 0) -> Path:
    """Weights of a tiny network that was never trained and answers within reason."""
    torch.manual_seed(seed)
    model = create_ghostnet("ghostnetv3_small", width=0.05)
    randomize_network(model, torch.randn(64, 3, 32, 32))
    recipe = {"data": {"root": str(data), "cache": "off"}}
    save_model(model, ModelInfo(DIGITS, (32, 32), (0.5,) * 3, (0.3,) * 3, recipe), folder)
    return folder


def ask(*words: str) -> tuple[int, str, str]:
    """The command's status, and what it prints."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(["benchmark", "deploy", *words])
    return status, out.getvalue(), err.getvalue()
