"""A report as data, which HTML and Markdown both render, so that they cannot disagree."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """A column's title, and whether it holds numbers, which stand at the right."""

    title: str
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """Cells of plain text; ``starts`` are the rows that begin a group.

    ``strong`` are cells, by row and column, that stand out. The first cell of a row is its heading;
    it names a file that lies in ``folder``, seen from the page, where that is given.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    starts: frozenset[int] = frozenset()
    strong: frozenset[tuple[int, int]] = frozenset()
    folder: str = ""


@dataclass(frozen=True)
class Plot:
    """A plot by the name of its file; ``words`` describe it for readers who cannot see it."""

    name: str
    caption: str
    words: str


@dataclass(frozen=True)
class Section:
    """A heading, the text below it, and its tables and plots in order."""

    anchor: str
    title: str
    text: tuple[str, ...] = ()
    parts: tuple[Table | Plot, ...] = ()


@dataclass(frozen=True)
class Page:
    """The whole report: the head with its facts and findings, then the sections."""

    title: str
    about: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    findings: tuple[str, ...]
    sections: tuple[Section, ...]
    small: tuple[tuple[str, str], ...]  # at the end, in small print


def table(
    caption: str,
    columns: list[Column],
    rows: list[list[str]],
    note: str = "",
    starts: frozenset[int] = frozenset(),
    strong: frozenset[tuple[int, int]] = frozenset(),
    folder: str = "",
) -> Table:
    """A table whose rows are as long as its columns."""
    assert all(len(row) == len(columns) for row in rows), caption
    return Table(caption, tuple(columns), tuple(map(tuple, rows)), note, starts, strong, folder)
