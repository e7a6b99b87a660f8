from __future__ import annotations

import pytest
import torch

from ghostnet_small.errors import InputError
from ghostnet_small.train.device import make_accelerator


def test_the_cpu_can_always_be_asked_for() -> None:
    for precision, mixed in (("fp32", "no"), ("bf16", "bf16"), ("fp32", "no")):
        accelerator = make_accelerator("cpu", precision)
        assert accelerator.device.type == "cpu"
        # A second one in the same process gets what it asks for, not what the first one had.
        assert accelerator.mixed_precision == mixed


def test_auto_is_the_best_there() -> None:
    there = torch.accelerator.current_accelerator(check_available=True)
    assert make_accelerator().device.type == ("cpu" if there is None else there.type)


def test_unknown_devices_are_named_with_those_known() -> None:
    with pytest.raises(InputError, match="'gpu' is not known; choose one of auto, cpu"):
        make_accelerator("gpu")


@pytest.mark.parametrize("device", ["cuda", "mps", "xpu"])
def test_a_device_that_is_not_there(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)
    with pytest.raises(InputError, match=f"'{device}' is not there; this machine has cpu"):
        make_accelerator(device)


def test_fp16_needs_a_gpu() -> None:
    with pytest.raises(InputError, match="fp16"):
        make_accelerator("cpu", "fp16")
