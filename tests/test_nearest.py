"""The nearest of known names, in messages."""

from __future__ import annotations

import pytest

from ghostnet_small.errors import nearest


@pytest.mark.parametrize(
    ("word", "known", "said"),
    [
        ("trian", ["evaluate", "train"], "the nearest is train"),
        ("zzz", ["evaluate"], "the nearest is evaluate"),
        (3, ["1", "13"], "the nearest is 13"),
        ("x", [], "there are none"),
        # The right setting in a wrong room is no less near than a close word as a whole.
        ("q.epochs", ["train.seed", "train.epochs"], "the nearest is train.epochs"),
        ("configuration.seeed", ["data.root", "train.seed"], "the nearest is train.seed"),
    ],
)
def test_nearest(word: object, known: list[str], said: str) -> None:
    assert nearest(word, iter(known)) == said


def test_several_and_only_close_ones() -> None:
    assert nearest("ab", ["ax", "abc", "abd"], count=2) == "the nearest are abd, abc"
    assert nearest("abx", ["abc"], only_close=True) == "the nearest is abc"
    assert nearest("nowhere", ["cifar10"], only_close=True) == ""
