"""The code that the pages show: fenced blocks, commands among them, and commands within text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
_FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`(ghostnet-small [^`]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it begins, its language and its text."""

    page: str
    line: int
    language: str
    text: str

    @property
    def where(self) -> str:
        """For a message."""
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str | None:
        """The name of the file that the block is, where its first line says so: ``# name.yaml``."""
        found = re.match(r"(?:#|//) ([\w-]+\.(?:yaml|c))\b", self.text)
        return found[1] if found else None

    def commands(self) -> list[str]:
        """The commands of a shell block, each on one line; those that are comments left out."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if line.strip() and not line.startswith("#")]


# tests/docs/test_extending.py follows it, in a copy of the sources.
FOLLOWED = ROOT / "docs/extending.md"


def pages() -> list[str]:
    """Every page but ``FOLLOWED``, the front page first, then the tutorials."""
    files = [ROOT / "README.md", *sorted((ROOT / "docs/tutorials").glob("*.md"))]
    others = sorted((ROOT / "docs").rglob("*.md"))
    files += [file for file in others if file not in files and file != FOLLOWED]
    return [file.relative_to(ROOT).as_posix() for file in files]


def text_of(page: str) -> str:
    """A page as it is written."""
    return (ROOT / page).read_text()


def blocks(page: str, text: str | None = None) -> Iterator[Block]:
    """The fenced blocks of a page, in its order, and commands within text as blocks of one line.

    These have the language "inline".
    """
    text = text_of(page) if text is None else text
    found = [(m.start(), m[1], m[2]) for m in _FENCE.finditer(text)]
    fenced = [range(m.start(), m.end()) for m in _FENCE.finditer(text)]
    for match in _INLINE.finditer(text):
        if not any(match.start() in part for part in fenced):
            found.append((match.start(), "inline", match[1]))
    for start, language, inner in sorted(found):
        yield Block(page, text.count("\n", 0, start) + 1, language, inner)


def loose_commands(text: str) -> list[str]:
    """Lines with a command that stand in no shell block, and so would never be run."""
    outside = _FENCE.sub(lambda m: "" if m[1] == "sh" else m[0], text)
    start = r"^(?: {4}|\t)?(?:ghostnet-small|python|torchrun|accelerate|make|pip|cc|ray) (?=\S)"
    return [
        line
        for line in outside.splitlines()
        if re.match(start, line) and (line.startswith((" ", "\t")) or "--" in line)
    ]
