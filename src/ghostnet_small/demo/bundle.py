"""The ONNX files that the page runs, made of weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ghostnet_small.demo.activation import activation_maps
from ghostnet_small.demo.chosen import ACTIVATION, FILES, MOST_BYTES, RECORD, Chosen, sha256
from ghostnet_small.deploy.formats import FORMATS
from ghostnet_small.files import (
    check_folder,
    move_files,
    read_bytes,
    signed_json,
    work_folder,
    write_atomic,
)
from ghostnet_small.models.network import Network
from ghostnet_small.nn.fold import reparameterize
from ghostnet_small.use.export import ExportFailed, export_weights
from ghostnet_small.version import __version__

COMPARED = ("relative_error", "agreement", "top1", "kept_in_float")

Say = Callable[[str], None]


def write_bundle(
    path: Path,
    out: Path,
    *,
    weights: str = "last",
    overrides: Sequence[str] = (),
    test_top1: Mapping[str, Any] | None = None,
    say: Say,
) -> dict[str, Any]:
    """Write ``model.onnx``, ``model.int8.onnx`` and ``activation.onnx`` of trained weights into
    ``out``, and ``bundle.json``, which describes them; returns its values, and, as
    ``compared``, how each file compares with the network.

    ``path`` and ``weights`` as ``load`` takes them. There is no int8 file where the training data
    cannot be read or where its answers are not the network's, and no activation file where the
    network's head has no maps; ``say`` is told. ``overrides`` name the data as
    ``export`` takes them, and make them required. Files of these names are replaced, all at once.
    ``test_top1``, of ``top1`` (%), ``correct`` and ``pictures``, is for the page to show; by
    default it is the result of the weights' run.

    Raises ``InputError`` where the extra ``onnx`` is missing, or the weights, or the data that
    ``overrides`` name, cannot be read; ``CheckFailed`` where a file that must be there is not
    right. Nothing is written then.
    """
    FORMATS["onnx"].check()
    check_folder(out, "--out")
    chosen = Chosen.read(path, weights)
    maps = activation_maps(chosen.model, chosen.picture)
    if test_top1 is None:
        test_top1 = chosen.test_top1()
    with work_folder(out) as partial:
        compared = _export(chosen, partial / "export", overrides, say)
        for name in compared:
            _without_places(partial / "export" / name, partial / name)
        if maps is None:
            say(
                f"no activation file: the maps of {chosen.description().architecture} are not known"
            )
        else:
            compared[ACTIVATION] = _write_maps(chosen, partial / ACTIVATION)
        record = {
            "version": __version__,
            "weights": chosen.identity(),
            "files": {name: _facts(partial / name) for name in compared},
            "activation": None if maps is None else maps.method,
            "test_top1": None if test_top1 is None else dict(test_top1),
        }
        write_atomic(partial / RECORD, signed_json(record))
        for name in set(FILES) - set(compared):
            (out / name).unlink(missing_ok=True)
        move_files([partial / name for name in (RECORD, *compared)], out)
    return {**record, "compared": compared}


def _export(
    chosen: Chosen, out: Path, overrides: Sequence[str], say: Say
) -> dict[str, dict[str, Any]]:
    """Return how each file of ``out`` compares, by its name."""
    try:
        value = export_weights(
            chosen.path,
            out,
            formats=["onnx"],
            int8=True if overrides else None,
            weights=chosen.kind,
            overrides=overrides,
            say=say,
        )
    except ExportFailed as error:
        value = error.value
        if not any(file["precision"] == "float32" for file in value["files"]):
            raise
        say(f"no int8 file: {error}")
    return {
        Path(one["files"][0]).name: {key: one[key] for key in COMPARED} for one in value["files"]
    }


def _write_maps(chosen: Chosen, path: Path) -> dict[str, Any]:
    # It imports onnx.
    from ghostnet_small.demo.activation_file import write_activation

    folded: Network = reparameterize(chosen.model)  # type: ignore[assignment]
    maps = activation_maps(folded, chosen.picture)
    assert maps is not None
    return write_activation(maps, chosen.description(), chosen.info, path)


def _without_places(file: Path, copy: Path) -> None:
    """Copy ``file`` without the folder of the training data: visitors of the page get the copy."""
    from ghostnet_small.demo.activation_file import without_places

    write_atomic(copy, without_places(file))


def _facts(file: Path) -> dict[str, Any]:
    content = read_bytes(file, MOST_BYTES)
    return {"sha256": sha256(content), "bytes": len(content)}
