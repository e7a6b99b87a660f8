"""The part of a table that a document shows."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import TypeVar

from ghostnet_small.errors import InputError
from ghostnet_small.report.table_cells import markdown_table

Row = TypeVar("Row")
# Titles, and the rows below them.
Table = tuple[list[str], list[list[str]]]


def selected_text(table: Table, words: Sequence[str], where: str) -> str:
    """Return the Markdown of the rows that ``words`` (``TITLE=CELL``) select.

    A column with the same cell in every row becomes a part of a sentence below the table.

    Raises ``InputError`` where a word has no such form, or selects nothing.
    """
    titles, rows = table
    for word in words:
        title, equals, value = word.partition("=")
        if not equals or title not in titles:
            raise InputError(
                f"{word!r} in {where} selects no rows; write TITLE=CELL, with one of the titles "
                f"{', '.join(titles)}"
            )
        rows = rows_with(rows, operator.itemgetter(titles.index(title)), title, value, where)
    same = [n for n in range(len(titles)) if len({row[n] for row in rows}) == 1]
    if len(rows) < 2 or len(same) == len(titles):
        return markdown_table(titles, rows)
    kept = [n for n in range(len(titles)) if n not in same]
    text = markdown_table([titles[n] for n in kept], [[row[n] for n in kept] for row in rows])
    if same:
        text += f"\n\nIn every row: {'; '.join(f'{titles[n]} {rows[0][n]}' for n in same)}."
    return text


def rows_with(
    rows: Sequence[Row], cell_of: Callable[[Row], str], title: str, value: str, where: str
) -> list[Row]:
    """Return the rows whose cell below ``title`` is ``value``.

    Raises ``InputError`` where there are none.
    """
    found = [row for row in rows if cell_of(row) == value]
    if not found:
        there = list(dict.fromkeys(map(cell_of, rows)))
        raise InputError(f"{where}: {title} is never {value!r}; choose one of {there}")
    return found
