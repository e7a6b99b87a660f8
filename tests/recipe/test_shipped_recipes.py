from __future__ import annotations

from pathlib import Path

import pytest

from ghostnet_small.errors import InputError
from ghostnet_small.recipe import shipped_recipes as module
from ghostnet_small.recipe.shipped_recipes import (
    find_recipe,
    find_study,
    shipped_recipes,
    shipped_studies,
)


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed wheel's folder of recipes, with the user's own folder beside it."""
    folder = tmp_path / "site" / "recipes"
    for name in ("b", "a", "teachers/a", "studies/s", "studies/old/t"):
        file = folder / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("name: x\n")
    monkeypatch.setattr(module, "FOLDERS", (tmp_path / "no", folder))
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    return folder


def test_recipes_lie_in_folders_and_studies_are_none(recipes: Path) -> None:
    assert list(shipped_recipes()) == ["a", "b", "teachers/a"]
    assert shipped_recipes()["teachers/a"] == recipes / "teachers" / "a.yaml"
    assert list(shipped_studies()) == ["s", "old/t"]


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("a", "a"),
        ("a.yaml", "a"),
        ("./recipes/a", "a"),
        ("recipes/a.yaml", "a"),
        ("teachers/a", "teachers/a"),
        ("teachers/a.yaml", "teachers/a"),
        ("recipes/teachers/a.yaml", "teachers/a"),
    ],
)
def test_a_recipe_by_any_of_its_names(recipes: Path, text: str, file: str) -> None:
    assert find_recipe(text) == recipes / f"{file}.yaml"


@pytest.mark.parametrize("text", ["s", "s.yaml", "studies/s", "recipes/studies/s.yaml"])
def test_a_study_by_any_of_its_names(recipes: Path, text: str) -> None:
    assert find_study(text) == recipes / "studies" / "s.yaml"


def test_what_lies_there_comes_first(recipes: Path) -> None:
    Path("a").write_text("name: mine\n")
    assert find_recipe("a") == Path("a") and find_study("a") == Path("a")


@pytest.mark.parametrize("text", ["studies/s", "s", "teachers/b", "elsewhere/a", "/recipes/a"])
def test_what_is_no_recipe(recipes: Path, text: str) -> None:
    with pytest.raises(InputError) as raised:
        find_recipe(text)
    said = str(raised.value)
    assert f"recipe {text} is not there" in said and "teachers/a)" in said and "old" not in said


def test_what_is_no_study(recipes: Path) -> None:
    with pytest.raises(InputError, match=r"study a is not there; .* of s, old/t"):
        find_study("a")


def test_nothing_is_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FOLDERS", (tmp_path,))
    assert shipped_recipes() == {} == shipped_studies()
    with pytest.raises(InputError, match=r"shipped study \(none\)"):
        find_study("s")
