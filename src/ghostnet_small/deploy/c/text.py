"""Pieces of C text."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

WIDTH = 100
LARGE = 512  # numbers
BYTES = {"float": 4, "int": 4}  # of a number; other types have one


@dataclass(frozen=True)
class Table:
    """A constant table: the C type ``kind`` of its numbers, its ``name``, and the ``numbers``, with
    spaces between them.

    ``places``: its numbers are places in memory, which follow from the network's shape.
    """

    kind: str
    name: str
    numbers: str
    places: bool = False

    @property
    def count(self) -> int:
        """Return how many numbers it has."""
        return self.numbers.count(" ") + 1

    def definition(self) -> str:
        """Return the table in C; a large one begins at a cache line."""
        body = "\n".join(f"    {line}" for line in _wrapped(self.numbers.split(), WIDTH - 4))
        storage = "GNS_LARGE" if self.count >= LARGE else "GNS_TABLE"
        return f"{storage} {self.kind} {self.name}[] = {{\n{body}\n}};"


@dataclass(frozen=True)
class Code:
    """The code that depends on the network: tables and the body of the function.

    ``instances`` of the operators' macros come behind them; the working memory is of the type
    ``kind``.
    """

    instances: Sequence[str]
    tables: Sequence[Table]
    lines: Sequence[str]
    kind: str
    memory_bytes: int

    @property
    def table_bytes(self) -> int:
        """Return the size of all tables."""
        return sum(BYTES.get(table.kind, 1) * table.count for table in self.tables)

    def shared(self) -> Code:
        """Return the same code with equal tables merged; the name is that of the first."""
        first: dict[tuple[str, str], Table] = {}
        names = {
            table.name: first.setdefault((table.kind, table.numbers), table).name
            for table in self.tables
        }
        lines = [re.sub(r"\w+", lambda word: names.get(word[0], word[0]), k) for k in self.lines]
        return replace(self, tables=list(first.values()), lines=lines)


def _wrapped(texts: Sequence[str], width: int) -> Iterator[str]:
    """Yield lines of ``texts`` and commas: those of ``textwrap``, in a tenth of its time."""
    line: list[str] = []
    size = -1  # of what joins the line's words too
    for number, text in enumerate(texts, start=1):
        word = text if number == len(texts) else f"{text},"
        if line and size + 1 + len(word) > width:
            yield " ".join(line)
            line, size = [], -1
        line.append(word)
        size += 1 + len(word)
    if line:
        yield " ".join(line)


def numbers(values: Iterable[float]) -> Iterable[str]:
    """Return float32 numbers exactly, as C writes them."""
    for value in values:
        text = f"{value:.9g}"
        yield f"{text}f" if any(c in text for c in ".en") else f"{text}.0f"


def comment(text: str) -> str:
    """Return ``text`` as a comment, in which nothing ends it early."""
    safe = text.replace("*/", "* /").replace("/*", "/ *")
    lines = [line for part in safe.splitlines() for line in textwrap.wrap(part, WIDTH - 3) or [""]]
    return "/*\n" + "\n".join(f" * {line}".rstrip() for line in lines) + "\n */"


def string(text: str) -> str:
    """Return ``text`` as a C string of its UTF-8 bytes."""
    out = []
    for byte in text.encode():
        char = chr(byte)
        # A question mark is escaped, for two of them can begin a trigraph.
        plain = 32 <= byte < 127 and char not in '"\\?'
        out.append(char if plain else f"\\{byte:03o}")
    return f'"{"".join(out)}"'
