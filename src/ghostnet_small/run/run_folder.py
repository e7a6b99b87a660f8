"""The folder of a run, and its files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ghostnet_small.errors import InputError
from ghostnet_small.files import (
    check_free,
    check_no_link,
    checked_json,
    lock_folder,
    new_folder,
    read_text,
    signed_json,
    write_atomic,
)
from ghostnet_small.models.network import Network
from ghostnet_small.models.weights import ModelInfo, save_model
from ghostnet_small.recipe.paths import PLACE, places_of, read_places, replaced
from ghostnet_small.recipe.recipe import Recipe, read_recipe
from ghostnet_small.recipe.recipe_file import recipe_text
from ghostnet_small.tensorfile import read_tensors, write_tensors

METRICS = "metrics.jsonl"
BEGINNING = "beginning.json"
STATE = "state.safetensors"
PREVIOUS = "state.previous.safetensors"
# What the sessions of a training write.
REPLACED = (
    *(PLACE, METRICS, STATE, PREVIOUS, "summary.json", "classes.json"),
    *("last", "best", "pictures"),
)


class RunFolder:
    """``recipe.yaml``, ``place.json`` where it names relative paths, ``beginning.json`` of a
    fine-tuning, ``metrics.jsonl``, ``summary.json``, ``classes.json``, ``state.safetensors`` and
    the one before it, ``last/``, ``best/`` and ``pictures/``.

    Every file is replaced whole, and every one that is read again holds a digest.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.info: ModelInfo | None = None
        self.extra: dict[str, Any] = {}
        self.recipe_hash: str | None = None
        self.newest_damaged = False
        self._handle: int | None = None

    @property
    def pictures(self) -> Path:
        """Return the folder of the run's plots."""
        return self.path / "pictures"

    def check_free(self) -> None:
        """Raises ``InputError`` where the folder exists, or cannot be made."""
        cure = f"go on with it by: train --resume {self.path}; or " if is_run(self.path) else ""
        check_free(self.path, "--out", cure)

    def create(self, recipe: Recipe, beginning: dict[str, Any] | None = None) -> None:
        """Make the folder with its recipe and what is known of the weights that it starts from."""
        self.check_free()
        with new_folder(self.path) as partial:
            if beginning is not None:
                write_atomic(partial / BEGINNING, signed_json(beginning))
            if places := places_of(recipe):
                write_atomic(partial / PLACE, signed_json(places))
            write_atomic(partial / "recipe.yaml", recipe_text(recipe.as_dict()))
        self.recipe_hash = recipe.hash()

    def lock(self, patience: float = 0.0) -> None:
        """Keep other processes from training here, until ``close`` or this process's end.

        Raises ``InputError`` where another one trains here for ``patience`` seconds more, or where
        what will be written is a link.
        """
        for name in REPLACED:
            check_no_link(self.path / name)
        try:
            self._handle = lock_folder(self.path, patience)
        except BlockingIOError:
            raise InputError(
                f"{self.path} is being trained by another process; wait for its end, or train "
                "into another --out"
            ) from None

    def close(self) -> None:
        """Let other processes train here."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run's folder; raises ``InputError`` where ``path`` is none."""
        if not is_run(path):
            raise InputError(
                f"{path} is no run's folder (it holds no recipe.yaml); give the folder that "
                "train --out wrote"
            )
        return cls(path)

    def recipe(self) -> Recipe:
        """Return the recipe as it was resolved."""
        recipe = read_recipe(self.path / "recipe.yaml")
        self.recipe_hash = recipe.hash()
        return recipe

    def keep_places(self, recipe: Recipe, overrides: Sequence[str]) -> None:
        """Save what the paths among ``overrides`` mean, with which the run goes on.

        They replace those that the run was started with.
        """
        known, now = read_places(self.path), places_of(recipe)
        kept = now | known | replaced(self.recipe(), recipe, overrides)
        if kept != known:
            write_atomic(self.path / PLACE, signed_json(kept))

    def summary(self) -> dict[str, Any] | None:
        """Return the finished run's summary; ``None`` before its end."""
        return self._checked(
            "summary.json", f"remove it and train --resume {self.path} makes it again"
        )

    def finished(self) -> dict[str, Any]:
        """Return ``summary``; raises ``InputError`` where the run is not finished."""
        summary = self.summary()
        if summary is None:
            raise InputError(
                f"{self.path} has not come to its end; go on with: ghostnet-small train --resume "
                f"{self.path}"
            )
        return summary

    def beginning(self) -> dict[str, Any] | None:
        """Return what is known of the weights that the run started from; ``None`` for none.

        Raises ``InputError`` where it cannot be read.
        """
        return self._checked(
            BEGINNING, "copy the run's folder again, or train the recipe into a new --out"
        )

    def _checked(self, name: str, cure: str) -> dict[str, Any] | None:
        """Return the content of a signed file; ``None`` where there is no file."""
        path = self.path / name
        try:
            return checked_json(path)
        except FileNotFoundError:
            return None
        except ValueError as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{path} is damaged ({reason}); {cure}") from None

    def state(
        self, say: Callable[[str], None] = lambda remark: None
    ) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return tensors and values of the last saved state; ``None`` before the first.

        Where it is damaged, return those of the state before, which lead to the same result, and
        tell ``say``. Raises ``InputError`` where neither can be read, or they are of another
        recipe.
        """
        files = [self.path / name for name in (STATE, PREVIOUS) if (self.path / name).exists()]
        damage: list[InputError] = []
        for file in files:
            try:
                tensors, values = read_tensors(file)
                break
            except InputError as error:
                damage.append(error)
        else:
            if not files:
                return None
            names = " and ".join(file.name for file in files)
            raise InputError(
                f"{damage[0]}, or remove {names}, and train --resume {self.path} begins again"
            )
        if damage:
            self.newest_damaged = True
            say(f"{damage[0]}; {file.name} is taken instead")
        if self.recipe_hash is None:
            self.recipe()
        if values.pop("recipe_hash", self.recipe_hash) != self.recipe_hash:
            raise InputError(
                f"{self.path / 'recipe.yaml'} is not the recipe that {file} was trained by; copy "
                "the run's folder again, or train the recipe into a new --out"
            )
        return tensors, values

    def save_state(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Replace the resumable state, and keep the one before it."""
        newest, previous = self.path / STATE, self.path / PREVIOUS
        if newest.exists() and not self.newest_damaged:
            # A second name of the same file, so that at no moment there is none. Some file systems
            # know no second names; there the newest is all there is.
            with suppress(OSError):
                previous.unlink(missing_ok=True)
                os.link(newest, previous)
        if self.recipe_hash is None:
            self.recipe()
        about = {"recipe_hash": self.recipe_hash}
        write_tensors(newest, tensors, {**values, **self.extra, **about})
        self.newest_damaged = False

    def save_weights(self, name: str, model: nn.Module) -> None:
        """Replace the weights called ``name``."""
        assert isinstance(model, Network) and self.info is not None
        save_model(model, self.info, self.path / name)

    def save_metrics(self, rows: list[dict[str, Any]]) -> None:
        """Replace ``metrics.jsonl``."""
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        write_atomic(self.path / METRICS, lines)

    def save_classes(self, per_class: list[dict[str, Any]]) -> None:
        """Replace ``classes.json``, the figures of each class."""
        write_atomic(self.path / "classes.json", json.dumps(per_class, indent=2) + "\n")

    def classes(self) -> list[dict[str, Any]]:
        """Return the figures of each class; none where there are none.

        Raises ``InputError`` where the file is damaged.
        """
        path = self.path / "classes.json"
        try:
            return list(json.loads(read_text(path)))
        except FileNotFoundError:
            return []
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{path} is damaged ({str(error).splitlines()[0]}); copy the run's folder again"
            ) from None

    def save_summary(self, summary: dict[str, Any]) -> None:
        """Write the summary, which marks the run as finished."""
        write_atomic(self.path / "summary.json", signed_json(summary))


def is_run(path: Path) -> bool:
    """Return whether ``path`` is a run's folder."""
    return (path / "recipe.yaml").is_file()
