"""A Sphinx extension for the words of our docstrings and pages.

"Raises ``X`` where ...", "Source: ..." and "Differs from the paper: ..." are plain sentences in a
docstring, and fields on a page. ``arXiv:2509.12380`` leads to its abstract.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

_RAISES = re.compile(r"^Raises ``(\w+)``,? ")
_FIELDS = ("Source", "Differs from the paper")
_FIELD = re.compile(rf"^({'|'.join(_FIELDS)}): ")
_ARXIV = re.compile(r"\barXiv:(\d{4}\.\d{4,5})\b")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    # Before napoleon, whose turn is at 500.
    app.connect("autodoc-process-docstring", _fields, priority=400)
    app.add_transform(ArxivLinks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _fields(
    app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    lines[:] = as_fields(lines)


def as_fields(lines: list[str]) -> list[str]:
    """A docstring's lines, with those paragraphs as sections and fields."""
    done: list[str] = []
    inside = ""
    for line in _one_start_a_line(lines):
        raises, field = _RAISES.match(line), _FIELD.match(line)
        if raises:
            done += ["Raises:", f"    {raises[1]}: {line[raises.end() :]}"]
            inside = "        "
        elif field:
            done += ["", f":{field[1]}: {line[field.end() :]}"]
            inside = "    "
        elif not line.strip():
            done.append(line)
            inside = ""
        else:
            done.append(inside + line)
    return done


def _one_start_a_line(lines: list[str]) -> list[str]:
    """``lines``, each start of a field at the beginning of one."""
    parts: list[str] = []
    for line in lines:
        parts += re.split(r"(?<=\S) (?=Differs from the paper: )", line)
    return parts


class ArxivLinks(SphinxTransform):
    """``arXiv:...`` in running text becomes a link."""

    default_priority = 700

    def apply(self, **kwargs: Any) -> None:
        """Replace each number that is in no link and no code."""
        for text in list(self.document.findall(nodes.Text)):
            parent = text.parent
            if _ARXIV.search(text) and not _inside(
                parent, (nodes.reference, nodes.literal, nodes.literal_block, nodes.title)
            ):
                parent.replace(text, list(_pieces(text.astext())))


def _pieces(text: str) -> list[nodes.Node]:
    found: list[nodes.Node] = []
    end = 0
    for match in _ARXIV.finditer(text):
        found.append(nodes.Text(text[end : match.start()]))
        address = f"https://arxiv.org/abs/{match[1]}"
        found.append(nodes.reference("", match[0], refuri=address))
        end = match.end()
    return [*found, nodes.Text(text[end:])]


def _inside(node: nodes.Node | None, kinds: tuple[type[nodes.Node], ...]) -> bool:
    while node is not None:
        if isinstance(node, kinds):
            return True
        node = node.parent
    return False
