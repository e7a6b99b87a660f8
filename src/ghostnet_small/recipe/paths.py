"""The places, on the machine that started a run, of the folders that its settings name.

A recipe keeps its paths as they were typed: its record and its exported files are for anyone. What
a relative path meant is kept beside it, in the run's own folder, which nothing is copied from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ghostnet_small.data.formats.find import holds_data_set
from ghostnet_small.data.hub.named import is_name
from ghostnet_small.errors import InputError
from ghostnet_small.files import OFF, checked_json, expanded
from ghostnet_small.hub.models import is_hub_name
from ghostnet_small.recipe.recipe import Recipe, keys_of, read_recipe

PLACE = "place.json"
_CACHES = ("data.cache", "distill.cache")
KEYS = (
    *("data.root", "data.source", "model.weights", "model.pretrained", "distill.teachers"),
    *_CACHES,
)

PlacedPaths = dict[str, str]


def places_of(recipe: Recipe) -> PlacedPaths:
    """Return the absolute path of each relative one that ``recipe`` names and that is there now."""
    found: PlacedPaths = {}
    for key in KEYS:
        for typed in _typed(recipe, key):
            path = expanded(typed)
            if Path(typed).is_absolute() or typed == OFF or is_hub_name(typed):
                continue
            if key in _CACHES or path.exists():
                path = path.absolute()
                found[typed] = str(path.resolve() if ".." in path.parts else path)
    return found


def read_places(path: Path) -> PlacedPaths:
    """Return what ``places_of`` gave for the run that ``path`` is, or that it lies in.

    A run's weights and its exported files lie up to two folders below it. Empty where there is
    no such run, or it was started before paths were kept.
    """
    for folder in (path, *path.absolute().parents[:2]):
        try:
            return {str(typed): str(there) for typed, there in checked_json(folder / PLACE).items()}
        except OSError:
            continue
        except ValueError as error:
            raise InputError(
                f"{folder / PLACE} is damaged ({str(error).splitlines()[0]}); remove it, and name "
                "the data with --data.root"
            ) from None
    return {}


def exported_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's room ``data`` as an exported file has it: without absolute paths, which are
    of the machine that it was made on. Of a source that is one, the last name is left."""
    found = {
        key: None if isinstance(value, str) and value.startswith(("/", "~")) else value
        for key, value in data.items()
    }
    if found.get("source") is None and data.get("source") is not None:
        found["source"] = Path(data["source"]).name
    return found


def with_run_data(recipe: Recipe, file: Path) -> Recipe:
    """Return ``recipe``, of an exported file, with the absolute paths of the run around it."""
    for folder in file.absolute().parents[:2]:
        if (folder / "recipe.yaml").is_file():
            room = read_recipe(folder / "recipe.yaml").as_dict()["data"]
            names = ("source", "root")
            if all(exported_data(room)[name] == getattr(recipe.data, name) for name in names):
                own = {name: room[name] for name in names}
                return replace(recipe, data=replace(recipe.data, **own))
    return recipe


def placed(
    recipe: Recipe,
    places: Mapping[str, str],
    *,
    overrides: Sequence[str] = (),
    say: Callable[[str], None],
) -> Recipe:
    """Return ``recipe`` with the paths that lead, from here, to what the run was started with.

    The run's own path goes before a path of the same name below the present folder, of which
    ``say`` is told. Paths among ``overrides`` are meant as they are typed.

    Raises ``InputError`` where a path of the run leads nowhere, neither here nor there.
    """
    given = keys_of(overrides)
    if "data.root" in given:
        given.add("data.source")
    rooms: dict[str, dict[str, Any]] = {}
    for key in KEYS:
        typed = [] if key in given else _typed(recipe, key)
        if typed:
            room, _, name = key.partition(".")
            leads = tuple(_lead(key, path, places, say) for path in typed)
            rooms.setdefault(room, {})[name] = leads if key == "distill.teachers" else leads[0]
    return replace(
        recipe,
        **{room: replace(getattr(recipe, room), **values) for room, values in rooms.items()},
    )


def replaced(started: Recipe, resumed: Recipe, overrides: Sequence[str]) -> PlacedPaths:
    """Return where the paths of ``started`` and ``resumed`` lead that ``overrides`` replaced."""
    given = keys_of(overrides)
    found: PlacedPaths = {}
    for key in KEYS:
        before, now = _typed(started, key), _typed(resumed, key)
        if key in given and len(before) == len(now):
            for typed, path in zip(before, now, strict=True):
                if expanded(path).exists():
                    found[typed] = found[path] = str(expanded(path).absolute())
    return found


def _lead(key: str, typed: str, places: Mapping[str, str], say: Callable[[str], None]) -> str:
    """The path that leads to what ``typed`` meant when the run was started."""
    if typed not in places:
        return typed
    here, there = expanded(typed), Path(places[typed])
    if not there.exists():
        if here.exists() or key in _CACHES:
            return typed
        raise InputError(
            f"{key} {typed!r} is not here, and {there}, where the run was trained, does not exist; "
            f"give --{key} with the folder's present path"
        )
    if here.exists():
        if here.samefile(there):
            return typed
        say(
            f"{key} {typed!r} is {there}, where the run was trained, and not {here.absolute()}; "
            f"give --{key} {typed} for that one"
        )
    return str(there)


def _typed(recipe: Recipe, key: str) -> list[str]:
    """The paths, as they were typed, that a setting holds."""
    room, _, name = key.partition(".")
    value = getattr(getattr(recipe, room), name)
    if key == "data.source":
        # A name goes before a directory of that name, unless that holds a data set.
        named = value == "digits" or (is_name(value) and not holds_data_set(expanded(value)))
        return [] if named or recipe.data.root is not None else [value]
    if isinstance(value, str):
        return [value]
    return list(value) if isinstance(value, tuple) else []  # true or false: no file is named
