"""A page as one HTML file that loads nothing."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from urllib.parse import quote

from ghostnet_small.report.css import CSS
from ghostnet_small.report.page import Page, Plot, Section, Table

# A cell of more characters is set in several lines.
MOST_ON_A_LINE = 28
# A table of more rows may be printed on two pages.
MOST_ON_A_PAGE = 14


def html(
    page: Page,
    drawings: Mapping[str, str],
    *,
    kind: str = "Report of a study",
    made: str = "Made from the rows of the runs alone. ",
    css: str = "",
) -> str:
    """The whole document; ``drawings`` are the plots as HTML by name, ``made`` says from what the
    figures are, and ``css`` are rules beside those of every page."""
    title = escape(page.title)
    links = "\n".join(
        f'<li><a href="#{section.anchor}">{escape(section.title)}</a></li>'
        for section in page.sections
    )
    facts = "\n".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in page.facts
    )
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{title}: {kind.lower()}</title>",
        f"<style>\n{CSS}{css}</style>",
        "</head>",
        "<body>",
        "<header>",
        f'<p class="kind">{kind}</p>',
        f"<h1>{title}</h1>",
        *(f'<p class="about">{escape(text)}</p>' for text in page.about),
        '<section class="findings" aria-labelledby="findings">',
        '<h2 id="findings">Findings</h2>',
        "<ul>",
        *(f"<li>{escape(text)}</li>" for text in page.findings),
        "</ul>",
        "</section>",
        f'<dl class="facts">\n{facts}\n</dl>',
        f'<nav aria-label="Sections">\n<ul>\n{links}\n</ul>\n</nav>',
        "</header>",
        "<main>",
        *(_section(section, drawings) for section in page.sections),
        "</main>",
        "<footer>",
        f"<p>{escape(made + _versions(page))}</p>",
        "</footer>",
        "</body>",
        "</html>",
    ]
    return "\n".join(lines) + "\n"


def _versions(page: Page) -> str:
    return ", ".join(f"{name} {text}" for name, text in page.small)


def _section(section: Section, drawings: Mapping[str, str]) -> str:
    parts = [
        _table(part, f"{section.anchor}-{number}")
        if isinstance(part, Table)
        else _plot(part, drawings[part.name])
        for number, part in enumerate(section.parts)
    ]
    text = [f"<p>{escape(one)}</p>" for one in section.text]
    head = f'<h2 id="{section.anchor}">{escape(section.title)}</h2>'
    opened = f'<section aria-labelledby="{section.anchor}">'
    return "\n".join([opened, head, *text, *parts, "</section>"])


def _table(table: Table, anchor: str) -> str:
    heads = "".join(
        f'<th scope="col"{_kind(column.numeric)}>{escape(column.title)}</th>'
        for column in table.columns
    )
    whole = " whole" if len(table.rows) <= MOST_ON_A_PAGE else ""
    lines = [
        # It scrolls by itself where it is wider than the page, and so by keyboard.
        f'<div class="scroll{whole}" tabindex="0" role="region" aria-labelledby="{anchor}">',
        "<table>",
        f'<caption id="{anchor}"><span>{escape(table.caption)}</span></caption>',
        f"<thead><tr>{heads}</tr></thead>",
        "<tbody>",
    ]
    for number, row in enumerate(table.rows):
        if number in table.starts:
            lines += ["</tbody>", "<tbody>"]
        cells = [
            f"<td{_kind(column.numeric, text, (number, place) in table.strong)}>{escape(text)}</td>"
            for place, (column, text) in enumerate(zip(table.columns, row, strict=True))
        ]
        name = escape(row[0])
        if table.folder:
            name = f'<a href="{table.folder}/{quote(row[0])}">{name}</a>'
        heading = f'<th scope="row"{_kind(False, row[0])}>{name}</th>'
        lines.append(f"<tr>{heading}{''.join(cells[1:])}</tr>")
    lines += ["</tbody>", "</table>", "</div>"]
    if table.note:
        lines.append(f'<p class="note">{escape(table.note)}</p>')
    return "\n".join(lines)


def _kind(numeric: bool, text: str = "", strong: bool = False) -> str:
    kinds = {"number": numeric, "long": len(text) > MOST_ON_A_LINE, "strong": strong}
    names = " ".join(name for name, holds in kinds.items() if holds)
    return f' class="{names}"' if names else ""


def _plot(plot: Plot, drawing: str) -> str:
    caption = f"<figcaption>{escape(plot.caption)}</figcaption>"
    place = f'<div class="plot" tabindex="0" role="group" aria-label="Plot: {plot.name}">'
    return f"<figure>\n{place}\n{drawing}\n</div>\n{caption}\n</figure>"
