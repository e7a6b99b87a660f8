"""The weights that a page is of: what is known of them, and no more of the machine than must be."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demo_kit import tiny_networks
from export_kit import save_digits
from ghostnet_small.demo.chosen import Chosen
from ghostnet_small.demo.opened import _name
from ghostnet_small.files import signed_json


@pytest.fixture
def weights(tmp_path: Path) -> Iterator[Path]:
    with tiny_networks():
        yield save_digits(tmp_path / "digits")


def test_what_is_known_of_the_weights(weights: Path, tmp_path: Path) -> None:
    def known(path: Path, kind: str = "last") -> Any:
        return Chosen.read(path, kind).test_top1()

    assert known(weights) is None
    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.yaml").write_text("{}")
    for kind in ("last", "best"):
        shutil.copytree(weights, run / kind)
    assert known(run) is None
    last = {"test_top1": 90.0, "test_correct": 9, "test_total": 10}
    (run / "summary.json").write_text(signed_json({"last": last}))
    assert known(run) == {"top1": 90.0, "correct": 9, "pictures": 10}
    assert known(run, "best") is None
    assert _name(run / "best") == _name(run) == "run"
    found = {"top1": 80.0, "correct": 8, "total": 10}
    (weights / "record.json").write_text(signed_json({"evaluation": found}))
    assert known(weights) == {"top1": 80.0, "correct": 8, "pictures": 10}


@pytest.mark.parametrize(
    ("data", "name"),
    (
        ({"source": "digits", "root": None}, "digits"),
        ({"source": "cifar10", "root": "/home/alice/cifar10"}, "cifar10"),
        ({"source": "owner/name", "root": None}, "owner/name"),
        ({"source": "/home/alice/pictures", "root": None}, "pictures"),
        ({"source": "digits", "root": "/home/alice/pictures"}, "pictures"),
        ({}, None),
    ),
)
def test_the_data_has_a_name_and_no_place(
    weights: Path, data: dict[str, Any], name: str | None
) -> None:
    chosen = Chosen.read(weights, "last")
    info = replace(chosen.info, recipe={"data": data})
    assert replace(chosen, info=info).trained_on() == name
