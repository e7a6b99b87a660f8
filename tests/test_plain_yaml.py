"""YAML of strangers: what it says once is read, and nothing that it says grows beyond its text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from ghostnet_small import plain_yaml
from ghostnet_small.errors import InputError
from ghostnet_small.plain_yaml import YAMLError, load_words, load_yaml
from ghostnet_small.recipe.recipe import known_keys, read_recipe, resolve_recipe
from memory_kit import at_most

# Some hundred characters, whose values take gigabytes once they are printed or copied.
BOMB = "[&a [x,x,x,x,x,x,x,x],&b [*a,*a,*a,*a,*a,*a,*a,*a]"
for _one, _next in zip("bcdefgh", "cdefghi", strict=True):
    BOMB += f",&{_next} [" + ",".join([f"*{_one}"] * 8) + "]"
BOMB += "]"

ATTACKS = {
    "aliases": (BOMB, "is not allowed"),
    "deep": ("[" * 5000, "levels deep"),
    "deep and closed": ("[" * 40 + "]" * 40, "levels deep"),
    "deep blocks": ("- " * 5000, "levels deep"),
    "many values": ("[" + "0," * (plain_yaml.MOST_NODES + 1) + "]", "more than 200,000 values"),
    "long": ("#" * (plain_yaml.LARGEST + 1), "at most 1,048,576 are read"),
    "a long tag made of a short one": (
        f"%TAG ! tag:{'x' * 50_000}\n---\n[" + "!a 1," * 10_000 + "]",
        "a tag is longer",
    ),
    "a number in base 60": ("1" + ":1" * 300_000, "a number is longer"),
    "another": ("!!float {=: 1" + ":1" * 300_000 + "}", "a number is longer"),
    "keys of one hash": (
        "{" + ",".join(f"{number * (2**61 - 1)}: 0" for number in range(1, 20_000)) + "}",
        "a key is neither text nor a short number",
    ),
    "a key twice": ("{a: 1, b: 2, a: 3}", "'a' comes twice"),
    "a key of bytes": ("? !!binary aGk=\n: 1", "a key is neither"),
    "code": ("!!python/object/apply:os.system [touch sprung]", "python/object"),
}


OF_WORDS = ("aliases", "deep", "deep and closed", "deep blocks", "many values", "long")


@pytest.mark.parametrize(
    ("load", "case"),
    [*((load_yaml, case) for case in ATTACKS), *((load_words, case) for case in OF_WORDS)],
)
def test_what_would_grow_is_refused(case: str, load: Callable[[str], Any], bounded: None) -> None:
    text, said = ATTACKS[case]
    with pytest.raises(YAMLError) as raised:
        load(text)
    assert said in str(raised.value) and len(str(raised.value)) < 1000


@pytest.fixture
def bounded() -> Iterator[None]:
    with at_most(768):
        yield


# Where text is the value of a setting, it was read as YAML a second time.
@pytest.mark.parametrize("key", known_keys())
def test_no_setting_reads_its_text_without_bounds(
    key: str, monkeypatch: pytest.MonkeyPatch, bounded: None
) -> None:
    loads: list[object] = []
    load = yaml.load

    def seen(text: object, Loader: type) -> object:
        loads.append(Loader)
        return load(text, Loader=Loader)  # type: ignore[arg-type]

    monkeypatch.setattr(yaml, "load", seen)
    room, _, name = key.rpartition(".")
    for value in (BOMB, [BOMB], f"'{BOMB}'", {"a": BOMB}, [[BOMB]]):
        with suppress(InputError):
            resolve_recipe({room: {name: value}} if room else {name: value})
        if isinstance(value, str):
            with suppress(InputError):
                resolve_recipe({}, [f"--{key}={value}"])
    ours = (plain_yaml._Loader, plain_yaml._WordLoader)
    assert [kind for kind in loads if kind not in ours] == []


def test_the_duplicate_key_check_looks_at_each_key_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counted(str):
        compared = 0
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            Counted.compared += 1
            return str.__eq__(self, other)

    construct = yaml.SafeLoader.construct_yaml_str

    def counted(self: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
        return Counted(construct(self, node))

    monkeypatch.setitem(plain_yaml._Loader.yaml_constructors, "tag:yaml.org,2002:str", counted)
    keys = 5_000
    assert len(load_yaml("".join(f"k{number}: 0\n" for number in range(keys)))) == keys
    assert Counted.compared < 2 * keys


def test_what_people_write_is_read(tmp_path: Path) -> None:
    text = "{a: 1e-3, 1.0: x, 0: y, no: z, b: [.inf, 1_000, 0x10, 12:30, 2001-01-01]}"
    found = load_yaml(text)
    assert found["a"] == 0.001 and found[1.0] == "x" and found[False] == "z"
    assert load_words("[no, 010, 1e3]") == ["no", "010", "1e3"]
    file = tmp_path / "recipe.yaml"
    file.write_text("name: '[a]'\ntrain: {epochs: '30', shuffle: 'no'}\ndata: {mean: ['0.5']}\n")
    recipe = read_recipe(file, ["--train.seed", "010", "--data.source", "1e3"])
    assert (recipe.name, recipe.train.epochs, recipe.train.shuffle) == ("[a]", 30, False)
    assert (recipe.data.mean, recipe.train.seed, recipe.data.source) == ((0.5,), 10, "1e3")
