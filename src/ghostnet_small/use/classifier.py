"""Classifiers: trained weights and exported files with one interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ghostnet_small.data.dataset import normalize, size_text
from ghostnet_small.data.fitting import COLOURS
from ghostnet_small.deploy.description import Description
from ghostnet_small.deploy.formats import format_of, open_file
from ghostnet_small.deploy.session import Session
from ghostnet_small.errors import InputError
from ghostnet_small.fast import ready_to_answer
from ghostnet_small.hub.models import is_hub_name
from ghostnet_small.models.network import Network
from ghostnet_small.models.weights import ModelInfo, load
from ghostnet_small.train.device import make_accelerator
from ghostnet_small.train.settings import TrainSettings
from ghostnet_small.use.image_inputs import (
    ImageInput,
    Prediction,
    batch_of,
    likeliest,
    list_inputs,
    stacked,
)


class Classifier(ABC):
    """A classifier of images. ``info`` describes it; ``facts`` go into a command's report.

    ``any_size``: whether it takes images of other sizes than ``info.size``.
    """

    path: Path
    info: ModelInfo
    facts: dict[str, Any]
    any_size: bool

    @abstractmethod
    def settle(self, train: TrainSettings) -> None:
        """Compute on the device and threads of ``train``; the default is the CPU.

        Raises ``InputError`` if that is impossible.
        """

    @abstractmethod
    def check_size(self, height: int, width: int) -> None:
        """Raise ``InputError`` if images of so many pixels do not suit the network."""

    @abstractmethod
    def answer(self, images: Tensor) -> Tensor:
        """Return float32 logits ``(N, K)`` on the CPU for uint8 ``(N, C, H, W)``."""

    def logits(self, images: Tensor) -> Tensor:
        """Return ``answer(images)``; raises ``InputError`` if a logit is not finite."""
        found = self.answer(images)
        check_finite(found, self.path)
        return found

    def check_input(self) -> None:
        """Raise ``InputError`` if the network cannot take images from files."""
        if len(self.info.mean) not in COLOURS:
            raise InputError(
                f"{self.path} takes images of {len(self.info.mean)} channels, and files hold 1 "
                "(grey) or 3; give weights that were trained on those"
            )
        self.check_size(*self.info.size)

    def predict(
        self, images: ImageInput | Sequence[ImageInput], *, top: int = 5
    ) -> list[Prediction]:
        """Return the label, its probability and the ``top`` likeliest classes of each image.

        An image is a path, a PIL image, a uint8 array ``(H, W)`` or ``(H, W, 3)``, or a uint8
        tensor ``(1, H, W)`` or ``(3, H, W)``, of any size. It is converted and resized as the
        command ``predict`` does with a file, and normalised here: give pixels from 0 to 255.

        Raises ``InputError``, with the cure, for an image that cannot be read or has another type
        or shape, and for a ``top`` below 1.
        """
        if top < 1:
            raise InputError(f"top {top} is not allowed; give at least 1")
        self.check_input()
        given, size = list_inputs(images), self.info.size
        answers: list[Prediction] = []
        for first in range(0, len(given), batch_of(size)):
            part = given[first : first + batch_of(size)]
            found = self.logits(stacked(part, first, len(self.info.mean), size))
            answers += likeliest(found, self.info.classes, top)
        return answers


def open_classifier(
    path: Path, *, weights: str | None = None, fold: bool | None = None, trust: bool = False
) -> Classifier:
    """Return the classifier of a run's folder, of a folder with weights or of an exported file.

    Of a run, ``weights`` picks "last" (the default) or "best"; a GhostNet is folded unless
    ``fold`` is False. With ``trust`` an exported file may do more than ``export`` writes.

    Raises ``InputError`` where ``path`` cannot be read, or is an exported file and an option is
    given that means nothing there.
    """
    if not is_exported(path):
        return TrainedWeights(path, weights or "last", fold is not False)
    found = ExportedFile(path, trust=trust)
    for option, given in (("--weights", weights), ("--fold", fold)):
        if given is not None:
            raise InputError(
                f"{option} has no meaning for {path}, an exported file, which holds one kind of "
                "weights, already folded; leave it out"
            )
    return found


def is_exported(path: Path) -> bool:
    """Return whether ``path`` means an exported file, and not weights by folder or by name."""
    if is_hub_name(path) or path.is_dir():
        return False
    return path.is_file() or format_of(path) is not None


class TrainedWeights(Classifier):
    """A network in PyTorch."""

    any_size = True

    def __init__(self, path: Path, weights: str, fold: bool) -> None:
        self.path = path
        model, self.info = load(path, weights)
        # A folded model is of the class of the unfolded one.
        self.model: Network = ready_to_answer(model) if fold else model  # type: ignore[assignment]
        self.device = torch.device("cpu")
        self.memory_format = torch.contiguous_format
        self.facts = {
            "weights": weights,
            "folded": fold,
            "format": "safetensors",
            "precision": "float32",
        }

    def settle(self, train: TrainSettings) -> None:
        """See the base class; the memory format is that of the training."""
        self.device = make_accelerator(train.device).device
        if train.threads is not None:
            torch.set_num_threads(train.threads)
        if train.channels_last:
            self.memory_format = torch.channels_last
        self.model.to(self.device).to(memory_format=self.memory_format)

    def check_size(self, height: int, width: int) -> None:
        """See the base class."""
        self.model.check_size(height, width)

    @torch.inference_mode()
    def answer(self, images: Tensor) -> Tensor:
        """See the base class."""
        pictures = normalize(images.to(self.device), self.info.mean, self.info.std)
        logits: Tensor = self.model(pictures.contiguous(memory_format=self.memory_format))
        return logits.float().cpu()


class ExportedFile(Classifier):
    """A file of one of the formats of ``deploy``, in its own runtime, on the CPU."""

    any_size = False

    def __init__(self, path: Path, *, trust: bool = False) -> None:
        self.path = path
        self._threads = torch.get_num_threads()
        self._session = open_file(path, self._threads, trust=trust)
        self._description = found = self._session.description
        self.info = ModelInfo(
            *(found.classes, found.size, found.mean, found.std),
            recipe={"data": dict(found.data)},
            fingerprints=dict(found.fingerprints),
        )
        form = format_of(path)
        assert form is not None
        self.facts = {"format": form.name, "precision": found.precision, "input": found.input}

    def settle(self, train: TrainSettings) -> None:
        """See the base class."""
        if train.device not in ("auto", "cpu"):
            raise InputError(
                f"--train.device {train.device} is not allowed: the exported file {self.path} "
                "runs on the CPU; leave it out"
            )
        if train.threads not in (None, self._threads):
            self._threads = train.threads
            self._session = open_file(self.path, train.threads, trust=True)  # as above

    def check_size(self, height: int, width: int) -> None:
        """See the base class."""
        if (height, width) != self.info.size:
            raise InputError(
                f"images of {size_text((height, width))} do not suit {self.path}, which takes "
                f"{size_text(self.info.size)}; leave data.size out"
            )

    def answer(self, images: Tensor) -> Tensor:
        """See the base class; for a file that answers with probabilities, their logarithms."""
        try:
            answers = torch.from_numpy(run(self._session, images, self._description))
        # Each runtime has errors of its own, without a common class.
        except Exception as error:
            raise InputError(
                f"{self.path} cannot be run ({first_line(error)}); export the run again"
            ) from None
        if answers.shape != (len(images), len(self.info.classes)):
            raise InputError(
                f"{self.path} gives answers of shape {tuple(answers.shape)} for {len(images)} "
                f"images of {len(self.info.classes)} classes; export the run again"
            )
        if self._description.input == "normalized":
            return answers.float()
        # A probability that float32 rounds to 0 has a finite loss, as with logits.
        return answers.float().clip(min=torch.finfo(torch.float32).tiny).log()


def run(session: Session, images: Tensor, description: Description) -> np.ndarray:
    """Return a session's answers to uint8 ``(N, C, H, W)``."""
    return session(feed(images, description))


def feed(images: Tensor, description: Description) -> np.ndarray:
    """Return uint8 ``(N, C, H, W)`` as a file of this ``description`` takes them."""
    if description.input == "normalized":
        images = normalize(images, description.mean, description.std)
    return images.contiguous().numpy()


def check_finite(logits: Tensor, path: Path) -> None:
    """Raise ``InputError`` if a model's logits are not finite."""
    if not logits.isfinite().all():
        raise InputError(
            f"the weights of {path} give logits that are not finite; train again with a lower "
            "optimizer.learning_rate"
        )


def first_line(error: Exception) -> str:
    """Return the class of a library's error and the first line of its message."""
    if isinstance(error, InputError):
        return str(error)
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]:.200}" if said else type(error).__name__
