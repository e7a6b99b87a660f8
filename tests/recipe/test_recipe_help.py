"""The settings of a recipe described for readers and for editors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from ghostnet_small.plain_yaml import load_yaml
from ghostnet_small.recipe.recipe import Recipe, known_keys, read_recipe, rooms
from ghostnet_small.recipe.recipe_help import meanings, recipe_schema, settings_help

ROOT = Path(__file__).parents[2]
RECIPES = sorted(
    file for file in (ROOT / "recipes").rglob("*.yaml") if file.parent.name != "studies"
)


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return recipe_schema()


def accepts(schema: dict[str, Any], text: str) -> bool:
    return jsonschema.Draft202012Validator(schema).is_valid(load_yaml(text))


def test_every_setting_has_a_meaning() -> None:
    told = [f"{room}.{name}" for room, kind in rooms().items() for name in meanings(kind)]
    assert sorted(["name", *told]) == sorted(known_keys())
    assert list(meanings(Recipe)) == ["name", *rooms()]
    assert (
        meanings(rooms()["train"])["clip_norm"] == "largest norm of a step's gradient; null: any."
    )


def test_the_help_lists_types_and_defaults_as_they_are_written() -> None:
    text = " ".join(settings_help(known_keys()).split())
    for part in (
        'The recipe: --name NAME what tables call the recipe. (type: str, default: "")',
        "--augment.flip {none,random,alternating} left-right",
        "--train.shuffle {true,false} a new order each epoch;",
        "(type: tuple[float, ...] | null, default: null)",
        "of AdamW. (type: tuple[float, float], default: [0.9, 0.999])",
    ):
        assert part in text
    # Only what is asked for, and no room of which nothing is.
    assert "--train.seed" not in settings_help(["data.limit"])
    assert "SGD" not in settings_help(["data.limit"])


def test_the_schema_is_one_and_says_what_a_setting_means(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    train = schema["$defs"]["TrainSettings"]
    assert train["description"] == "The length, batches and arithmetic of a training."
    assert train["properties"]["epochs"] == {
        "type": "integer",
        "default": 30,
        "title": "Epochs",
        "description": "passes over the training split.",
    }


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_the_schema_accepts_shipped_recipes(file: Path, schema: dict[str, Any]) -> None:
    assert accepts(schema, file.read_text())
    assert accepts(schema, yaml.safe_dump(read_recipe(file).as_dict()))


@pytest.mark.parametrize(
    "text",
    [
        "train: {epoch: 3}",
        "trian: {epochs: 3}",
        "train: {epochs: many}",
        "train: {epochs: 1.5}",
        "train: {epochs: null}",
        "train: {shuffle: 1}",
        "augment: {flip: sideways}",
        "data: {mean: [a]}",
        "data: {class_names: [1]}",
        "optimizer: {betas: [0.9]}",
        "train: {class_weights: heavy}",
        "train: 3",
    ],
)
def test_the_schema_refuses_what_a_recipe_cannot_say(text: str, schema: dict[str, Any]) -> None:
    assert not accepts(schema, text)
