from __future__ import annotations

import os
import sys

import pytest

from ghostnet_small.deploy.quiet import quiet_stderr


def _print() -> None:
    print("by Python", file=sys.stderr)
    os.write(2, b"by C\n")


def test_nothing_is_printed_but_before_and_after(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet_stderr():
        _print()
    assert capfd.readouterr() == ("", "")
    _print()
    assert sorted(capfd.readouterr().err.splitlines()) == ["by C", "by Python"]


def test_after_an_error_all_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="it"), quiet_stderr():
        _print()
        raise ValueError("it")
    assert sorted(capfd.readouterr().err.splitlines()) == ["by C", "by Python"]
