"""Figures from elsewhere: published ones, those of other networks, and goals.

Their file, ``published.yaml`` beside the records, is typed by hand, each figure with its source.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from ghostnet_small.errors import InputError
from ghostnet_small.recipe.recipe_file import read_yaml
from ghostnet_small.study.study_file import check_known, mapping, text

FILE = "published.yaml"
KINDS = {
    "published": "the paper's, of a network that is ours too",
    "distilled": "the paper's, of a distilled network that is ours too",
    "known": "of another network",
    "int8": "of another network in int8, as a device runs it",
    "goal": "to be reached",
}
KEYS = (
    *("what", "kind", "set", "top1", "model", "width", "params", "macs", "flash", "ram", "way"),
    "source",
)


@dataclass(frozen=True)
class Fact:
    """A figure with its source.

    ``top1`` is in %, its ends alike or those of a range; ``model`` and ``width`` name the network
    of ours that it is of; ``params`` and ``macs`` are as the source states them, None where it does
    not; so are ``flash`` and ``ram``, in bytes; ``way`` says how it was made.
    """

    name: str
    what: str
    kind: str
    set: str
    top1: tuple[float, float]
    model: str | None
    width: float | None
    params: float | None
    macs: float | None
    flash: float | None
    ram: float | None
    way: str
    source: str

    @property
    def top1_text(self) -> str:
        """The figure, or the ends of its range, as they were published."""
        low, high = self.top1
        return str(low) if low == high else f"{low} to {high}"


def read_facts(results: Path) -> dict[str, Fact]:
    """The facts beside the records in ``results``, by name, none where there is no file of them.

    Raises ``InputError`` at a bad one.
    """
    file = results / FILE
    if not file.exists():
        return {}
    written = read_yaml(file, what="facts")
    check_known(written, ("figures",), str(file))
    figures = mapping(written, "figures", str(file))
    return {name: _fact(name, values, f"{name} of {file}") for name, values in figures.items()}


def published_of(
    facts: Mapping[str, Fact], model: str | None, width: float | None, of_set: str
) -> Fact | None:
    """Return the published figure of this network, trained without a teacher on this set."""
    asked = ("published", model, width, of_set)
    return next((one for one in facts.values() if _network(one) == asked), None)


def _network(fact: Fact) -> tuple[str, str | None, float | None, str]:
    return fact.kind, fact.model, fact.width, fact.set


def _fact(name: str, values: Any, where: str) -> Fact:
    if not isinstance(values, dict):
        raise InputError(f"{where} is {values!r:.200}; it must hold {', '.join(KEYS)}")
    check_known(values, KEYS, where)
    words = {key: text(values, key, where) for key in ("what", "kind", "set", "way", "source")}
    for key, word in words.items():
        if not word:
            raise InputError(f"{where} has no {key}; a figure without it cannot be checked")
    if words["kind"] not in KINDS:
        raise InputError(f"kind of {where} is {words['kind']}; choose one of {', '.join(KINDS)}")
    top1 = values.get("top1")
    ends = top1 if isinstance(top1, list) and len(top1) == 2 else [top1, top1]
    percents = [float(end) for end in ends if _is_number(end) and 0 <= end <= 100]
    if len(percents) < 2:
        raise InputError(f"top1 of {where} is {top1!r}; give percent, or [from, to]")
    return Fact(
        name=name,
        what=str(words["what"]),
        kind=str(words["kind"]),
        set=str(words["set"]),
        top1=(percents[0], percents[1]),
        model=text(values, "model", where),
        width=_size(values, "width", where),
        params=_size(values, "params", where),
        macs=_size(values, "macs", where),
        flash=_size(values, "flash", where),
        ram=_size(values, "ram", where),
        way=str(words["way"]),
        source=str(words["source"]),
    )


def _size(values: Mapping[str, Any], key: str, where: str) -> float | None:
    size = values.get(key)
    if size is not None and not (_is_number(size) and size > 0):
        raise InputError(f"{key} of {where} is {size!r}; give a number above 0")
    return None if size is None else float(size)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
