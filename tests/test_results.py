"""Committed results: the weights still give their record's count, the tables show the records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ghostnet_small import cli
from ghostnet_small.models.weights import load
from ghostnet_small.study.recipe import terms
from ghostnet_small.study.records import read_records
from ghostnet_small.study.tables import render_tables

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
WEIGHTS = sorted(path.parent for path in (RESULTS / "weights").glob("*/config.json"))
# Processors round differently, and a picture on the edge between two classes may fall over.
ROUNDING = 3


DOCUMENTS = sorted(
    file.relative_to(ROOT)
    for file in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))
    if "<!-- table:" in file.read_text()
)


def test_there_are_tables() -> None:
    assert Path("README.md") in DOCUMENTS


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_tables_are_generated_from_the_records(document: Path) -> None:
    assert render_tables(ROOT / document, RESULTS, check=True), (
        f"{document} differs from its records; run: ghostnet-small tables {document}"
    )


def test_there_are_weights() -> None:
    assert WEIGHTS


@pytest.mark.parametrize("folder", WEIGHTS, ids=lambda path: path.name)
def test_weights_give_their_record(
    folder: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    _, info = load(folder)
    (record,) = [
        record
        for name in ("cifar10-cpu", "fashion-mnist-cpu")
        for record in read_records(RESULTS / f"{name}.jsonl")
        if terms(record["recipe"]) == terms(info.recipe)
    ]
    root = request.getfixturevalue(f"{info.recipe['data']['source']}_root")
    assert not cli.main(["evaluate", str(folder), "--data.root", str(root), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["total"] == record["last"]["test_total"] == 10_000
    assert abs(found["correct"] - record["last"]["test_correct"]) <= ROUNDING


@pytest.fixture
def fashion_mnist_root() -> Path:
    """Where Debian's package ``dataset-fashion-mnist`` puts its files."""
    root = Path("/usr/share/datasets/fashion-mnist")
    if not root.is_dir():
        pytest.skip("install Debian's package dataset-fashion-mnist")
    return root
