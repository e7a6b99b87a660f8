"""A page as Markdown, its plots as image files beside it, light and dark."""

from __future__ import annotations

import re
from html import escape
from urllib.parse import quote

from ghostnet_small.report.page import Page, Plot, Table
from ghostnet_small.report.table_cells import markdown_text

# At the start of a line: a heading, a list, a quotation or a rule.
_LEADING = re.compile(r"^(\d+)([.)])|^([-+#=])")


def markdown(page: Page, folder: str) -> str:
    """The whole document; its plots are ``folder/NAME-light.svg`` and ``-dark.svg``."""
    blocks = [f"# {_line(page.title)}", *map(_line, page.about)]
    blocks += [
        _list([f"**{markdown_text(name)}**: {markdown_text(text)}" for name, text in page.facts])
    ]
    blocks += ["**Findings**", _list([_line(one) for one in page.findings])]
    for section in page.sections:
        blocks += [f"## {_line(section.title)}", *map(_line, section.text)]
        for part in section.parts:
            blocks += _table(part) if isinstance(part, Table) else [_plot(part, folder)]
    if page.small:
        versions = ", ".join(f"{name} {text}" for name, text in page.small)
        blocks.append(f"<sub>Made from the rows of the runs alone. {markdown_text(versions)}</sub>")
    return "\n\n".join(blocks) + "\n"


def _table(table: Table) -> list[str]:
    marks = ["---:" if column.numeric else "---" for column in table.columns]
    lines = [[markdown_text(column.title) for column in table.columns], marks]
    for number, row in enumerate(table.rows):
        cells = [markdown_text(text) for text in row]
        strong = [(number, place) in table.strong for place in range(len(row))]
        if table.folder:
            cells[0] = f"[{cells[0]}]({table.folder}/{quote(row[0])})"
        pairs = zip(cells, strong, strict=True)
        lines.append([f"**{text}**" if bold else text for text, bold in pairs])
    grid = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return [f"### {_line(table.caption)}", grid, *([_line(table.note)] if table.note else [])]


def _plot(plot: Plot, folder: str) -> str:
    light, dark = (f"{folder}/{plot.name}-{theme}.svg" for theme in ("light", "dark"))
    # A line break would end the block of HTML; Markdown is not read inside of it.
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img alt="{escape(plot.words)}" src="{light}"></picture>\n\n'
        f"_{markdown_text(plot.caption)}_"
    )


def _list(items: list[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _line(text: str) -> str:
    """A paragraph's text, none of which begins a block of another kind."""
    return _LEADING.sub(lambda found: _kept(found), markdown_text(text))


def _kept(found: re.Match[str]) -> str:
    return f"{found[1]}\\{found[2]}" if found[1] else f"\\{found[3]}"
