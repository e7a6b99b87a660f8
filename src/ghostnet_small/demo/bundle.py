"""The ONNX files that the page runs: made of weights, or found ready beside them."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ghostnet_small.demo.activation import activation_maps
from ghostnet_small.deploy.description import Description
from ghostnet_small.deploy.formats import FORMATS, format_of, open_file
from ghostnet_small.errors import InputError
from ghostnet_small.files import (
    check_folder,
    checked_json,
    move_files,
    read_bytes,
    signed_json,
    work_folder,
    write_atomic,
)
from ghostnet_small.models.network import Network
from ghostnet_small.models.shipped import find_weights
from ghostnet_small.models.weights import WEIGHTS, ModelInfo, load, weights_folder
from ghostnet_small.nn.fold import reparameterize
from ghostnet_small.study.exporting import ExportFailed, export_weights
from ghostnet_small.study.folder import RunFolder, is_run
from ghostnet_small.version import __version__

FLOAT32, INT8, ACTIVATION = "model.onnx", "model.int8.onnx", "activation.onnx"
FILES = (FLOAT32, INT8, ACTIVATION)
# Says of which weights the files beside it were made.
RECORD = "bundle.json"
MOST_BYTES = (1 << 31) - 1

Say = Callable[[str], None]


@dataclass(frozen=True)
class Bundle:
    """What the page gets of a network: ``files`` by the names above, at least one of the first two.

    ``config`` builds the network, None where it is not known. ``method``: what the activation maps
    are. ``test_top1``: ``top1`` (%), ``correct`` and ``pictures``, where they are known.
    """

    name: str
    description: Description
    files: Mapping[str, bytes]
    config: Mapping[str, Any] | None = None
    method: str | None = None
    test_top1: Mapping[str, Any] | None = None
    trained_on: str | None = None


@dataclass(frozen=True)
class _Weights:
    """Weights, and what their ONNX files must be of."""

    path: Path
    kind: str
    model: Network = field(repr=False)
    info: ModelInfo = field(repr=False)

    @property
    def folder(self) -> Path:
        return weights_folder(self.path, self.kind)

    def description(self) -> Description:
        return Description(
            architecture=self.model.config["architecture"],
            width=float(self.model.config["width"]),
            classes=self.info.classes,
            size=self.info.size,
            mean=self.info.mean,
            std=self.info.std,
            precision="float32",
            input="normalized",
            data={},
        )

    def identity(self) -> dict[str, Any]:
        """As JSON reads it again."""
        found = self.description()
        return {
            "sha256": _sha256(read_bytes(self.folder / WEIGHTS, MOST_BYTES)),
            "architecture": found.architecture,
            "width": found.width,
            "classes": list(found.classes),
            "size": list(found.size),
            "mean": list(found.mean),
            "std": list(found.std),
        }


def write_bundle(
    path: Path,
    out: Path,
    *,
    weights: str = "last",
    overrides: Sequence[str] = (),
    test_top1: Mapping[str, Any] | None = None,
    say: Say,
) -> dict[str, Any]:
    """Write the ONNX files of trained weights into ``out``, and ``bundle.json``, which says what
    they are of; returns its values, and as ``export`` how each file compares with the network.

    ``path`` and ``weights`` as ``load`` takes them. There is no int8 file where the training data,
    with ``overrides``, cannot be read or its answers are not the network's, and no activation file
    where the network's head has no maps; ``say`` is told. Files of these names are replaced.
    ``test_top1`` is passed on to the page; by default that of a run.

    Raises ``InputError`` where the extra ``onnx`` is missing, or the weights or the data that
    ``overrides`` name cannot be read; ``CheckFailed`` where a file that must be there is not right.
    """
    FORMATS["onnx"].check()
    check_folder(out, "--out")
    found = _Weights(path, weights, *load(path, weights))
    with work_folder(out) as partial:
        exported = partial / "export"
        value = _export(found, exported, overrides, say)
        made = [Path(file["files"][0]).name for file in value["files"]]
        for name in made:
            _without_places(exported / name, partial / name)
        maps = activation_maps(found.model, (len(found.info.mean), *found.info.size))
        if maps is None:
            say(f"no activation file: how {path} comes to its answers is not known to the page")
        else:
            _write_maps(found, partial / ACTIVATION)
            made.append(ACTIVATION)
        record = {
            "version": __version__,
            "weights": found.identity(),
            "files": {name: _facts(partial / name) for name in made},
            "activation": None if maps is None else maps.method,
            "test_top1": _test_top1(path, weights) if test_top1 is None else dict(test_top1),
        }
        (partial / RECORD).write_text(signed_json(record))
        for name in set(FILES) - set(made):
            (out / name).unlink(missing_ok=True)
        move_files([partial / name for name in (RECORD, *made)], out)
    keys = ("relative_error", "agreement", "top1", "kept_in_float")
    compared = {
        Path(file["files"][0]).name: {key: file[key] for key in keys} for file in value["files"]
    }
    return {**record, "compared": compared}


def open_bundle(
    path: Path, *, weights: str | None = None, overrides: Sequence[str] = (), say: Say
) -> Bundle:
    """The bundle of a run, of weights or of an exported ``.onnx`` file, which is then all of it.

    Files that lie ready beside the weights and are of them are taken; else they are made in a
    temporary folder, which is gone at the end.

    Raises what ``write_bundle`` does, and ``InputError`` for a file of another format or that
    takes pixels.
    """
    if not find_weights(path).is_dir() and (path.is_file() or format_of(path)):
        return _of_file(path, weights, overrides)
    kind = weights or "last"
    found = _Weights(path, kind, *load(path, kind))
    ready = None if overrides else _ready(found, found.folder, say)
    if ready is None:
        with tempfile.TemporaryDirectory(prefix="ghostnet-small-demo-") as name:
            write_bundle(path, Path(name), weights=kind, overrides=overrides, say=say)
            ready = _ready(found, Path(name), say)
        assert ready is not None
    return ready


def _export(found: _Weights, out: Path, overrides: Sequence[str], say: Say) -> dict[str, Any]:
    try:
        return export_weights(
            found.path,
            out,
            formats=["onnx"],
            int8=True if overrides else None,
            weights=found.kind,
            overrides=overrides,
            force=True,
            say=say,
        )
    except ExportFailed as error:
        if not any(file["precision"] == "float32" for file in error.value["files"]):
            raise
        say(f"no int8 file: {error}")
        return error.value


def _write_maps(found: _Weights, path: Path) -> None:
    # It imports onnx.
    from ghostnet_small.demo.activation_file import write_activation

    folded: Network = reparameterize(found.model)  # type: ignore[assignment]
    maps = activation_maps(folded, (len(found.info.mean), *found.info.size))
    assert maps is not None
    write_activation(maps, found.description(), found.info, path)


def _without_places(file: Path, copy: Path) -> None:
    """``file`` without the folder of the training's data: whoever opens the page gets the file."""
    from ghostnet_small.demo.activation_file import without_places

    write_atomic(copy, without_places(file))


