"""The network that ``benchmark deploy`` is about: trained weights, or a file exported before."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ghostnet_small.data.dataset import Split
from ghostnet_small.deploy.description import Description, Precision, describe
from ghostnet_small.deploy.formats import Format, chosen_formats, format_of, open_file
from ghostnet_small.errors import InputError
from ghostnet_small.models.weights import ModelInfo, load
from ghostnet_small.nn.complexity import both_forms
from ghostnet_small.nn.fold import is_folded, reparameterize
from ghostnet_small.study.deploy_candidates import (
    EAGER,
    UNFOLDED,
    Candidate,
    Say,
    in_pytorch,
    note,
    opened,
)
from ghostnet_small.study.exporting import ExportFailed, export_weights
from ghostnet_small.study.report.words import width_text
from ghostnet_small.study.trained_on import TrainedOn

TITLES = {"ghostnetv3_small": "GN-S", "ghostnetv3": "GN-D"}


class Ours(ABC):
    """``formats`` and ``precisions`` of its candidates; peers are made in the same ones."""

    path: Path
    info: ModelInfo
    description: Description
    formats: list[Format]
    precisions: list[Precision]

    @property
    def title(self) -> str:
        """A short name, and the width."""
        name = self.description.architecture
        return f"{TITLES.get(name, name)} {width_text(self.description.width)}"

    @abstractmethod
    def candidates(self, folder: Path, threads: int, say: Say) -> list[Candidate]:
        """The network in every form; what is written goes into ``folder``."""

    def split(self, name: str, overrides: Sequence[str], say: Say) -> Split:
        """A split of the data that the network was trained on, as the network takes pictures.

        Raises ``InputError`` where it cannot be read or has other classes.
        """
        try:
            return TrainedOn(self.info, self.path, overrides, say=say).split(name).split
        except (InputError, OSError) as error:
            raise InputError(
                f"there are no pictures to measure top-1 on: {error}; name the folder of the data "
                "with --data.root, or give --split none"
            ) from None


class OfWeights(Ours):
    """A run's weights, exported to ``formats``, and in PyTorch: folded, and as they were trained.

    Raises ``InputError`` where there are none, or a format is not known or not installed.
    """

    def __init__(
        self, path: Path, formats: Sequence[str], int8: bool, weights: str, overrides: Sequence[str]
    ) -> None:
        self.path, self.named, self.weights = path, formats, weights
        self.overrides = overrides
        self.formats = chosen_formats(formats)
        self.precisions = ["float32", "int8"] if int8 else ["float32"]
        self.model, self.info = load(path, weights)
        self.description = describe(self.model, self.info)

    def candidates(self, folder: Path, threads: int, say: Say) -> list[Candidate]:
        """As the base says; a file that is not kept has ``failed``."""
        made = self._export(folder, say)
        forms = both_forms(self.model, (self.description.channels, *self.info.size))
        costs = {form: cost["total"] for form, cost in forms.items()}
        found = []
        for one in made["files"]:
            candidate = self._named(one)
            note(candidate, one)
            opened(candidate, Path(one["files"][0]), threads)
            found.append(candidate)
        for one in made["failed"]:
            candidate = self._named(one)
            candidate.failed = one["reason"]
            found.append(candidate)
        for candidate in found:
            candidate.cost = costs["deployed"]
        found.append(in_pytorch(self.title, EAGER, reparameterize(self.model), costs["deployed"]))
        if not is_folded(self.model):
            found.append(in_pytorch(self.title, UNFOLDED, self.model, costs["training"]))
        return found

    def _export(self, folder: Path, say: Say) -> dict[str, Any]:
        try:
            return export_weights(
                self.path,
                folder,
                formats=self.named,
                int8="int8" in self.precisions,
                weights=self.weights,
                overrides=self.overrides,
                say=say,
            )
        except ExportFailed as error:
            return error.value

    def _named(self, one: dict[str, Any]) -> Candidate:
        return Candidate(self.title, None, one["format"], one["precision"])


class OfFile(Ours):
    """An exported file alone.

    Raises ``InputError`` where it cannot be opened, or an option is given that means nothing here.
    """

    def __init__(
        self, path: Path, formats: Sequence[str], int8: bool, weights: str | None, threads: int
    ) -> None:
        form = format_of(path)
        self.session = open_file(path, threads)
        assert form is not None
        if weights is not None or int8 or list(formats) not in (["all"], [form.name]):
            raise InputError(
                f"{path} is an exported file, of one kind of weights, in one format and precision; "
                "leave --weights, --formats and --int8 out, or give the run's folder"
            )
        self.path, self.formats, self.description = path, [form], self.session.description
        found = self.description
        self.precisions = [found.precision]
        self.info = ModelInfo(
            *(found.classes, found.size, found.mean, found.std),
            recipe={"data": dict(found.data)},
            fingerprints=dict(found.fingerprints),
        )

    def candidates(self, folder: Path, threads: int, say: Say) -> list[Candidate]:
        """As the base says: one."""
        runtime, precision = self.formats[0].name, self.description.precision
        session = self.session
        return [Candidate(self.title, None, runtime, precision, run=session, file=self.path)]


def ours_of(
    path: Path,
    *,
    formats: Sequence[str],
    int8: bool,
    weights: str | None,
    overrides: Sequence[str],
    threads: int,
) -> Ours:
    """The network of ``path``; raises what ``OfWeights`` and ``OfFile`` do."""
    if path.is_dir() or not (path.is_file() or format_of(path)):
        return OfWeights(path, formats, int8, weights or "last", overrides)
    return OfFile(path, formats, int8, weights, threads)
