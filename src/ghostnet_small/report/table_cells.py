"""Rows and values as the tables of documents write them."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

# What GitHub's Markdown gives a meaning to, bare addresses too; `<`, `>` and `&` become entities
# before.
_SPECIAL = re.compile(r"([\\`*_\[\]|~$]|:(?=//)|(?<=www)\.)", re.IGNORECASE)


def markdown_table(titles: list[str], rows: list[list[str]]) -> str:
    """A table of Markdown."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def markdown_text(text: str) -> str:
    """Return untrusted ``text`` escaped for a line of Markdown, which shows it as it is."""
    return _SPECIAL.sub(r"\\\1", escape(" ".join(text.splitlines()), quote=False))


def markdown_code(text: str) -> str:
    """``text`` as code within a line, also in a table."""
    fence, pad = "`" * (_longest(text) + 1), " " if "`" in text else ""
    inner = " ".join(text.splitlines()).replace("|", r"\|")
    return f"{fence}{pad}{inner}{pad}{fence}"


def markdown_block(text: str, language: str) -> str:
    """Return ``text`` as a block of code, which nothing in it can end."""
    fence = "`" * max(3, _longest(text) + 1)
    return f"{fence}{language}\n{text}{fence}"


def _longest(text: str) -> int:
    """Return the length of the longest row of backticks."""
    return max(map(len, re.findall("`+", text)), default=0)


def cell(value: Any) -> str:
    """Return a value as a table shows it: three digits of a small number, a large one as an
    integer.
    """
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value).replace("|", r"\|")


def mean_text(values: Sequence[float]) -> str:
    """The one value, or mean and sample standard deviation of several."""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"


def spread(runs: Sequence[Mapping[str, Any]]) -> str:
    """``n = 3: 87.16 ± 0.42``, test top-1 in %; ± is the sample deviation."""
    return f"n = {len(runs)}: {mean_text([run['test_top1'] for run in runs])}"


def both_forms_text(sizes: Mapping[str, int]) -> str:
    """Return the sizes of the training form and of the deployed one."""
    return f"{sizes['training']:,} / {sizes['deployed']:,}"


def time_text(seconds: float) -> str:
    """``43 min``, ``1 h 04 min``."""
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def device_text(device: Mapping[str, Any]) -> str:
    """A record's device: its name, and of a CPU the threads."""
    if device["kind"] != "cpu":
        return str(device["name"])
    return f"{device['name']}, {device['threads']} thread{'' if device['threads'] == 1 else 's'}"


def recipe_cell(record: Mapping[str, Any]) -> str:
    """Return ``recipe_name`` for a Markdown table, with the data that its network was pre-trained
    on: no row may be read without it."""
    data = record.get("beginning", {}).get("pretrained_on")
    pretrained = f" (pre-trained on {data})" if data else ""
    return f"{recipe_name(record)}{pretrained}".replace("|", r"\|")


def recipe_name(record: Mapping[str, Any]) -> str:
    """Return a record's recipe for tables: its name, or the beginning of its hash."""
    return str(record["recipe"].get("name") or record["recipe_hash"][:8])
