"""Figures of recorded trainings in a document, with their description in words.

``<!-- picture: accuracy cifar10 -->`` and ``<!-- end picture -->``, each on its own line, enclose
one. Its words hold the values that it shows, so that a check finds a figure of other rows.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from evidence.drawn import COLOURS, Speeds, draw_accuracy, draw_curves, draw_speeds
from evidence.fields import mean_of
from evidence.recipe_facts import Fact, read_facts
from evidence.rows import (
    SEARCH,
    chosen,
    groups,
    named_rows,
    set_of,
    training_files,
    width_of,
)
from evidence.selected import rows_with
from evidence.speed_tables import BATCHES_COLUMNS, variants_of
from ghostnet_small.errors import InputError
from ghostnet_small.files import inner_folder
from ghostnet_small.report.confidence import Estimate, estimate
from ghostnet_small.report.table_cells import cell, recipe_name
from ghostnet_small.report.words import counted, spread, width_text
from ghostnet_small.run.records import Record, look, number, read_records

FOLDER = "plots"
# Of the figure of accuracy: the names of our networks, the epochs below which a training is short,
# and the multiply-accumulates above which a network is none of ours' neighbours.
OURS = {"ghostnetv3_small": "GN-S", "ghostnetv3": "GN-D"}
LONG = 45
MOST_MACS = 150e6
# What needs no title before it.
PLAIN = ("network", "image", "precision", "variant", "device")
AND = "and"
_PICTURE = re.compile(
    r"^<!-- picture: (?P<asked>.*?) -->\n"
    r".*?(?P<end>^<!-- end picture -->$|\Z|(?=^<!-- picture: ))",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Shown:
    """A figure: its description in words, and the function that draws it as PNG."""

    words: str
    draw: Callable[[Path], None]


def render_pictures(text: str, document: Path, results: Path, *, draw: bool) -> str:
    """Return ``text`` with its marked figures made again, in ``results/plots`` where ``draw``.

    Raises ``InputError`` where one has no end, or is of no known kind.
    """

    def render(found: re.Match[str]) -> str:
        asked = found["asked"]
        if not found["end"]:
            raise InputError(
                f"picture {asked!r} of {document} has no end; add a line <!-- end picture --> "
                "after it"
            )
        kind, *words = shlex.split(asked) or [""]
        if kind not in PICTURES or not words:
            raise InputError(
                f"{document} has an unknown picture {asked!r}; write accuracy SET, "
                "curves NAME KEY=VALUE ... [and KEY=VALUE ...] or speed NAME [TITLE=CELL ...]"
            )
        shown = PICTURES[kind](results, words)
        file = results / FOLDER / f"{_slug(asked)}.png"
        if draw:
            inner_folder(file.parent)
            shown.draw(file)
        link = Path(os.path.relpath(file, document.parent)).as_posix()
        return f"<!-- picture: {asked} -->\n\n![{shown.words}]({link})\n\n{found['end']}"

    return _PICTURE.sub(render, text)


def accuracy_picture(results: Path, words: Sequence[str]) -> Shown:
    """Top-1 against multiply-accumulates on the set that is the one of ``words``: ours, published
    figures, and those of other networks of up to ``MOST_MACS``.

    Ours are, of each width, from scratch and distilled, the recipe that is best by validation,
    of ``LONG`` epochs or more on all images. Other runs are in the table ``accuracy``.
    """
    (of_set,) = words if len(words) == 1 else ("",)
    ours = {_network(runs): runs for runs in _best(results, of_set)}
    facts = [fact for fact in read_facts(results).values() if fact.set == of_set]
    facts = [fact for fact in facts if fact.kind == "published" or _is_small(fact)]
    if not ours and not facts:
        raise InputError(f"nothing is recorded or known of the set {of_set!r}; name one other set")
    lines = [f"Top-1 on {of_set} against multiply-accumulates of the deployed network."]
    for network, runs in ours.items():
        top1 = spread(mean_of(runs, "test_top1"))
        lines.append(f"{network}, ours ({_label(runs)}): {top1} %.")
    lines += [f"{fact.what} ({fact.kind}): {fact.top1_text} %." for fact in facts]
    shown = {
        f"{network}, ours: {spread(mean_of(runs, 'test_top1'))} (n = {len(runs)})": runs
        for network, runs in ours.items()
    }
    return Shown(_alt(lines), lambda path: draw_accuracy(shown, facts, of_set, path))


def _is_small(fact: Fact) -> bool:
    return fact.kind == "known" and fact.macs is not None and fact.macs <= MOST_MACS


def _best(results: Path, of_set: str) -> list[Sequence[Record]]:
    """Runs of the recipe that is best by validation, of each of our networks, without and with
    teachers."""
    rows = [
        row
        for name, file in training_files(results).items()
        if not name.startswith(SEARCH)
        for row in read_records(file)
        if set_of(row) == of_set
        and look(row, "recipe", "model", "name") in OURS
        and look(row, "recipe", "data", "limit") is None
        and len(row["epochs"]) >= LONG
    ]
    found: dict[str, tuple[float, Sequence[Record]]] = {}
    for runs in groups(rows):
        validation = mean_of(runs, "validation_top1")
        network = _network(runs)
        if validation and (network not in found or found[network][0] < validation.mean):
            found[network] = validation.mean, runs
    return [runs for _, runs in found.values()]


def _network(runs: Sequence[Record]) -> str:
    name = OURS[str(look(runs[0], "recipe", "model", "name"))]
    distilled = ", distilled" if look(runs[0], "distill") else ""
    return f"{name} {width_text(width_of(runs[0]))}{distilled}"


def curves_picture(results: Path, words: Sequence[str]) -> Shown:
    """Training and validation top-1 by epoch of chosen groups of runs.

    ``words`` are a file of trainings and, for each group with ``and`` between, its keys.
    """
    name, *rest = words
    rows = named_rows(results, name)
    asked: list[list[str]] = [[]]
    for word in rest:
        if word == AND:
            asked.append([])
        else:
            asked[-1].append(word)
    found = [chosen(rows, keys, f"picture 'curves {name}'") for keys in asked]
    curves = {
        _label(runs): {split: _curve(runs, split) for split in ("train", "validation")}
        for runs in found
    }
    lines = ["Top-1 by epoch, at the last one."]
    for label, splits in curves.items():
        ends = [f"{split} {spread(curve[-1][1])} %" for split, curve in splits.items() if curve]
        lines.append(f"{label}: {', '.join(ends)}.")
    return Shown(_alt(lines), lambda path: draw_curves(curves, path))


def speed_picture(results: Path, words: Sequence[str]) -> Shown:
    """Images per second by batch size, and the fixed cost of a step.

    ``words`` are a file of ``benchmark train --batches``, and ``TITLE=CELL`` of the variants that
    are shown. A line's label is what it does not share with the others.
    """
    name, *asked = words
    where, file = f"picture 'speed {name}'", results / f"{name}.jsonl"
    if not file.is_file():
        raise InputError(
            f"{where} shows {file}, which does not exist; record it with ghostnet-small benchmark "
            f"train --batches 16,64,256 --record {file}"
        )
    lines = [
        ({title: shown(*line) for title, shown in BATCHES_COLUMNS.items()}, line[1])
        for line in variants_of(file)
    ]
    for word in asked:
        title, equals, value = word.partition("=")
        if not equals or title not in BATCHES_COLUMNS:
            raise InputError(
                f"{word!r} in {where} chooses nothing; write TITLE=CELL, of "
                f"{', '.join(BATCHES_COLUMNS)}"
            )
        lines = rows_with(lines, partial(_cell, title), title, value, where)
    if len(lines) > len(COLOURS):
        raise InputError(
            f"{where} has {len(lines)} lines; choose at most {len(COLOURS)} of them by TITLE=CELL, "
            f"of {', '.join(BATCHES_COLUMNS)}"
        )
    apart = [title for title in BATCHES_COLUMNS if len({cells[title] for cells, _ in lines}) > 1]
    speeds: Speeds = {}
    for cells, variant in lines:
        shown = [_titled(title, cells[title]) for title in apart or ["variant"]]
        speeds[", ".join(shown)] = variant
    told = ["Images per second by batch size, and the fixed cost of a step."]
    for label, variant in speeds.items():
        of_batches = variant["batches"].items()
        figures = [f"{cell(found['images_per_s'])} at {batch}" for batch, found in of_batches]
        told.append(f"{label}: {', '.join(figures)}; fixed {cell(variant['fixed_ms'])} ms.")
    shared = [title for title in BATCHES_COLUMNS if title not in apart]
    told.append(f"All: {', '.join(_titled(title, lines[0][0][title]) for title in shared)}.")
    return Shown(_alt(told), lambda path: draw_speeds(speeds, path))


def _cell(title: str, line: tuple[dict[str, str], Record]) -> str:
    return line[0][title]


def _titled(title: str, text: str) -> str:
    return text if title in PLAIN else f"{title} {text}"


def _label(runs: Sequence[Record]) -> str:
    """Return the label of runs in a figure, with n and their epochs, which may be fewer than the
    recipe's.
    """
    name = look(runs[0], "study", "strategy") or recipe_name(runs[0])
    epochs = counted(len(runs[0]["epochs"]), "epoch")
    return f"{name}{'' if epochs in name else f', {epochs}'} (n = {len(runs)})"


def _curve(runs: Sequence[Record], split: str) -> list[tuple[int, Estimate]]:
    """Means over the runs, of the epochs that have the figure."""
    curve = []
    for epochs in zip(*(run["epochs"] for run in runs), strict=False):
        values = [number(epoch, f"{split}_top1") for epoch in epochs]
        mean = estimate([value for value in values if value is not None])
        if mean is not None:
            curve.append((epochs[0]["epoch"], mean))
    return curve


def _alt(lines: Sequence[str]) -> str:
    return " ".join(lines).replace("[", "(").replace("]", ")")


def _slug(asked: str) -> str:
    """Return a file's name: the words and values that are asked for, without their keys."""
    values = re.sub(rf"\b\w+=|\b{AND}\b", " ", asked.lower())
    return re.sub(r"[^a-z0-9.]+", "-", values).strip("-.")[:100]


PICTURES: dict[str, Callable[[Path, Sequence[str]], Shown]] = {
    "accuracy": accuracy_picture,
    "curves": curves_picture,
    "speed": speed_picture,
}
