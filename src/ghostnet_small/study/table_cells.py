"""How the tables of documents write rows and values."""

from __future__ import annotations

from typing import Any


def markdown_table(titles: list[str], rows: list[list[str]]) -> str:
    """A table of Markdown."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def cell(value: Any) -> str:
    """A value as a table shows it: three digits of a small number, no part of a large one."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value).replace("|", r"\|")
