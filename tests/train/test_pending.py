from __future__ import annotations

import pytest
import torch

from ghostnet_small.train import pending
from ghostnet_small.train.pending import Figures, Pending
from ghostnet_small.train.processes import ALONE


def test_a_look_is_due_when_enough_wait_for_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(pending.time, "monotonic", lambda: now[0])
    waiting = Pending()

    def add(count: int) -> None:
        for step in range(count):
            waiting.add(step, 0.1, torch.tensor(0.5), torch.tensor(3), 8)

    add(100)
    assert not waiting.due()
    now[0] += 0.25
    assert waiting.due()
    found = waiting.take(ALONE)
    assert len(found) == 100 and found[7] == Figures(7, 0.1, 0.5, 3, 8)
    now[0] += 60
    add(19)
    assert not waiting.due()
    add(1)
    assert waiting.due()
    waiting.take(ALONE)
    assert not waiting.due() and waiting.take(ALONE) == []