def _ready(found: _Weights, folder: Path, say: Say) -> Bundle | None:
    """The bundle of ``folder``; None, and a remark, where it is not of these weights."""
    record = folder / RECORD
    if not record.is_file():
        return None
    try:
        values = checked_json(record)
        if values["weights"] != found.identity():
            raise ValueError("they were made of other weights")
        files = {}
        for name, facts in values["files"].items():
            if name not in FILES:
                raise ValueError(f"{name!r:.40} is none of them")
            files[name] = read_bytes(folder / name, MOST_BYTES)
            if _sha256(files[name]) != facts["sha256"]:
                raise ValueError(f"{name} was changed")
        if FLOAT32 not in files:
            raise ValueError(f"{FLOAT32} is not among them")
        return Bundle(
            _name(found.path),
            found.description(),
            files,
            found.model.config,
            values["activation"],
            values["test_top1"],
            _trained_on(found.info),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        say(f"the ONNX files in {folder} are not used ({reason:.200}); others are made")
        return None


def _of_file(path: Path, weights: str | None, overrides: Sequence[str]) -> Bundle:
    form = format_of(path)
    if form is None or form.name != "onnx":
        raise InputError(
            f"{path} is no .onnx file, and the browser runs no other; give one, or the weights"
        )
    for option, given in (("--weights", weights), (" ".join(overrides), overrides)):
        if given:
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
    """Of a GhostNet; a teacher may have been exported with any size that it brings pictures to."""
    from ghostnet_small.models.registry import ARCHITECTURES

    if described.architecture not in ARCHITECTURES:
        return None
    return {
        "architecture": described.architecture,
        "width": described.width,
        "num_classes": len(described.classes),
        "in_channels": described.channels,
    }


def _test_top1(path: Path, weights: str) -> dict[str, Any] | None:
    """What a finished run found for its last weights."""
    if weights != "last" or not is_run(path):
        return None
    last = (RunFolder(path).summary() or {}).get("last", {})
    if "test_correct" not in last:
        return None
    return {
        "top1": last["test_top1"],
        "correct": last["test_correct"],
        "pictures": last["test_total"],
    }


def _trained_on(info: ModelInfo) -> str | None:
    """The data's name, unless only a folder of the user's is known."""
    data = info.recipe.get("data", {})
    source = data.get("source")
    # The default, which a root overrides.
    if not isinstance(source, str) or (data.get("root") and source == "digits"):
        return None
    return Path(source).name


def _name(path: Path) -> str:
    """Without the folders before it, which are the user's own."""
    return path.resolve().name


def _facts(file: Path) -> dict[str, Any]:
    content = read_bytes(file, MOST_BYTES)
    return {"sha256": _sha256(content), "bytes": len(content)}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
