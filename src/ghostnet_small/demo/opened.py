"""The files of a network for the page: existing ones, new ones, or the one given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ghostnet_small.demo.bundle import write_bundle
from ghostnet_small.demo.chosen import FILES, FLOAT32, INT8, MOST_BYTES, RECORD, Chosen, sha256
from ghostnet_small.deploy.description import Description
from ghostnet_small.deploy.formats import format_of, open_file
from ghostnet_small.errors import InputError
from ghostnet_small.files import checked_json, read_bytes, temporary_folder
from ghostnet_small.models.ghostnetv3 import ARCHITECTURES
from ghostnet_small.models.weights import KINDS
from ghostnet_small.use.classifier import is_exported

Say = Callable[[str], None]


@dataclass(frozen=True)
class Bundle:
    """A network's ``files`` by their names, at least the float32 or the int8 file.

    ``config`` builds the network; ``method``: that of the activation maps; ``test_top1`` as
    ``write_bundle`` takes it; ``trained_on``: the data's name. Each None where it is not known.
    """

    name: str
    description: Description
    files: Mapping[str, bytes]
    config: Mapping[str, Any] | None = None
    method: str | None = None
    test_top1: Mapping[str, Any] | None = None
    trained_on: str | None = None


def open_bundle(
    path: Path, *, weights: str | None = None, overrides: Sequence[str] = (), say: Say
) -> Bundle:
    """Return the bundle of a run, of weights or of an exported ``.onnx`` file, then its only file.

    Existing files beside the weights are used if they were made of them, unless ``overrides``
    name other data; else they are made in a temporary folder, which is removed at the end.

    Raises what ``write_bundle`` does, and ``InputError`` for a file of another format, or one
    that takes pixels.
    """
    if is_exported(path):
        return _of_file(path, weights, overrides)
    chosen = Chosen.read(path, weights or "last")
    ready = None if overrides else _ready(chosen, chosen.folder, say)
    if ready is not None:
        return ready
    with temporary_folder() as folder:
        write_bundle(path, folder, weights=chosen.kind, overrides=overrides, say=say)
        return _read(chosen, folder)


def _ready(chosen: Chosen, folder: Path, say: Say) -> Bundle | None:
    """Return the bundle in ``folder``; None if there is none or, with a remark, another one."""
    if not (folder / RECORD).is_file():
        return None
    try:
        return _read(chosen, folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        say(f"the ONNX files in {folder} are not used ({reason:.200}); others are made")
        return None


def _read(chosen: Chosen, folder: Path) -> Bundle:
    """Read the bundle; raises errors of many kinds if it is of other weights or was changed."""
    values = checked_json(folder / RECORD)
    if values["weights"] != chosen.identity():
        raise ValueError("they were made of other weights")
    files = {}
    for name, facts in values["files"].items():
        if name not in FILES:
            raise ValueError(f"{name!r:.40} is no file that the page knows")
        files[name] = read_bytes(folder / name, MOST_BYTES)
        if sha256(files[name]) != facts["sha256"]:
            raise ValueError(f"{name} is not the file that was made of them")
    if FLOAT32 not in files:
        raise ValueError(f"{FLOAT32} is not among them")
    return Bundle(
        _name(chosen.path),
        chosen.description(),
        files,
        config=chosen.model.config,
        method=values["activation"],
        test_top1=values["test_top1"],
        trained_on=chosen.trained_on(),
    )


def _of_file(path: Path, weights: str | None, overrides: Sequence[str]) -> Bundle:
    form = format_of(path)
    if form is None or form.name != "onnx":
        raise InputError(
            f"{path} is no .onnx file, and the page runs no others; give one, or weights"
        )
    options = ["--weights"] if weights else []
    for option in options + [word.split("=")[0] for word in overrides]:
        raise InputError(f"{option} has no meaning for {path}, an exported file; leave it out")
    described = open_file(path).description
    if described.input != "normalized":
        raise InputError(
            f"{path} takes pixels, and the page normalises them itself; export it with --input "
            "normalized, or give the weights"
        )
    from ghostnet_small.demo.activation_file import without_places

    name = FLOAT32 if described.precision == "float32" else INT8
    return Bundle(_name(path), described, {name: without_places(path)}, _config_of(described))


def _config_of(described: Description) -> dict[str, Any] | None:
    """Return that of a GhostNet; a teacher may resize images, which its file does not say."""
    if described.architecture not in ARCHITECTURES:
        return None
    return {
        "architecture": described.architecture,
        "width": described.width,
        "num_classes": len(described.classes),
        "in_channels": described.channels,
    }


def _name(path: Path) -> str:
    """Return the name without its folders, which are private; of a run's weights, the run's."""
    whole = path.resolve()
    return whole.parent.name if whole.name in KINDS else whole.name
