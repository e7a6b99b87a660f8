"""What is written is what is read, for anything that may be written."""

from __future__ import annotations

import dataclasses
import math
import tempfile
import typing
from pathlib import Path
from typing import Any

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ghostnet_small.errors import InputError
from ghostnet_small.files import checked_json, signed_json, write_atomic
from ghostnet_small.recipe.recipe import Recipe, flatten, read_recipe, resolve_recipe
from ghostnet_small.recipe.recipe_file import recipe_text
from ghostnet_small.tensorfile import read_tensors, write_tensors

FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
# A recipe takes a tenth of a second to read.
FEWER = settings(FEW, max_examples=20)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a setting's type, most of them in its range."""
    inner = typing.get_args(kind)
    if typing.get_origin(kind) is typing.Literal:
        return st.sampled_from(inner)
    if typing.get_origin(kind) is tuple:
        size = None if Ellipsis in inner else len(inner)
        return st.lists(values_of(inner[0]), min_size=size or 1, max_size=size or 4).map(tuple)
    if inner:
        return st.one_of([st.none() if one is type(None) else values_of(one) for one in inner])
    return {
        bool: st.booleans(),
        int: st.integers(0, 40) | st.integers(0, 2**62),
        float: st.floats(0, 1) | st.floats(0, 1e6, allow_subnormal=True),
        str: TEXT
        | st.sampled_from(["null", "1e3", "yes", "~", "- a", "# digest: x", " a ", "1_0"]),
    }[kind]


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """Recipes that differ from the default in a few settings."""
    recipe = Recipe(name=draw(TEXT))
    rooms = [field for field in dataclasses.fields(Recipe) if field.name != "name"]
    for field in rooms:
        room = getattr(recipe, field.name)
        hints = typing.get_type_hints(type(room))
        for name in draw(st.lists(st.sampled_from(sorted(hints)), max_size=3, unique=True)):
            try:
                room = dataclasses.replace(room, **{name: draw(values_of(hints[name]))})
            except InputError:
                continue
        recipe = dataclasses.replace(recipe, **{field.name: room})
    return recipe


@FEWER
@given(recipes())
def test_a_recipe_that_was_written_is_read_as_it_was(recipe: Recipe) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recipe.yaml"
        write_atomic(file, recipe_text(recipe.as_dict()))
        found = read_recipe(file)
    assert found == recipe and found.hash() == recipe.hash()
    assert resolve_recipe(recipe.as_dict()) == recipe


@FEWER
@given(recipes())
def test_the_command_line_says_what_a_file_says(recipe: Recipe) -> None:
    plain, unused = flatten(recipe.as_dict()), flatten(Recipe().as_dict())
    words = [
        f"--{key}={str(value).lower()}"
        for key, value in plain.items()
        if value != unused[key] and isinstance(value, int | float)
    ]
    found = flatten(read_recipe(None, words).as_dict())
    for word in words:
        key = word[2:].partition("=")[0]
        assert found[key] == plain[key]


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    """Tensors of any type and few elements, transposed ones and empty ones among them."""
    kinds = [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool]
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    random = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    values = torch.randint(256, (math.prod(shape),), generator=random).reshape(shape)
    made = values.to(draw(st.sampled_from(kinds)))
    return made.transpose(0, 1) if len(shape) > 1 and draw(st.booleans()) else made


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda name: name != "__metadata__"
)


@FEW
@given(st.dictionaries(NAMES, tensors(), max_size=4), st.dictionaries(TEXT, JSON, max_size=3))
def test_tensors_that_were_written_are_read_as_they_were(
    held: dict[str, torch.Tensor], values: dict[str, Any]
) -> None:
    values.pop("digest", None)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x.safetensors"
        write_tensors(file, held, values)
        once = file.read_bytes()
        found, said = read_tensors(file)
        write_tensors(file, found, said)
        assert file.read_bytes() == once
    assert said == values and found.keys() == held.keys()
    for name, tensor in held.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)


@FEW
@given(st.dictionaries(TEXT, JSON, max_size=4))
def test_json_that_was_signed_is_read_as_it_was(values: dict[str, Any]) -> None:
    values.pop("digest", None)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x.json"
        write_atomic(file, signed_json(values))
        assert checked_json(file) == values


@FEW
@given(st.binary(max_size=2000) | TEXT, st.binary(max_size=100))
def test_a_file_is_replaced_whole(data: bytes | str, old: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "name"
        file.write_bytes(old)
        write_atomic(file, data)
        assert file.read_bytes() == (data.encode() if isinstance(data, str) else data)
        assert [path.name for path in Path(folder).iterdir()] == ["name"]
