from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ghostnet_small.recipe.recipe import read_recipe, resolve_recipe
from ghostnet_small.recipe.shareable import KNOWN, changed_settings, portable_recipe


def _data(**given: Any) -> dict[str, Any]:
    recipe = read_recipe(None, ["--train.epochs", "3", "--train.device", "cuda"]).as_dict()
    data: dict[str, Any] = portable_recipe({**recipe, "data": {**recipe["data"], **given}})["data"]
    assert data["root"] is None
    return data


@pytest.mark.parametrize(
    ("source", "root", "left"),
    [
        ("digits", None, "digits"),
        ("cifar10", None, "cifar10"),
        ("owner/name", None, "owner/name"),
        ("cifar10", "/home/me/cifar10", "cifar10"),
        ("fashion_mnist", "/usr/share/datasets/fashion-mnist", "fashion_mnist"),
        # The recipe is for CIFAR-10, and it was given something else.
        ("cifar10", "/home/me/my pictures", "my pictures"),
        ("digits", "/home/me/cats", "cats"),
        ("/home/me/cats", None, "cats"),
    ],
)
def test_data_are_called_by_what_was_read(source: str, root: str | None, left: str) -> None:
    assert _data(source=source, root=root)["source"] == left


def test_a_named_set_is_known_by_its_pictures() -> None:
    recipe = read_recipe(None, ["--data.source", "cifar10"]).as_dict()
    written = {**recipe, "data": {**recipe["data"], "root": "/tmp/data"}}
    known = next(read for read, name in KNOWN.items() if name == "cifar10")
    assert portable_recipe(written, known)["data"]["source"] == "cifar10"
    assert portable_recipe(written, "0" * 64)["data"]["source"] == "data"


def test_a_folder_that_looks_like_a_name_of_the_hub_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "me" / "pictures").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert _data(source="me/pictures")["source"] == "pictures"


def test_what_is_left_is_a_recipe_without_its_place() -> None:
    written = read_recipe(None, ["--train.epochs", "3", "--train.device", "cpu"]).as_dict()
    portable = portable_recipe(written)
    assert portable["train"]["device"] == "auto"
    assert resolve_recipe(portable).hash() == resolve_recipe(written).hash()
    assert changed_settings(portable) == {"train": {"epochs": 3}}
