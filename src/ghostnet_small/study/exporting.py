"""Trained weights leave for a device: files that were run and compared before they are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ghostnet_small.data.dataset import ImageData, normalize
from ghostnet_small.data.split import stratified_rows
from ghostnet_small.deploy.deployable import Deployable
from ghostnet_small.deploy.description import Description, Input, Precision, describe
from ghostnet_small.deploy.fine_tune import fine_tune as fine_tune_network
from ghostnet_small.deploy.formats import FORMATS, Array, Format, chosen_formats, open_file
from ghostnet_small.errors import InputError
from ghostnet_small.files import check_folder, move_files, work_folder
from ghostnet_small.models.ghostnetv3 import GhostNetV3
from ghostnet_small.models.network import Network
from ghostnet_small.models.weights import ModelInfo, load
from ghostnet_small.nn.fold import reparameterize
from ghostnet_small.study.checking import CheckFailed, data_if_there
from ghostnet_small.study.classifier import feed, first_line
from ghostnet_small.study.evaluation import SETTINGS as EVALUATION_SETTINGS
from ghostnet_small.study.export_check import Reference
from ghostnet_small.study.option_values import CALIBRATION, EXPORT_FOLDER
from ghostnet_small.study.quantizing import Quantizer
from ghostnet_small.study.trained_on import TrainedOn

SETTINGS = tuple(key for key in EVALUATION_SETTINGS if key.startswith("data."))
FINE_TUNING_PICTURES = 10_000

Say = Callable[[str], None]


class ExportFailed(CheckFailed):
    """Some files are not kept; ``value`` tells of them and of the others."""

    def __init__(self, message: str, value: dict[str, Any]) -> None:
        super().__init__(message)
        self.value = value


class Target(NamedTuple):
    """One file to write, and its companions."""

    form: Format
    precision: Precision

    @property
    def names(self) -> dict[str, str]:
        """As results have it."""
        return {"format": self.form.name, "precision": self.precision}

    def files(self, folder: Path) -> tuple[Path, ...]:
        """Where they lie in ``folder``, the main one first."""
        return self.form.files(self.form.file(folder, self.precision))


def export_weights(
    path: Path,
    out: Path | None = None,
    *,
    formats: Sequence[str] = ("all",),
    int8: bool | None = False,
    input: Input = "normalized",
    weights: str = "last",
    calibration: int = CALIBRATION,
    fine_tune: int = 0,
    overrides: Sequence[str] = (),
    force: bool = False,
    say: Say,
) -> dict[str, Any]:
    """Write the weights of ``path``, folded, as files of ``formats`` into ``out``
    (``path/export``, of a shipped name ``export/NAME``); with ``int8`` also in the 8-bit form of
    those formats that have one.

    Each file is opened and compared with the network in float64, on pictures of the data that it
    was trained on (with ``overrides``) or on random pixels where those are gone, before it gets
    its name; the formats that are not all right are left out, the others kept. Calibrated is on
    so many pictures of the training split, and int8 files are made as ``Quantizer`` does, of
    weights that are fine-tuned by so many steps before. ``input`` as ``Description`` has it;
    with ``force`` files are replaced, each at once. ``int8`` None: where the data can be read.

    Raises ``InputError``, before any work, for a format that is not known, not installed or not
    for this network, for files that exist, weights that cannot be read, and for int8 where the
    data cannot be; ``ExportFailed`` at the end where a file is not kept.
    """
    out = default_folder(path) if out is None else out
    everything = list(formats) == ["all"]
    chosen = chosen_formats(formats)
    if everything:
        _tell_missing(say)
    model, info = load(path, weights)
    model.check_size(*info.size)
    targets = _targets(_for_network(chosen, model, path, everything, say), int8, say)
    _check_free(targets, out, force)
    source = TrainedOn(info, path, overrides, say=say)
    data = _data(source, bool(overrides), int8, say)
    description = describe(model, info, input=input, data=source.recipe.as_dict()["data"])
    # A copy is of the class of what it was made of.
    folded: Network = reparameterize(model)  # type: ignore[assignment]
    network = Deployable(folded.whole(), description).eval().requires_grad_(False)
    reference = Reference(network, description, data, info, path)
    quantizer = None
    if data is None and int8 is None:
        targets = [target for target in targets if target.precision == "float32"]
    if data is not None and int8 is not False:
        quantizer = Quantizer(
            _tuned(network, data, info, description, fine_tune, say),
            replace(description, precision="int8"),
            _samples(data, calibration, description),
            reference,
            torch.get_num_threads(),
            say,
        )
    files, failed = [], []
    with work_folder(out) as partial:
        for target in targets:
            made = target.files(partial)
            name = made[0].name
            say(f"writing {name} and comparing it with the network")
            try:
                compared = _write(target, network, description, quantizer, reference, made[0])
            except CheckFailed as error:
                failed.append({**target.names, "file": name, "reason": str(error)})
                continue
            size = sum(file.stat().st_size for file in made)
            move_files(made, out)
            places = [str(out / file.name) for file in made]
            files.append({**target.names, "files": places, "size_bytes": size, **compared})
    value = {
        "out": str(out),
        "weights": weights,
        "architecture": description.architecture,
        "width": description.width,
        "input": input,
        "compared_on": reference.pictures.source,
        "pictures": len(reference.pictures.images),
        "calibration": 0 if quantizer is None else len(quantizer.samples),
        "fine_tune": 0 if quantizer is None else fine_tune,
        "files": files,
        "failed": failed,
    }
    if failed:
        reasons = "; ".join(f"{one['file']} {one['reason']}" for one in failed)
        raise ExportFailed(f"not kept: {reasons}", value)
    return value


def default_folder(path: Path) -> Path:
    """Where the files of ``path`` go: ``path/export``, or ``export/NAME`` of a name, which has no
    folder of the user's."""
    return path / EXPORT_FOLDER if path.exists() else Path(EXPORT_FOLDER) / path.name


