"""The folder of a run: what lies where in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor, nn

from ghostnet_small.errors import InputError
from ghostnet_small.files import check_free, new_folder, write_atomic
from ghostnet_small.models.ghostnetv3 import GhostNetV3
from ghostnet_small.models.weights import ModelInfo, save_model
from ghostnet_small.study.recipe import Recipe, read_recipe
from ghostnet_small.tensorfile import read_tensors, write_tensors


class RunFolder:
    """``recipe.yaml``, ``metrics.jsonl``, ``summary.json``, ``state.safetensors``, ``last/``,
    ``best/`` and ``pictures/``; every file is replaced whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.info: ModelInfo | None = None
        self.extra: dict[str, Any] = {}

    @property
    def pictures(self) -> Path:
        """Where the run's pictures lie."""
        return self.path / "pictures"

    def check_free(self) -> None:
        """Raises ``InputError`` where the folder exists, or cannot be made."""
        cure = f"go on with it by: train --resume {self.path}; or " if _is_run(self.path) else ""
        check_free(self.path, "--out", cure)

    def create(self, recipe: Recipe) -> None:
        """Make the folder; it holds its recipe from the moment it exists."""
        self.check_free()
        with new_folder(self.path) as partial:
            text = yaml.safe_dump(recipe.as_dict(), sort_keys=False)
            write_atomic(partial / "recipe.yaml", text)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run's folder; raises ``InputError`` where ``path`` is none."""
        if not _is_run(path):
            raise InputError(
                f"{path} is no run's folder (it holds no recipe.yaml); give the folder that "
                "train --out wrote"
            )
        return cls(path)

    def recipe(self) -> Recipe:
        """The recipe as it was resolved."""
        return read_recipe(self.path / "recipe.yaml")

    def summary(self) -> dict[str, Any] | None:
        """What the finished run found; ``None`` before its end."""
        path = self.path / "summary.json"
        if not path.is_file():
            return None
        try:
            found: dict[str, Any] = json.loads(path.read_text())
        except ValueError as error:
            raise InputError(
                f"{path} is damaged ({error}); remove it and train --resume {self.path} makes "
                "it again"
            ) from None
        return found

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and values of the last saved state; ``None`` before the first."""
        path = self.path / "state.safetensors"
        return read_tensors(path) if path.exists() else None

    def save_state(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Replace the resumable state."""
        write_tensors(self.path / "state.safetensors", tensors, {**values, **self.extra})

    def save_weights(self, name: str, model: nn.Module) -> None:
        """Replace the weights called ``name``."""
        assert isinstance(model, GhostNetV3) and self.info is not None
        save_model(model, self.info, self.path / name)

    def save_metrics(self, rows: list[dict[str, Any]]) -> None:
        """Replace ``metrics.jsonl``."""
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        write_atomic(self.path / "metrics.jsonl", lines)

    def save_summary(self, summary: dict[str, Any]) -> None:
        """Write what marks the run as finished."""
        write_atomic(self.path / "summary.json", json.dumps(summary, indent=2) + "\n")


def _is_run(path: Path) -> bool:
    return (path / "recipe.yaml").is_file()
