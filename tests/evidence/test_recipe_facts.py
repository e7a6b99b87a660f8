from __future__ import annotations

from pathlib import Path

import pytest

from evidence.recipe_facts import published_of, read_facts
from evidence_kit import FACTS, write_facts
from ghostnet_small.errors import InputError

ROOT = Path(__file__).parents[2]


def test_facts_are_found_by_network_and_set(tmp_path: Path) -> None:
    write_facts(tmp_path)
    facts = read_facts(tmp_path)
    assert published_of(facts, "ghostnetv3_small", 1.0, "cifar10") is facts["gns-1.0"]
    assert published_of(facts, "ghostnetv3_small", 1.0, "fashion_mnist") is None
    assert published_of(facts, "ghostnetv3_small", 2.8, "cifar10") is None
    # A network that is not ours, and a goal, are not published figures of a recipe's network.
    assert published_of(facts, None, None, "cifar10") is None
    assert [fact.top1_text for fact in facts.values()] == [
        *("91.37", "91.9 to 92.6", "94.0", "86.97")
    ]
    assert facts["resnet-20"].macs == 41e6
    assert (facts["device"].flash, facts["device"].ram) == (450_000, 128_000)


def test_without_a_file_there_are_none(tmp_path: Path) -> None:
    assert read_facts(tmp_path) == {}


@pytest.mark.parametrize(
    ("was", "now", "why"),
    [
        ("source: us", "", "goal of .* has no source"),
        (
            "kind: goal",
            "kind: hope",
            "kind of .* is hope; choose one of published, .*known, int8, goal",
        ),
        ("top1: 94.0", "top1: 194.0", "top1 of .* is 194.0; give percent"),
        ("top1: 94.0", "top1: [94.0]", "give percent, or"),
        ("macs: 41.0e6", "macs: 0", "macs of .* is 0; give a number above 0"),
        ("way: n = 3", "ways: n = 3", "'ways'"),
    ],
)
def test_a_bad_fact_is_named(was: str, now: str, why: str, tmp_path: Path) -> None:
    assert was in FACTS
    (tmp_path / "published.yaml").write_text(FACTS.replace(was, now).replace(", }", "}"))
    with pytest.raises(InputError, match=why):
        read_facts(tmp_path)


def test_the_committed_facts_agree_with_the_studies() -> None:
    """The baselines that a study's file has too."""
    from ghostnet_small.study.study_file import read_study_file

    facts = read_facts(ROOT / "results")
    study = read_study_file(ROOT / "recipes/studies/paper.yaml")
    for width, top1 in study.published["top1"]["baseline"].items():
        fact = published_of(facts, "ghostnetv3_small", width, "cifar10")
        assert fact is not None and fact.top1 == (top1, top1)
