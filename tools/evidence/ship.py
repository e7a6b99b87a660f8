"""Check trained weights, and ship them with their record and their card."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ghostnet_small.errors import InputError
from ghostnet_small.files import (
    check_folder,
    move_files,
    signed_json,
    work_folder,
    write_atomic,
)
from ghostnet_small.hub.models import CARD, CONFIG, WEIGHTS
from ghostnet_small.models.ghostnetv3 import GhostNetV3
from ghostnet_small.models.registry import NAMES
from ghostnet_small.models.weights import ModelInfo, load, save_model
from ghostnet_small.nn.fold import is_folded
from ghostnet_small.publish.card import facts_of, model_card
from ghostnet_small.publish.weight_records import RECORD, shipped_facts
from ghostnet_small.recipe.recipe import terms
from ghostnet_small.recipe.shareable import portable_info, portable_record
from ghostnet_small.run.records import Record, append_record, read_records
from ghostnet_small.run.run_folder import RunFolder
from ghostnet_small.use.agreement import CheckFailed
from ghostnet_small.use.evaluation import evaluate_classifier

# Processors round differently, and an image on the edge between two classes may change its class.
ROUNDING = 3

Say = Callable[[str], None]


def ship_weights(
    path: Path,
    results_file: Path,
    *,
    name: str | None = None,
    to: Path,
    overrides: Sequence[str] = (),
    force: bool = False,
    say: Say,
) -> dict[str, Any]:
    """Put the last weights of ``path``, a finished run's folder or weights that were recorded, into
    ``to/name`` with ``record.json`` and a card, ``README.md``.

    They are evaluated on their test split (with ``overrides`` for where the data lie) before, and
    must give the count of their record in ``results_file``; a run that is not in it yet is
    appended. ``record.json`` holds the record, the figures of the other runs of its recipe, and
    what the evaluation found; none of them names a folder of this machine. Without ``name`` it is
    made of the network, its width and its data.

    Raises ``InputError``, before any work, for a name that is taken or cannot be one, for folded
    weights, and for a record that is missing or of changed code; ``CheckFailed`` where the count
    is another.
    """
    model, info = load(path)
    if isinstance(model, GhostNetV3) and is_folded(model):
        raise InputError(
            f"the weights of {path} are folded, and cannot be trained further; ship the run's"
        )
    records = read_records(results_file) if results_file.exists() else []
    record, new = _record(path, info, records, results_file)
    info = portable_info(info, record["data"]["fingerprint"])
    name = _name(info, model.config) if name is None else name
    folder = to / name
    _check_name(name, folder, force)
    say(f"evaluating {path} on its test split")
    found = evaluate_classifier(path, overrides=overrides, say=say)
    del found["confusion"]  # many numbers, which no card shows
    _compare(found, record, path)
    facts = {
        **facts_of(record, [*records, record] if new else records, found),
        "results": _place(results_file, to),
    }
    with work_folder(folder) as partial:
        save_model(model, info, partial)
        write_atomic(partial / RECORD, signed_json(facts))
        write_atomic(partial / CARD, model_card(name, model.config, info, facts))
        move_files([partial / one for one in (CONFIG, WEIGHTS, RECORD, CARD)], folder)
    if new:
        append_record(record, results_file)
    return {
        "name": name,
        "folder": str(folder),
        "results": str(results_file),
        "recorded": new,
        **{key: found[key] for key in ("split", "top1", "correct", "total")},
        "runs": len(facts["runs"]),
    }


def _place(results_file: Path, to: Path) -> str:
    """Return where the records are, seen from the folder that holds the weights' folder ``to``."""
    file, results = results_file.resolve(), to.resolve().parent
    return file.relative_to(results).as_posix() if results in file.parents else file.name


def _name(info: ModelInfo, config: dict[str, Any]) -> str:
    source = Path(info.recipe["data"]["source"]).name.lower()
    width = f"_w{float(config['width'])}" if config["architecture"].startswith("ghostnet") else ""
    return f"{config['architecture']}{width}_{re.sub('[^a-z0-9]+', '_', source)}"


def _check_name(name: str, folder: Path, force: bool) -> None:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", name) or name in NAMES:
        raise InputError(
            f"--name {name} cannot be the name of weights; give small letters, digits, '_', '.' "
            "and '-', and no network's own name, such as ghostnetv3_small_w1.0_cifar10"
        )
    check_folder(folder, "--to")
    if folder.exists() and not force:
        raise InputError(f"{folder} exists; give --force to replace it, or another --name")


def _record(
    path: Path, info: ModelInfo, records: Sequence[Record], results_file: Path
) -> tuple[Record, bool]:
    """The record of the weights of ``path``, and whether ``records`` lack it."""
    if (path / "last" / CONFIG).is_file():
        record: Record = RunFolder.open(path).finished()
        new = record not in records
    else:
        shipped = shipped_facts(path)
        found = [
            one
            for one in records
            if (
                terms(one["recipe"]) == terms(info.recipe)
                if shipped is None
                # Shipped recipes say nothing of teachers.
                else portable_record(one) == shipped["record"]
            )
        ]
        if len(found) != 1:
            raise InputError(
                f"{results_file} holds {len(found)} runs of the recipe and seed of {path}; give "
                "the folder of the run itself, or the file with its record"
            )
        record, new = found[0], False
    if not record["commit"] or record["dirty"]:
        raise InputError(
            f"the run of {path} was made by code that no commit holds (commit "
            f"{record['commit']}, changed: {record['dirty']}); commit, and train again"
        )
    return record, new


def _compare(found: dict[str, Any], record: Record, path: Path) -> None:
    last = record["last"]
    if "test_correct" not in last:
        raise InputError(f"the record of {path} has no test figures; ship one with a test split")
    counts = (found["correct"], found["total"]), (last["test_correct"], last["test_total"])
    if counts[0][1] != counts[1][1] or abs(counts[0][0] - counts[1][0]) > ROUNDING:
        raise CheckFailed(
            f"the weights of {path} give {counts[0][0]:,} of {counts[0][1]:,} on the test split, "
            f"and their record says {counts[1][0]:,} of {counts[1][1]:,}; they are not shipped"
        )
