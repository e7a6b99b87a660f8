"""The weights whose network the page shows, and the files that are made of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ghostnet_small.deploy.description import Description, describe
from ghostnet_small.files import read_bytes
from ghostnet_small.hub.models import WEIGHTS
from ghostnet_small.models.fit_weights import run_of_fit
from ghostnet_small.models.network import Network
from ghostnet_small.models.weights import ModelInfo, load, weights_folder
from ghostnet_small.publish.weight_records import shipped_facts
from ghostnet_small.recipe.shareable import portable_recipe
from ghostnet_small.run.run_folder import RunFolder, is_run

FLOAT32, INT8, ACTIVATION = "model.onnx", "model.int8.onnx", "activation.onnx"
FILES = (FLOAT32, INT8, ACTIVATION)
# The name of the file that identifies the weights of the files beside it.
RECORD = "bundle.json"
MOST_BYTES = (1 << 31) - 1


@dataclass(frozen=True)
class Chosen:
    """Weights that are read; ``path`` and ``kind`` as ``load`` takes them, which lie in
    ``folder``."""

    path: Path
    kind: str
    folder: Path
    model: Network = field(repr=False)
    info: ModelInfo = field(repr=False)

    @classmethod
    def read(cls, path: Path, kind: str) -> Chosen:
        """Read the weights; raises what ``load`` does."""
        # Found once: the hub is asked for a model of its own then.
        folder = weights_folder(path, kind)
        return cls(path, kind, folder, *load(folder))

    @property
    def picture(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return (len(self.info.mean), *self.info.size)

    def description(self) -> Description:
        """Return the description of the float32 file, without the training data."""
        return describe(self.model, self.info)

    def identity(self) -> dict[str, Any]:
        """Return what identifies files of these weights, in values that JSON keeps."""
        found = self.description()
        return {
            "sha256": sha256(read_bytes(self.folder / WEIGHTS, MOST_BYTES)),
            "architecture": found.architecture,
            "width": found.width,
            "classes": list(found.classes),
            "size": list(found.size),
            "mean": list(found.mean),
            "std": list(found.std),
        }

    def trained_on(self) -> str | None:
        """Return the data's name, of a folder the last part; None if it is not known."""
        data = self.info.recipe.get("data", {})
        if "source" not in data:
            return None
        return str(portable_recipe({"data": data})["data"]["source"])

    def test_top1(self) -> dict[str, Any] | None:
        """Return the ``top1`` (%), ``correct`` and ``pictures`` of these weights; None unless they
        are shipped, or the last of a finished run with a test split.

        Raises ``InputError`` where a record is damaged.
        """
        facts = shipped_facts(self.folder)
        if facts is not None:
            return _top1(facts["evaluation"], "")
        run = run_of_fit(self.path)
        if self.kind == "last" and is_run(run):
            return _top1((RunFolder(run).summary() or {}).get("last", {}), "test_")
        return None


def _top1(found: Mapping[str, Any], start: str) -> dict[str, Any] | None:
    """Return the top-1 among figures whose names begin with ``start``."""
    if f"{start}correct" not in found:
        return None
    names = {"top1": "top1", "correct": "correct", "pictures": "total"}
    return {name: found[start + key] for name, key in names.items()}


def sha256(content: bytes) -> str:
    """Return the SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
