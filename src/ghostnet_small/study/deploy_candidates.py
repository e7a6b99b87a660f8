"""What ``benchmark deploy`` compares: a network and its peers, in every form they can be run in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ghostnet_small.deploy.deployable import Deployable
from ghostnet_small.deploy.description import Description, Precision
from ghostnet_small.deploy.formats import FORMATS, Array, Format, Session, format_of, open_file
from ghostnet_small.models.peers import CLASSES, PEERS, PICTURE, create_peer
from ghostnet_small.models.weights import ModelInfo
from ghostnet_small.nn.complexity import Complexity
from ghostnet_small.nn.fold import reparameterize
from ghostnet_small.study.checking import CheckFailed
from ghostnet_small.study.classifier import feed, first_line
from ghostnet_small.study.export_check import Reference

# Not exported: the folded network in PyTorch, and the network as it was trained.
EAGER, UNFOLDED = "eager", "training form"
CALIBRATION = 512
Run = Callable[[Array], Array]
Say = Callable[[str], None]


@dataclass
class Candidate:
    """A network in one form: ``run`` it, unless it ``failed`` for the reason given there.

    ``peer``: the name in ``PEERS`` of one that is not ours. ``relative_error``: of its answers in
    float32; ``agreement``: the percentage of pictures that it gives the class of the network.
    """

    title: str
    peer: str | None
    runtime: str
    precision: Precision
    run: Run | None = None
    file: Path | None = None
    cost: Complexity | None = None
    relative_error: float | None = None
    agreement: float | None = None
    failed: str | None = None

    @property
    def name(self) -> str:
        """What no two candidates of a comparison share."""
        return f"{self.title}, {self.runtime}, {self.precision}"

    @property
    def size_bytes(self) -> int | None:
        """Of its file and what belongs beside that."""
        form = None if self.file is None else format_of(self.file)
        if self.file is None or form is None:
            return None
        return sum(file.stat().st_size for file in form.files(self.file))

    @property
    def exported(self) -> bool:
        """Whether it can leave for a device."""
        return self.runtime in FORMATS


def opened(candidate: Candidate, file: Path, threads: int) -> Session | None:
    """Give ``candidate`` what runs its ``file``, or the reason why that does not open."""
    try:
        session = open_file(file, threads)
    # Each runtime has errors of its own; one of them must not end the comparison of the others.
    except Exception as error:
        candidate.failed = first_line(error)
        return None
    candidate.run, candidate.file = session, file
    return session


def in_pytorch(title: str, runtime: str, network: nn.Module, cost: Complexity) -> Candidate:
    """``network``, in evaluation mode, as PyTorch runs it without an export."""

    def run(pictures: Array) -> Array:
        with torch.inference_mode():
            answers: Array = network(torch.from_numpy(pictures)).numpy()
        return answers

    return Candidate(title, None, runtime, "float32", run=run, cost=cost)


def fits_peers(description: Description) -> bool:
    """Whether a network is asked the same as its peers: so many classes, of such pictures."""
    shape = (description.channels, *description.size)
    return shape == PICTURE and len(description.classes) == CLASSES


def peer_networks(names: Sequence[str]) -> dict[str, nn.Module]:
    """Each peer with random weights, folded.

    Raises ``CheckFailed`` where one is not of the size that the network of its name has.
    """
    try:
        return {name: reparameterize(create_peer(name)) for name in names}
    except ValueError as error:
        raise CheckFailed(str(error)) from None


def peers_exported(
    networks: Mapping[str, nn.Module],
    formats: Sequence[Format],
    folder: Path,
    *,
    like: Description,
    threads: int,
    pictures: Tensor,
    precisions: Sequence[Precision],
    say: Say,
) -> list[Candidate]:
    """Each of ``networks`` in each of ``formats``, in those of ``precisions`` that a format has.

    They take pictures as the network of ``like`` does. Their weights are random, so any
    ``pictures`` (uint8) do to calibrate on.
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
        info = ModelInfo(description.classes, like.size, like.mean, like.std, {})
        reference = Reference(network, description, None, info, Path(name))
        (folder / name).mkdir()
        for form in formats:
            if form.ghostnets_only:
                continue
            say(f"writing {PEERS[name].title} as {form.name}")
            for precision in precisions:
                if precision == "int8" and not form.int8:
                    continue
                candidate = Candidate(PEERS[name].title, name, form.name, precision)
                candidate.cost = PEERS[name].deployed
                path = form.file(folder / name, precision)
                described = replace(description, precision=precision)
                _make(candidate, form, network, described, path, pictures)
                if candidate.failed is None:
                    session = opened(candidate, path, threads)
                    # In 8 bits random weights may answer anything.
                    if session is not None and precision == "float32":
                        _compare(candidate, session, reference)
                found.append(candidate)
    return found


def _make(
    candidate: Candidate,
    form: Format,
    network: Deployable,
    description: Description,
    path: Path,
    pictures: Tensor,
) -> None:
    try:
        if description.precision == "int8":
            samples = feed(pictures[:CALIBRATION], description)
            form.load().quantize(network, description, samples, path)
        else:
            form.load().export(network, description, path)
    except Exception as error:
        candidate.failed = first_line(error)


def _compare(candidate: Candidate, session: Session, reference: Reference) -> None:
    try:
        note(candidate, reference.compare(session, "float32"))
    except Exception as error:
        candidate.failed, candidate.run = first_line(error), None


def note(candidate: Candidate, compared: dict[str, Any]) -> None:
    """Keep what a comparison with the network found."""
    error = compared["relative_error"]
    candidate.relative_error = error if np.isfinite(error) else None
    candidate.agreement = compared["agreement"]
