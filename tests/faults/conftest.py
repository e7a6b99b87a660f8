from __future__ import annotations

from pathlib import Path

import pytest

from small_run import train


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed, to compare with or to copy."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert train(out) == 0
    return out
