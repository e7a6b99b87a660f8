"""Committed results: the weights still give their record's count, the tables show the records."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from evidence.ship import ROUNDING
from evidence.tables import render_tables
from ghostnet_small import cli
from ghostnet_small.data.dataset import normalize
from ghostnet_small.demo.opened import open_bundle
from ghostnet_small.models.weights import load
from ghostnet_small.publish.card import model_card, runs_of
from ghostnet_small.publish.weight_records import shipped_facts
from ghostnet_small.recipe.recipe import terms
from ghostnet_small.recipe.shareable import portable_recipe, portable_record
from ghostnet_small.report.study_report import report_study
from ghostnet_small.run.records import read_records
from ghostnet_small.use.classifier import open_classifier
from makers import uneven_pictures

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
WEIGHTS = sorted(path.parent for path in (RESULTS / "weights").glob("*/config.json"))
DOCUMENTS = sorted(
    file.relative_to(ROOT)
    for file in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("results/*.md"))
    if re.search("<!-- (table|value|picture):", file.read_text())
)


def test_there_are_tables() -> None:
    assert {Path("README.md"), Path("docs/results.md"), Path("results/runs.md")} <= set(DOCUMENTS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_tables_are_generated_from_the_records(document: Path) -> None:
    assert render_tables(ROOT / document, RESULTS, check=True), (
        f"{document} differs from its records; run: python tools/maintain.py tables {document}"
    )


STUDIES = sorted(path.parent for path in RESULTS.glob("*/study.yaml"))


def test_there_is_a_study() -> None:
    assert STUDIES


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.name)
def test_reports_are_generated_from_the_rows(study: Path, tmp_path: Path) -> None:
    for name in ("study.yaml", "results.jsonl", "failed.jsonl"):
        shutil.copy(study / name, tmp_path)
    report_study(tmp_path)
    assert (tmp_path / "report.md").read_text() == (study / "report.md").read_text()
    fresh, committed = (_without_plots(folder / "report.html") for folder in (tmp_path, study))
    assert fresh == committed, f"write it again with: ghostnet-small report results/{study.name}"
    names = {path.name for path in (study / "plots").iterdir()}
    assert names == {path.name for path in (tmp_path / "plots").iterdir()}


def _without_plots(page: Path) -> str:
    """A page less its drawings, which another Matplotlib draws in other numbers."""
    text, count = re.subn(r"<svg.*?</svg>", "", page.read_text(), flags=re.DOTALL)
    assert count
    return text


# Large weights ship without (`ship --no-demo`): their files take more than they do.
WITHOUT_DEMO = {"ghostnetv3_small_w2.8_cifar10"}
DEMOS = [folder for folder in WEIGHTS if folder.name not in WITHOUT_DEMO]


def test_there_are_weights() -> None:
    assert WEIGHTS
    assert DEMOS


@pytest.mark.parametrize("folder", WEIGHTS, ids=lambda path: path.name)
def test_weights_have_the_record_and_the_card_that_ship_writes(folder: Path) -> None:
    model, info = load(folder)
    facts = shipped_facts(folder)
    assert facts is not None
    records = read_records(RESULTS / facts["results"])
    again = (
        f"write it again with: python tools/maintain.py ship {folder.relative_to(ROOT)} ... --force"
    )
    # The weights' own recipe says nothing of teachers, which others do not have.
    found = [one for one in records if portable_record(one) == facts["record"]]
    assert len(found) == 1, again
    (record,) = found
    assert terms(portable_recipe(record["recipe"])) == terms(info.recipe)
    assert facts["runs"] == runs_of(record, records), again
    assert abs(facts["evaluation"]["correct"] - record["last"]["test_correct"]) <= ROUNDING
    card = model_card(folder.name, model.config, info, facts)
    assert (folder / "README.md").read_text() == card, again


@pytest.mark.parametrize("folder", DEMOS, ids=lambda path: path.name)
def test_weights_have_the_files_of_the_demo_made_of_them(folder: Path) -> None:
    def say(text: str) -> None:
        raise AssertionError(f"made anew: {text}")

    # Files that belong to other weights would be made anew, and that is told.
    bundle = open_bundle(folder, say=say)
    assert set(bundle.files) == {"model.onnx", "model.int8.onnx", "activation.onnx"}
    model, info = load(folder)
    images = uneven_pictures(16, len(info.mean), *info.size)
    with torch.inference_mode():
        logits = model(normalize(images, info.mean, info.std))
    for name, bound in (("model.onnx", 1e-4), ("model.int8.onnx", 0.2)):
        error = (open_classifier(folder / name).logits(images) - logits).abs().max()
        assert error <= bound * logits.abs().max(), name


@pytest.mark.parametrize("folder", WEIGHTS, ids=lambda path: path.name)
def test_weights_give_their_record(
    folder: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    _, info = load(folder)
    facts = shipped_facts(folder)
    assert facts is not None
    record = facts["record"]
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
