"""Docstrings and documents are plain English: no relative clause first, and the field's words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs_blocks import ROOT

# A first sentence says what the thing is or does.
RELATIVE = re.compile(r"(That which|What|Where|Whether|How|Who|Whose|Which|Of)\b")
# Images, distilled, no significant difference.
WORDS = re.compile(r"\b(pictures?|taught|told apart)\b", re.IGNORECASE)
# Their bytes decide whether decoded images in users' caches are valid.
KEPT = {"src/ghostnet_small/data/pictures.py", "src/ghostnet_small/data/decoded/decode.py"}
# Quoted, code, or a file's name; in a page also a layout, and a table's row of recorded words.
CODE = re.compile(
    r"```.*?```|`+[^`\n]+`+|--\w+|[\w/.]+\.py \w+|\]\([^)]*\)|<[^>]*>|::[^\n]*", re.DOTALL
)
RECORDED = re.compile(r"^(    |\|)[^\n]*", re.MULTILINE)


def sources() -> list[Path]:
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "tools").rglob("*.py")]
    return [file for file in sorted(files) if file.relative_to(ROOT).as_posix() not in KEPT]


def docstrings(file: Path) -> Iterator[tuple[int, str]]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, kinds) and (text := ast.get_docstring(node)):
            yield getattr(node, "lineno", 1), text


def test_docstrings_begin_with_a_noun_or_a_verb() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{line}: {text.splitlines()[0]}"
        for file in sources()
        for line, text in docstrings(file)
        if RELATIVE.match(text)
    ]
    assert found == []


def test_docstrings_use_the_fields_words() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{line}: {word[0]}"
        for file in sources()
        for line, text in docstrings(file)
        for word in WORDS.finditer(CODE.sub("", text))
    ]
    assert found == []


@pytest.mark.parametrize(
    "page", [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"], ids=lambda page: page.stem
)
def test_documents_use_the_fields_words(page: Path) -> None:
    found = [word[0] for word in WORDS.finditer(RECORDED.sub("", CODE.sub("", page.read_text())))]
    assert found == []
