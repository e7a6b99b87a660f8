"""No figure on the pages of results is typed by hand."""

from __future__ import annotations

import re

import pytest

from docs_blocks import text_of
from docs_figures import KINDS, typed_figures

PAGES = ("README.md", "docs/results.md")


@pytest.mark.parametrize("page", PAGES)
def test_no_figure_is_typed(page: str) -> None:
    assert typed_figures(text_of(page)) == [], (
        f"{page} has figures that no program made: take them from rows (docs/results.md, 'How to "
        "check a line'), or leave them out"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_that_may_be_typed_is_used(kind: str) -> None:
    pages = "\n".join(map(text_of, PAGES))
    assert re.search(KINDS[kind], pages, re.MULTILINE)


@pytest.mark.parametrize(
    "text",
    [
        "It reaches 94.1 % on CIFAR-10.",
        "## 94.1 with GN-S 1.0",
        "| recipe | top-1 |\n|---|---|\n| ours | 91.37 |",
        "trained in 43 minutes",
        "0.48 M parameters",
        "a mean of n = 3 runs",
        "at 95 % of the price",
        "- seeds differ by 0.42 points",
        "after 0.16 epochs",
        "GN-S 1.0 % of",
        "10,000 pictures",
        "ResNet-20.5",
        "1,200 epochs",
        "> 5 runs",
        "n = 12",
        "<!-- value: x y -->91.37 % and 12 after it",
    ],
)
def test_a_typed_figure_is_found(text: str) -> None:
    assert typed_figures(text)


@pytest.mark.parametrize(
    "text",
    [
        "Python 3.11 on CIFAR-10, ResNet-20 and MobileNetV2, GN-S 1.0 and 2.8, int8, C99.",
        "<!-- value: a b -->91.37 %<!-- end value --> in 200 epochs, top-1",
        "<!-- table: a -->\n| 1.5 |\n<!-- end table -->",
        "```sh\nrun --train.epochs 30\n```\n`3.5` [a page](docs/x2.md#3)",
        "1. n = 1, a 95 % interval, the 8- and 16-epoch recipes",
    ],
)
def test_names_and_what_was_made_are_not(text: str) -> None:
    assert typed_figures(text) == []


def test_the_line_is_told() -> None:
    text = "a\n<!-- table: x -->\n1\n2\n<!-- end table -->\n\nIt is 7 %.\n"
    assert typed_figures(text) == ["7: 7 % in 'It is 7 %.'"]
