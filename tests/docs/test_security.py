"""Each line of the page on security names a test that there is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "security.md").read_text()
ROWS = re.findall(r"^\| (?!from a stranger|-)(.+?) \|.*\| `([^`]+)` \|$", PAGE, re.MULTILINE)


def test_the_table_is_found() -> None:
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")]
    assert len(ROWS) == len(lines) - 1 >= 14


@pytest.mark.parametrize("named", [test for _, test in ROWS], ids=[row for row, _ in ROWS])
def test_its_test_is_there(named: str) -> None:
    file, _, name = named.partition("::")
    tree = ast.parse((TESTS / file).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
