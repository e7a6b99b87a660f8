"""Pieces of C text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

WIDTH = 100
LARGE = 512  # numbers


@dataclass(frozen=True)
class Code:
    """What is particular to a network: tables and the body of the function.

    ``instances`` of the operators' macros come behind them; the working memory is of the type
    ``kind``.
    """

    instances: Sequence[str]
    tables: Sequence[str]
    lines: Sequence[str]
    kind: str
    memory_bytes: int
    table_bytes: int


def array(kind: str, name: str, values: Iterable[str]) -> str:
    """The definition of a constant table, from some size on where a line of the cache begins."""
    texts = list(values)
    body = "\n".join(f"    {line}" for line in _wrapped(texts, WIDTH - 4))
    storage = "GNS_LARGE" if len(texts) >= LARGE else "GNS_TABLE"
    return f"{storage} {kind} {name}[] = {{\n{body}\n}};"


def _wrapped(texts: Sequence[str], width: int) -> Iterator[str]:
    """Lines of ``texts`` and commas: as ``textwrap`` has them, in a tenth of its time."""
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
    """Float32 numbers, exactly, as C writes them."""
    for value in values:
        text = f"{value:.9g}"
        yield f"{text}f" if any(c in text for c in ".en") else f"{text}.0f"


def comment(text: str) -> str:
    """``text`` as a comment, in which nothing ends it early."""
    safe = text.replace("*/", "* /").replace("/*", "/ *")
    lines = [line for part in safe.splitlines() for line in textwrap.wrap(part, WIDTH - 3) or [""]]
    return "/*\n" + "\n".join(f" * {line}".rstrip() for line in lines) + "\n */"


def string(text: str) -> str:
    """``text`` as a C string of its UTF-8 bytes."""
    out = []
    for byte in text.encode():
        char = chr(byte)
        # A question mark is escaped, for two of them can begin a trigraph.
        plain = 32 <= byte < 127 and char not in '"\\?'
        out.append(char if plain else f"\\{byte:03o}")
    return f'"{"".join(out)}"'
