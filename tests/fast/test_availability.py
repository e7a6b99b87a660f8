from __future__ import annotations

import importlib.util
import logging

import pytest
import torch

from ghostnet_small.fast.gpu.availability import runs_on


def fail() -> None:
    raise OSError("no compiler")


def test_on_a_cpu_nothing_is_tried() -> None:
    assert not runs_on(torch.device("cpu"), fail, "Triton")


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")
def test_a_trial_decides_and_its_failure_is_said(caplog: pytest.LogCaptureFixture) -> None:
    gpu = torch.device("cuda")
    with caplog.at_level(logging.WARNING):
        assert runs_on(gpu, lambda: None, "fused")
        assert not caplog.messages
        assert not runs_on(gpu, fail, "fused")
    (message,) = caplog.messages
    assert "without the fused kernels" in message and "no compiler" in message
