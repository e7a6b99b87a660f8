"""Figures that a page shows and no program made."""

from __future__ import annotations

import re

# What may be typed: names and settings, of which none is a result. Each a pattern, by what it is.
KINDS = {
    "a paper": r"arXiv:\d{4}\.\d{5}",
    "a version": r"\bPython \d\.\d+",
    "a network of ours, by its widths": r"\bGN-[SD] \d\.\d(?: and \d\.\d)?\b",
    "a network, a set, a type or a measure, by its name": (
        r"\b(?:[A-Z][A-Za-z]+-?|top-|float|int|C|F|H)(?:V?\d+)(?:-[A-Z][a-z]+)?\b"
    ),
    "a size of pictures": r"\b\d+x\d+\b",
    "a number of bits": r"\b(?:32 or 8|8 or 32|8|32) bits\b",
    "epochs that a recipe asks for": r"\b\d+(?:-(?: and \d+-)?epoch|(?: of its \d+)? epochs)\b",
    "a seed": r"\bseed \d\b",
    "one run, as such": r"\bn = 1\b",
    "the confidence of all intervals": r"\b95 % interval\b",
    "a question of the page": r"\b[Qq]uestion [1-6]\b",
    "a temperature": r"\bT = \d\b",
    "the number of an item in a list": r"^\d+\. ",
}
# What is no text, or was made: code, comments and what generated marks enclose, addresses.
_MADE = (
    r"<!-- (table|picture): .*?<!-- end \1 -->",
    r"<!-- value: .*?<!-- end value -->",
    r"^```.*?^```$",
    r"`[^`\n]+`",
    r"(?<=\])\([^)\s]+\)",
    r"https?://\S+",
)


def typed_figures(text: str) -> list[str]:
    """Each figure of a page that is of none of ``KINDS``, with its line's number and text."""
    for pattern in _MADE:
        text = re.sub(pattern, _gone, text, flags=re.MULTILINE | re.DOTALL)
    for pattern in KINDS.values():
        # A part of a figure is none: 16 epochs, but not 0.16 epochs; H100, but not H100.5.
        text = re.sub(rf"(?<![\d.,])(?:{pattern})(?!\.\d| ?%)", "", text, flags=re.MULTILINE)
    return [
        f"{number}: {found[0]} in {line.strip()!r}"
        for number, line in enumerate(text.splitlines(), 1)
        for found in re.finditer(r"\d[\d.,]*(?: ?%)?", line)
    ]


def _gone(found: re.Match[str]) -> str:
    """Nothing, on as many lines."""
    return "\n" * found[0].count("\n")
