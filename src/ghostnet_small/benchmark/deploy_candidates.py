"""The candidates of ``benchmark deploy``: a network and its peers, in every form that runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ghostnet_small.deploy.deployable import Deployable
from ghostnet_small.deploy.description import Description, Precision
from ghostnet_small.deploy.formats import FORMATS, Format, format_of, open_file
from ghostnet_small.deploy.session import Array
from ghostnet_small.models.peers import CLASSES, PEERS, PICTURE, create_peer
from ghostnet_small.models.weights import ModelInfo
from ghostnet_small.nn.complexity import Complexity
from ghostnet_small.nn.fold import reparameterize
from ghostnet_small.option_values import CALIBRATION
from ghostnet_small.use.agreement import CheckFailed
from ghostnet_small.use.classifier import feed, first_line
from ghostnet_small.use.export_cache import KeptExports, array_digest, network_digest
from ghostnet_small.use.export_check import Reference

# Not exported: the folded network in PyTorch, and the network as it was trained.
EAGER, UNFOLDED = "eager", "training form"
OPENING = "opening"
Answering = Callable[[Array], Array]
Say = Callable[[str], None]
# Gives the file, and how it compared with the network; nothing where it was not compared.
Making = Callable[[Say], tuple[Path, dict[str, Any]]]


@dataclass
class Candidate:
    """A network in one form: ``run`` it, unless it ``failed`` for the reason given there.

    ``making``: makes its file, and reports slow steps; None: there is none to make.
    ``peer``: the name in ``PEERS`` of one that is not ours. ``relative_error``: of its answers in
    float32; ``agreement``: the percentage of images that it gives the class of the network.
    """

    title: str
    peer: str | None
    runtime: str
    precision: Precision
    making: Making | None = None
    run: Answering | None = None
    file: Path | None = None
    cost: Complexity | None = None
    relative_error: float | None = None
    agreement: float | None = None
    failed: str | None = None

    @property
    def name(self) -> str:
        """A name that is unique within a comparison."""
        return f"{self.title}, {self.runtime}, {self.precision}"

    @property
    def size_bytes(self) -> int | None:
        """The size of its file and the companions."""
        form = None if self.file is None else format_of(self.file)
        if self.file is None or form is None:
            return None
        return sum(file.stat().st_size for file in form.files(self.file))

    @property
    def exported(self) -> bool:
        """Return whether it can be brought to a device."""
        return self.runtime in FORMATS

    def prepare(self, threads: int, doing: Say) -> None:
        """Make and open the file, if there is one to make; an error goes to ``failed``."""
        if self.making is None:
            return
        try:
            path, compared = self.making(doing)
            if compared:
                note(self, compared)
            doing(OPENING)
            self.run, self.file = open_file(path, threads, trust=True), path
        # Each library has errors of its own; one of them must not end the comparison of the others.
        except Exception as error:
            self.failed = str(error) if isinstance(error, CheckFailed) else first_line(error)


def in_pytorch(title: str, runtime: str, network: nn.Module, cost: Complexity) -> Candidate:
    """Return ``network``, in evaluation mode, as PyTorch runs it without an export."""

    def run(pictures: Array) -> Array:
        with torch.inference_mode():
            answers: Array = network(torch.from_numpy(pictures)).numpy()
        return answers

    return Candidate(title, None, runtime, "float32", run=run, cost=cost)


def fits_peers(description: Description) -> bool:
    """Return whether a network has the image shape and the number of classes of its peers."""
    shape = (description.channels, *description.size)
    return shape == PICTURE and len(description.classes) == CLASSES


def peer_networks(names: Sequence[str]) -> dict[str, nn.Module]:
    """Return each peer with random weights, folded.

    Raises ``CheckFailed`` where one is not of the size that the network of its name has.
    """
    try:
        return {name: reparameterize(create_peer(name)) for name in names}
    except ValueError as error:
        raise CheckFailed(str(error)) from None


def peer_candidates(
    networks: Mapping[str, nn.Module],
    formats: Sequence[Format],
    folder: Path,
    *,
    like: Description,
    threads: int,
    pictures: Tensor,
    precisions: Sequence[Precision],
    kept: KeptExports,
) -> list[Candidate]:
    """Return each of ``networks`` in each of ``formats``, in its ``precisions``.

    They take images as the network of ``like`` does. Their weights are random, so any
    ``pictures`` (uint8) serve for calibration. Their files are made below ``folder``.
    """
    found = []
    for name, folded in networks.items():
        description = replace(
            like,
            architecture=name,
            width=1.0,
            classes=tuple(str(number) for number in range(CLASSES)),
            precision="float32",
            data={},
        )
        network = Deployable(folded, description).eval().requires_grad_(False)
        files = _PeerFiles(name, network, description, pictures[:CALIBRATION], threads, kept)
        (folder / name).mkdir(parents=True)
        for form in formats:
            for precision in precisions:
                if form.ghostnets_only or (precision == "int8" and not form.int8):
                    continue
                making = partial(files.obtain, form, precision, form.file(folder / name, precision))
                candidate = Candidate(PEERS[name].title, name, form.name, precision, making)
                candidate.cost = PEERS[name].deployed
                found.append(candidate)
    return found


@dataclass
class _PeerFiles:
    """The files of one peer, calibrated on ``samples`` (uint8)."""

    name: str
    network: Deployable
    description: Description
    samples: Tensor
    threads: int
    kept: KeptExports

    def obtain(
        self, form: Format, precision: Precision, path: Path, doing: Say
    ) -> tuple[Path, dict[str, Any]]:
        """Put the file in its place; in float32 it is compared with the network."""
        description = replace(self.description, precision=precision)
        int8 = precision == "int8"
        samples = feed(self.samples, description) if int8 else None

        def make() -> dict[str, Any]:
            if samples is not None:
                doing("calibrating")
                form.load_int8().quantize(self.network, description, samples, path)
                # In 8 bits random weights may answer anything.
                return {}
            doing("exporting")
            form.load().export(self.network, description, path)
            return self._reference.compare(open_file(path, self.threads, trust=True), precision)

        parts = [form.name, network_digest(self.network, description), array_digest(samples)]
        return path, self.kept.obtain(parts, form.files(path), make)

    @cached_property
    def _reference(self) -> Reference:
        found = self.description
        info = ModelInfo(found.classes, found.size, found.mean, found.std, {})
        return Reference(self.network, found, None, info, Path(self.name))


def note(candidate: Candidate, compared: dict[str, Any]) -> None:
    """Keep the results of a comparison with the network."""
    error = compared["relative_error"]
    candidate.relative_error = error if np.isfinite(error) else None
    candidate.agreement = compared["agreement"]