def _write(
    target: Target,
    network: Deployable,
    description: Description,
    quantizer: Quantizer | None,
    reference: Reference,
    path: Path,
) -> dict[str, Any]:
    """Make the files of ``target`` and say how they compare; raises ``CheckFailed`` where they
    cannot be made or answer otherwise than they must."""
    try:
        if target.precision == "int8":
            assert quantizer is not None
            return quantizer.write(target.form, path)
        target.form.load().export(network, description, path)
        session = open_file(path, torch.get_num_threads())
        return {**reference.compare(session, target.precision), "kept_in_float": None}
    except (CheckFailed, OSError, MemoryError):
        raise
    # Each library has errors of its own, without a common class.
    except Exception as error:
        raise CheckFailed(f"cannot be made ({first_line(error)})") from error


def _tuned(
    network: Deployable,
    data: ImageData,
    info: ModelInfo,
    description: Description,
    steps: int,
    say: Say,
) -> Deployable:
    """``network``, fine-tuned for 8 bits by so many ``steps`` on training pictures."""
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
    """Those of ``chosen`` that take ``model``; raises ``InputError`` where one that was named does
    not."""
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
    """The float32 file of each format, and its int8 file where there is or may be one."""
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
        for form in chosen
        for precision in ("float32", "int8")
        if precision == "float32" or (int8 is not False and form.int8)
    ]


def _check_free(targets: list[Target], out: Path, force: bool) -> None:
    check_folder(out, "--out")
    files = [file for target in targets for file in target.files(out)]
    folders = [file.name for file in files if file.is_dir()]
    if folders:
        raise InputError(f"{out} has folders called {', '.join(folders)}; give another --out")
    there = [file.name for file in files if file.exists() or file.is_symlink()]
    if there and not force:
        raise InputError(
            f"{out} holds {', '.join(there)} already; give --force to replace them, or another "
            "--out"
        )


def _data(source: TrainedOn, given: bool, int8: bool | None, say: Say) -> ImageData | None:
    """The data set that the weights were trained on; None where it cannot be read, and is
    neither ``given`` nor needed."""
    if int8:
        try:
            return source.whole()
        except InputError as error:
            raise InputError(
                f"--int8 has no training pictures to calibrate on: {error}; name the folder of "
                "the data with --data.root, or leave --int8 out"
            ) from None
    cure = "; no int8 file is made; name the folder of the data with --data.root for one"
    more = "" if int8 is False else cure
    if given:
        return source.whole()
    return data_if_there(source.whole, lambda remark: say(remark + more))


def _samples(data: ImageData, count: int, description: Description) -> Array:
    """``count`` training pictures, of each class its share, as a file takes them."""
    labels = data.train.labels
    rows = stratified_rows(labels, min(count, len(labels)), seed=0, least=0, spare=0)
    return feed(data.train.images[rows], description)
