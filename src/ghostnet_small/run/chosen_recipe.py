"""The recipe of a training: by its name, its file or itself, or of a run that goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ghostnet_small.errors import InputError
from ghostnet_small.recipe.recipe import Recipe, read_recipe, resolve_recipe
from ghostnet_small.recipe.shipped_recipes import find_recipe
from ghostnet_small.run.run_folder import RunFolder, is_run


def recipe_named(recipe: str | Path | Recipe | None, overrides: Sequence[str]) -> Recipe:
    """Return the recipe of a shipped name, of a file or as it is, with ``overrides``; None: the
    defaults.

    Raises ``InputError`` as ``find_recipe`` and ``read_recipe`` do.
    """
    if isinstance(recipe, Recipe):
        return resolve_recipe(recipe.as_dict(), overrides)
    if recipe is not None and not isinstance(recipe, str | Path):
        raise InputError(
            f"recipe is of type {type(recipe).__name__}; give a name, a file or a Recipe"
        )
    return read_recipe(None if recipe is None else find_recipe(str(recipe)), overrides)


def recipe_to_resume(
    folder: Path, recipe: str | Path | Recipe | None, overrides: Sequence[str]
) -> Recipe:
    """Return the recipe of the run in ``folder``, to go on with.

    Raises ``InputError`` where there is no run, or ``recipe``, if given, is another than its own.
    """
    kept = RunFolder.open(folder).recipe()
    if recipe is not None:
        changed = kept.changes(recipe_named(recipe, overrides))
        if changed:
            raise InputError(
                f"{folder} is a run of another recipe ({'; '.join(changed)}); give the recipe it "
                "was started with, or another out"
            )
    return kept


def resumes(folder: Path, recipe: str | Path | Recipe | None, resume: bool) -> bool:
    """Return whether to go on with a run in ``folder``; without a ``recipe`` it must be there."""
    return resume and (recipe is None or is_run(folder))
