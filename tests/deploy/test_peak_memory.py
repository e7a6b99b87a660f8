"""The memory of a file, measured in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from ghostnet_small.deploy import peak_memory as module
from ghostnet_small.deploy.deployable import Deployable
from ghostnet_small.deploy.description import Description
from ghostnet_small.deploy.formats import FORMATS
from ghostnet_small.deploy.peak_memory import NotMeasured, peak_memory

WIDE, SIDE = 64, 64  # a picture becomes a megabyte


def test_a_larger_batch_takes_what_its_pictures_need(tmp_path: Path) -> None:
    size = (SIDE, SIDE)
    description = Description(
        "small", 1.0, ("a", "b"), size, (0.5,), (0.2,), "float32", "normalized", {}
    )
    network = nn.Sequential(nn.Conv2d(1, WIDE, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network.append(nn.Linear(WIDE, 2))
    path = FORMATS["torch"].file(tmp_path)
    FORMATS["torch"].load().export(Deployable(network, description).eval(), description, path)
    found = peak_memory(path, [100, 1], torch.get_num_threads())
    assert list(found) == [1, 100]
    one, many = found[1], found[100]
    assert 0 < one.above <= many.above and one.peak - one.above == many.peak - many.above
    # The answer of the convolution at least; not that of a hundred interpreters.
    needed = 99 * 4 * WIDE * SIDE**2
    assert needed < many.above - one.above < 4 * needed


def test_a_process_that_fails_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho out of luck >&2\nexit 7\n")
    program.chmod(0o755)
    monkeypatch.setattr(module, "PYTHON", (str(program),))
    with pytest.raises(NotMeasured, match=r"opened model\.pt2 ended with status 7: out of luck"):
        peak_memory(tmp_path / "model.pt2", [1], 1)
    program.write_text("#!/bin/sh\nsleep 9\n")
    monkeypatch.setattr(module, "SECONDS", 0.05)
    with pytest.raises(NotMeasured, match=r"took 0\.05 s and more"):
        peak_memory(tmp_path / "model.pt2", [1], 1)


def test_a_system_without_such_a_peak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STATUS", tmp_path / "nowhere")
    with pytest.raises(NotMeasured, match=r"this system has no .*nowhere"):
        peak_memory(tmp_path / "model.pt2", [1], 1)
