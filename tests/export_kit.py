"""Formats of exported files that take milliseconds, and small weights to export."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import nn

import ghostnet_small as gns
from ghostnet_small.deploy.description import Description, read_description
from ghostnet_small.deploy.formats import FORMATS, Format
from ghostnet_small.deploy.session import Array
from ghostnet_small.errors import InputError
from ghostnet_small.recipe.recipe import read_recipe
from ghostnet_small.use import agreement
from networks import randomize_network

DIGITS = tuple(str(digit) for digit in range(10))
NETWORKS: list[nn.Module] = []


def companion(path: Path) -> Path:
    return path.with_name(f"{path.name}w")


@dataclass
class FakeModule:
    """A format's module whose files name a network that is kept in memory.

    ``factor`` multiplies what a file answers, or makes something else of it, where ``of_int8`` that
    of int8 files only; ``error`` is raised once a file is half written; ``calibrations`` and
    ``threads`` are what it was given.
    """

    factor: Any = 1.0
    of_int8: bool = False
    error: BaseException | None = None
    calibrations: list[Array] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    def export(self, network: nn.Module, description: Description, path: Path) -> None:
        assert not network.training
        NETWORKS.append(copy.deepcopy(network))
        weights = companion(path)
        weights.write_text("half")
        if self.error is not None:
            raise self.error
        weights.write_text(str(len(NETWORKS) - 1))
        path.write_text(description.as_json())

    def quantize(
        self, network: nn.Module, description: Description, calibration: Array, path: Path
    ) -> None:
        self.calibrations.append(calibration)
        self.export(network, description, path)

    def open_file(self, path: Path, threads: int) -> FakeSession:
        description = read_description(path.read_text() or None, str(path))
        weights = companion(path).read_text()
        if not weights.isdigit():
            raise InputError(f"{path} is cut short")
        self.threads.append(threads)
        changed = not self.of_int8 or description.precision == "int8"
        return FakeSession(description, NETWORKS[int(weights)], self.factor if changed else 1.0)


@dataclass
class FakeSession:
    """Answers as the network does, changed by ``factor``."""

    description: Description
    network: nn.Module
    factor: Any

    def __call__(self, pictures: Array) -> Array:
        kind = np.uint8 if self.description.input == "pixels" else np.float32
        assert pictures.dtype == kind and pictures.flags["C_CONTIGUOUS"]
        with torch.inference_mode():
            answers: Array = self.network(torch.from_numpy(pictures)).numpy()
        if callable(self.factor):
            return np.asarray(self.factor(answers))
        return np.asarray(answers * self.factor)


@dataclass(frozen=True)
class FakeFormat(Format):
    """A format whose module is an object."""

    made: Any = None

    def load(self) -> Any:
        self.check()
        return self.made

    def load_int8(self) -> Any:
        return self.load()


@contextmanager
def use_fakes() -> Iterator[tuple[FakeModule, FakeModule]]:
    """The only formats are ``good``, without int8, and ``odd``, with it; their modules.

    Exports are compared on a few pictures.
    """
    good, odd = FakeModule(), FakeModule()
    forms = {
        name: FakeFormat(name, f".{name}", "", (f".{name}w",), int8=int8, made=module)
        for name, module, int8 in (("good", good, False), ("odd", odd, True))
    }
    # Afterwards the formats are in their order again, which monkeypatch would not see to.
    with patch.dict(FORMATS, forms, clear=True), patch.object(agreement, "PICTURES", 40):
        yield good, odd


def save_digits(
    folder: Path, overrides: tuple[str, ...] = ("--data.limit", "64"), width: float = 0.05
) -> Path:
    """Weights for the digits, which were never trained and answer within reason."""
    torch.manual_seed(0)
    model = gns.create_model("ghostnetv3_small", width=width, in_channels=1)
    randomize_network(model, torch.randn(64, 1, 8, 8))
    recipe = read_recipe(None, ["--model.width", str(width), *overrides]).as_dict()
    gns.save_model(model, gns.ModelInfo(DIGITS, (8, 8), (0.3,), (0.4,), recipe), folder)
    return folder
