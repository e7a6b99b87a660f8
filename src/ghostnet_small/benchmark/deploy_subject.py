"""The network that ``benchmark deploy`` measures: trained weights or an exported file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ghostnet_small.benchmark.deploy_candidates import (
    EAGER,
    UNFOLDED,
    Candidate,
    Say,
    in_pytorch,
)
from ghostnet_small.data.dataset import Split
from ghostnet_small.deploy.description import Description, Precision, describe
from ghostnet_small.deploy.formats import Format, format_of, open_file
from ghostnet_small.errors import InputError
from ghostnet_small.models.heads import head_text
from ghostnet_small.models.weights import ModelInfo
from ghostnet_small.nn.complexity import both_forms
from ghostnet_small.nn.fold import is_folded, reparameterize
from ghostnet_small.report.words import width_text
from ghostnet_small.use.export_cache import KeptExports, network_digest
from ghostnet_small.use.export_files import Exporter, Target
from ghostnet_small.use.training_data import TrainedOn

TITLES = {"ghostnetv3_small": "GN-S", "ghostnetv3": "GN-D"}


class Ours(ABC):
    """The network to measure, with ``formats`` and ``precisions`` of its candidates and peers.

    ``left_out``: the files that there would be without ``quick``.
    """

    path: Path
    info: ModelInfo
    description: Description
    formats: list[Format]
    precisions: list[Precision]
    left_out: Sequence[str] = ()

    @property
    def title(self) -> str:
        """A short name, the width, and the head where it is not the paper's."""
        found = self.description
        name = TITLES.get(found.architecture, found.architecture)
        return f"{name} {width_text(found.width)}{head_text(found.head)}"

    @abstractmethod
    def candidates(self, folder: Path, kept: KeptExports) -> list[Candidate]:
        """Return the network in every form, not prepared; files are made in the new ``folder``."""

    def split(self, name: str, overrides: Sequence[str], say: Say) -> Split:
        """Return a split of the data that the network was trained on, as the network takes images.

        Raises ``InputError`` where it cannot be read or has other classes.
        """
        try:
            return TrainedOn(self.info, self.path, overrides, say=say).split(name).split
        except (InputError, OSError) as error:
            raise InputError(
                f"there are no images to measure top-1 on: {error}; name the folder of the data "
                "with --data.root, or give --split none"
            ) from None


class OfWeights(Ours):
    """A run's weights, exported to ``formats``, and in PyTorch: folded, and as they were trained.

    ``formats`` None: all that are installed, with ``quick`` two of them; the form of the training
    is left out then. Raises ``InputError`` where there are no weights, or a format is not known or
    not installed.
    """

    def __init__(
        self,
        path: Path,
        formats: Sequence[str] | None,
        *,
        int8: bool,
        weights: str,
        overrides: Sequence[str],
        quick: bool,
        say: Say,
    ) -> None:
        self.path, self.overrides, self.quick = path, overrides, quick
        self.exporter = Exporter(
            path, formats=formats or ("all",), int8=int8, weights=weights, judge=False, say=say
        )
        self.targets = self.exporter.targets
        packages = [one.form.name for one in self.targets if one.form.package]
        if packages:
            raise InputError(
                f"--formats {','.join(packages)}: a package holds the C file; measure c instead"
            )
        if quick and formats is None:
            self.targets = _few(self.targets)
            rest = [one for one in self.exporter.targets if one not in self.targets]
            self.left_out = [f"{one.form.name} in {one.precision}" for one in rest]
        self.formats = list({one.form.name: one.form for one in self.targets}.values())
        self.precisions = ["float32", "int8"] if int8 else ["float32"]
        self.model, self.info = self.exporter.model, self.exporter.info
        self.description = describe(self.model, self.info)

    def candidates(self, folder: Path, kept: KeptExports) -> list[Candidate]:
        """See the base class; reads the data that files are compared and calibrated on."""
        self.exporter.read_data(self.overrides)
        folder.mkdir()
        forms = both_forms(self.model, (self.description.channels, *self.info.size))
        costs = {form: cost["total"] for form, cost in forms.items()}
        found = []
        for target in self.targets:
            making = partial(self._file, target, folder, kept)
            candidate = Candidate(self.title, None, target.form.name, target.precision, making)
            candidate.cost = costs["deployed"]
            found.append(candidate)
        found.append(in_pytorch(self.title, EAGER, reparameterize(self.model), costs["deployed"]))
        if not (is_folded(self.model) or self.quick):
            found.append(in_pytorch(self.title, UNFOLDED, self.model, costs["training"]))
        return found

    def _file(
        self, target: Target, folder: Path, kept: KeptExports, doing: Say
    ) -> tuple[Path, dict[str, Any]]:
        files = target.files(folder)
        exporter = self.exporter

        def make() -> dict[str, Any]:
            doing("calibrating" if target.precision == "int8" else "exporting")
            return exporter.write(target, files[0])

        data = None if exporter.data is None else exporter.data.fingerprint
        digest = network_digest(exporter.network, exporter.description)
        parts = [target.form.name, target.precision, digest, data, exporter.calibration]
        return files[0], kept.obtain(parts, files, make)


def _few(targets: Sequence[Target]) -> list[Target]:
    """Return C and one format that peers have, in float32; without C, that one in int8 too."""
    c = [one for one in targets if one.form.name == "c"]
    others = [one for one in targets if not one.form.ghostnets_only]
    # By the time that an export takes.
    places = {name: place for place, name in enumerate(("onnx", "openvino", "executorch", "ncnn"))}
    others.sort(key=lambda one: (not one.form.int8, places.get(one.form.name, len(places))))
    name = others[0].form.name if others else None
    return [
        one
        for one in targets
        if one in c or (one.form.name == name and not (c and one.precision == "int8"))
    ]


class OfFile(Ours):
    """An exported file as the only candidate.

    Raises ``InputError`` where it cannot be opened, or an option is given that means nothing here.
    """

    def __init__(
        self,
        path: Path,
        formats: Sequence[str] | None,
        int8: bool,
        weights: str | None,
        threads: int,
    ) -> None:
        form = format_of(path)
        self.session = open_file(path, threads)
        assert form is not None
        others = formats is not None and list(formats) not in (["all"], [form.name])
        if weights is not None or int8 or others:
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

    def candidates(self, folder: Path, kept: KeptExports) -> list[Candidate]:
        """See the base class; there is one."""
        runtime, precision = self.formats[0].name, self.description.precision
        session = self.session
        return [Candidate(self.title, None, runtime, precision, run=session, file=self.path)]


def ours_of(
    path: Path,
    *,
    formats: Sequence[str] | None,
    int8: bool,
    weights: str | None,
    overrides: Sequence[str],
    threads: int,
    quick: bool,
    say: Say,
) -> Ours:
    """Return the network of ``path``; raises what ``OfWeights`` and ``OfFile`` do."""
    if path.is_dir() or not (path.is_file() or format_of(path)):
        return OfWeights(
            path,
            formats,
            int8=int8,
            weights=weights or "last",
            overrides=overrides,
            quick=quick,
            say=say,
        )
    return OfFile(path, formats, int8, weights, threads)
