"""Make the files of trained weights; each is run and compared before it counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ghostnet_small.data.dataset import ImageData, normalize
from ghostnet_small.data.split import stratified_rows
from ghostnet_small.deploy.deployable import Deployable
from ghostnet_small.deploy.description import Description, Input, Precision, describe
from ghostnet_small.deploy.fine_tune import fine_tune as fine_tune_network
from ghostnet_small.deploy.formats import FORMATS, Format, chosen_formats, open_file
from ghostnet_small.deploy.session import Array
from ghostnet_small.errors import InputError
from ghostnet_small.models.ghostnetv3 import GhostNetV3
from ghostnet_small.models.network import Network
from ghostnet_small.models.weights import ModelInfo, load
from ghostnet_small.nn.fold import reparameterize
from ghostnet_small.option_values import CALIBRATION
from ghostnet_small.recipe.paths import exported_data
from ghostnet_small.use.agreement import CheckFailed, data_if_there
from ghostnet_small.use.classifier import feed, first_line
from ghostnet_small.use.export_check import Reference
from ghostnet_small.use.export_int8 import Quantizer
from ghostnet_small.use.training_data import TrainedOn

FINE_TUNING_PICTURES = 10_000

Say = Callable[[str], None]


class Target(NamedTuple):
    """One file to write, and its companions."""

    form: Format
    precision: Precision

    @property
    def names(self) -> dict[str, str]:
        """The format and precision, as results name them."""
        return {"format": self.form.name, "precision": self.precision}

    def files(self, folder: Path) -> tuple[Path, ...]:
        """Return the paths in ``folder``, the main one first."""
        return self.form.files(self.form.file(folder, self.precision))


class Exporter:
    """Makes the files of trained weights, one after the other.

    ``targets`` are the files. Call ``read_data`` before anything is written. ``judge`` as
    ``Quantizer`` has it. Raises what ``export_weights`` raises for formats and weights.
    """

    def __init__(
        self,
        path: Path,
        *,
        formats: Sequence[str],
        int8: bool | None,
        input: Input = "normalized",
        weights: str,
        judge: bool = True,
        say: Say,
    ) -> None:
        self.path, self.int8, self.input, self.say = path, int8, input, say
        self.judge = judge
        everything = list(formats) == ["all"]
        chosen = chosen_formats(formats)
        if everything:
            _tell_missing(say)
        self.model, self.info = load(path, weights)
        self.model.check_size(*self.info.size)
        self.targets = _targets(_for_network(chosen, self.model, path, everything, say), int8, say)
        # For packages: the C file and its header by precision, and how they compare.
        self._c_files: dict[Precision, tuple[tuple[str, ...], dict[str, Any]]] = {}

    def read_data(
        self, overrides: Sequence[str] = (), *, calibration: int = CALIBRATION, fine_tune: int = 0
    ) -> None:
        """Read the data that files are compared and calibrated on, as ``export_weights`` says."""
        source = TrainedOn(self.info, self.path, overrides, say=self.say)
        self.data = _data(source, bool(overrides), self.int8, self.say)
        if self.data is None and self.int8 is None:
            self.targets = [one for one in self.targets if one.precision == "float32"]
        self.calibration, self.fine_tune = calibration, fine_tune
        data = exported_data(source.recipe.as_dict()["data"])
        self.description = describe(self.model, self.info, input=self.input, data=data)
        # A copy has the class of its original.
        folded: Network = reparameterize(self.model)  # type: ignore[assignment]
        whole = Deployable(folded.whole(), self.description)
        self.network = whole.eval().requires_grad_(False)

    @cached_property
    def reference(self) -> Reference:
        """The answers that files must give; raises ``InputError`` if they are not finite."""
        return Reference(self.network, self.description, self.data, self.info, self.path)

    @cached_property
    def quantizer(self) -> Quantizer | None:
        """The maker of the int8 files; None if none are asked for."""
        if self.data is None or self.int8 is False:
            return None
        return Quantizer(
            _tuned(self.network, self.data, self.info, self.description, self.fine_tune, self.say),
            replace(self.description, precision="int8"),
            _samples(self.data, self.calibration, self.description),
            self.reference,
            torch.get_num_threads(),
            self.say,
            self.judge,
        )

    def write(self, target: Target, path: Path) -> dict[str, Any]:
        """Make the files of ``target``, ``path`` the main one, and return how they compare.

        Raises ``CheckFailed`` if they cannot be made or their answers differ too much.
        """
        try:
            if target.form.package:
                return self._pack(target, path)
            compared = self._made(target, path)
            if target.form is FORMATS.get("c"):
                texts = tuple(file.read_text() for file in target.form.files(path))
                self._c_files[target.precision] = texts, compared
            return compared
        except (CheckFailed, OSError, MemoryError):
            raise
        # Each library has errors of its own, without a common class.
        except Exception as error:
            raise CheckFailed(f"cannot be made ({first_line(error)})") from error

    def _made(self, target: Target, path: Path) -> dict[str, Any]:
        if target.precision == "int8":
            assert self.quantizer is not None
            return self.quantizer.write(target.form, path)
        target.form.load().export(self.network, self.description, path)
        session = open_file(path, torch.get_num_threads())
        compared = self.reference.compare(session, target.precision)
        return {**compared, "kept_in_float": None}

    def _pack(self, target: Target, path: Path) -> dict[str, Any]:
        """Pack the C file, which is made and compared once for all packages."""
        if target.precision not in self._c_files:
            folder = path.parent / "packed"
            folder.mkdir(exist_ok=True)
            c_file = Target(FORMATS["c"], target.precision)
            self.write(c_file, c_file.files(folder)[0])
        texts, compared = self._c_files[target.precision]
        module = target.form.load()
        module.pack(*texts, path)
        if module.packed_c(path) != texts:
            raise CheckFailed("holds another C file than the one that was compared")
        return compared


def _tuned(
    network: Deployable,
    data: ImageData,
    info: ModelInfo,
    description: Description,
    steps: int,
    say: Say,
) -> Deployable:
    """Return ``network`` fine-tuned for 8 bits by so many ``steps`` on training images."""
    if not steps:
        return network
    count = min(FINE_TUNING_PICTURES, len(data.train))
    rows = stratified_rows(data.train.labels, count, seed=0, least=0, spare=0)
    pictures = normalize(data.train.images[rows], info.mean, info.std)

    def tell(step: int, loss: float) -> None:
        if step % 100 == 0 or step == steps:
            say(f"fine-tuning for 8 bits: step {step} of {steps}, {loss:.5f} nats")

    tuned = fine_tune_network(network.network, pictures, steps, tell=tell)
    return Deployable(tuned, description).eval().requires_grad_(False)


def _tell_missing(say: Say) -> None:
    missing = [form for form in FORMATS.values() if form.missing()]
    if missing:
        lines = ", ".join(f"{form.name} ({form.install})" for form in missing)
        say(f"formats that are not installed are left out: {lines}")


def _for_network(
    chosen: list[Format], model: Network, path: Path, everything: bool, say: Say
) -> list[Format]:
    """Return the formats of ``chosen`` that take ``model``; raises ``InputError`` if one that was
    named does not."""
    if isinstance(model, GhostNetV3):
        return chosen
    refused = [form.name for form in chosen if form.ghostnets_only]
    if refused:
        said = f"format {', '.join(refused)} takes GhostNets only, and {path} is a "
        said += model.config["architecture"]
        if not everything:
            raise InputError(f"{said}; leave it out of --formats")
        say(f"{said}; it is left out")
    return [form for form in chosen if not form.ghostnets_only]


def _targets(chosen: list[Format], int8: bool | None, say: Say) -> list[Target]:
    """Return the float32 file of each format, and its int8 file where there is or may be one."""
    without = [form.name for form in chosen if not form.int8]
    if int8 and len(without) == len(chosen):
        known = ", ".join(form.name for form in FORMATS.values() if form.int8)
        raise InputError(
            f"--int8 has no meaning for {', '.join(without)}; leave it out, or choose from {known}"
        )
    if int8 and without:
        say(f"no int8 form of {', '.join(without)}")
    return [
        Target(form, precision)
        # Packages take the C file that is there.
        for form in sorted(chosen, key=lambda form: form.package)
        for precision in ("float32", "int8")
        if precision == "float32" or (int8 is not False and form.int8)
    ]


def _data(source: TrainedOn, given: bool, int8: bool | None, say: Say) -> ImageData | None:
    """Return the data set that the weights were trained on; None where it cannot be read, and is
    neither ``given`` nor needed."""
    if int8:
        try:
            return source.whole()
        except InputError as error:
            raise InputError(
                f"--int8 has no training images to calibrate on: {error}; name the folder of "
                "the data with --data.root, or leave --int8 out"
            ) from None
    cure = "; no int8 file is made; name the folder of the data with --data.root for one"
    more = "" if int8 is False else cure
    if given:
        return source.whole()
    return data_if_there(source.whole, lambda remark: say(remark + more))


def _samples(data: ImageData, count: int, description: Description) -> Array:
    """Return ``count`` training images, each class its share, as a file takes them."""
    labels = data.train.labels
    rows = stratified_rows(labels, min(count, len(labels)), seed=0, least=0, spare=0)
    return feed(data.train.images[rows], description)
