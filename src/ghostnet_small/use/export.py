"""Export trained weights: each file is run and compared before it is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ghostnet_small.deploy.description import Input
from ghostnet_small.errors import InputError
from ghostnet_small.files import check_folder, check_no_link, move_files, work_folder
from ghostnet_small.option_values import CALIBRATION, EXPORT_FOLDER
from ghostnet_small.use.agreement import CheckFailed
from ghostnet_small.use.budget import advice, limits_of, measure
from ghostnet_small.use.evaluation import SETTINGS as EVALUATION_SETTINGS
from ghostnet_small.use.export_files import Exporter, Target

SETTINGS = tuple(key for key in EVALUATION_SETTINGS if key.startswith("data."))

Say = Callable[[str], None]


class ExportFailed(CheckFailed):
    """Some files are not kept; ``value`` describes them and the others."""

    def __init__(self, message: str, value: dict[str, Any]) -> None:
        super().__init__(message)
        self.value = value


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
    flash: int | str | None = None,
    ram: int | str | None = None,
    say: Say,
) -> dict[str, Any]:
    """Write the weights of ``path``, folded, as files of ``formats`` into ``out``
    (``path/export``, of a shipped name ``export/NAME``); with ``int8`` also in the 8-bit form of
    those formats that have one.

    Each file is opened and compared with the network in float64, on images of the data that it
    was trained on (with ``overrides``) or on random pixels if those are gone, before it gets its
    name; files that fail are left out, the others kept. ``Quantizer`` makes the int8 files, with
    ``calibration`` images of the training split, from weights that are fine-tuned by
    ``fine_tune`` steps before. ``input`` as ``Description`` has it; with ``force`` files are
    replaced, each at once. ``int8`` None: if the data can be read. Of each format the int8 file,
    or the only one, may take at most ``flash`` and ``ram``, as ``limits_of`` reads them; where its
    working memory is not known, ``ram`` is not applied.

    Raises ``InputError``, before any work, for a format that is not known, not installed or not
    for this network, for files that exist, weights that cannot be read, limits that are no sizes,
    and for int8 where the data cannot be; ``ExportFailed`` at the end where a file is not kept.
    """
    limits = limits_of(flash, ram)
    out = default_folder(path) if out is None else out
    exporter = Exporter(path, formats=formats, int8=int8, input=input, weights=weights, say=say)
    _check_free(exporter.targets, out, force)
    exporter.read_data(overrides, calibration=calibration, fine_tune=fine_tune)
    reference, quantizer = exporter.reference, exporter.quantizer
    files, failed, hint = [], [], ""
    # Of two files, the second is that for a device.
    limited = {target.form.name: target for target in exporter.targets}.values()
    with work_folder(out) as partial:
        for target in exporter.targets:
            made = target.files(partial)
            name = made[0].name
            say(f"writing {name} and comparing it with the network")
            try:
                compared = exporter.write(target, made[0])
            except CheckFailed as error:
                failed.append({**target.names, "file": name, "reason": str(error)})
                continue
            size = sum(file.stat().st_size for file in made)
            taken = measure(target.form, made[0], size)
            if limits.ram is not None and taken["ram_bytes"] is None:
                say(f"the working memory of {name} is not known, so --ram is not applied to it")
            if target in limited and (reason := limits.past(taken)):
                failed.append({**target.names, "file": name, "reason": reason, **taken})
                hint = hint or advice(exporter.model, exporter.description, limits)
                continue
            move_files(made, out)
            places = [str(out / file.name) for file in made]
            files.append({**target.names, "files": places, "size_bytes": size, **taken, **compared})
    value = {
        "out": str(out),
        "weights": weights,
        "architecture": exporter.description.architecture,
        "width": exporter.description.width,
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
        raise ExportFailed(f"not kept: {reasons}{'; ' if hint else ''}{hint}", value)
    return value


def default_folder(path: Path) -> Path:
    """Return the folder for the files of ``path``: ``path/export``, or ``export/NAME`` for a name,
    which has no folder of the user's.

    Raises ``InputError`` if that is a link: a run's folder may come from someone else.
    """
    inner = Path(EXPORT_FOLDER)
    folders = [path / inner] if path.exists() else [inner, inner / path.name]
    for folder in folders:
        check_no_link(folder)
    return folders[-1]


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
