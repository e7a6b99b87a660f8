"""A fit's folder where weights are asked for: those of its last finished student."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

import ghostnet_small as gns
from ghostnet_small.demo.chosen import Chosen
from ghostnet_small.errors import InputError
from ghostnet_small.files import signed_json
from ghostnet_small.fit.fit_folder import PLANS, FitFolder
from ghostnet_small.models.fit_weights import run_of_fit
from ghostnet_small.publish.hub_card import hub_card
from ghostnet_small.recipe.recipe import Recipe, resolve_recipe
from ghostnet_small.run.run_folder import RunFolder
from ghostnet_small.study.study_plan import run_folder
from ghostnet_small.use.describe_model import describe_model
from ghostnet_small.use.training_data import TrainedOn
from makers import make_folder, summary


@pytest.fixture
def fit(tmp_path: Path) -> FitFolder:
    """The folder of a fit with two plans, of which no student is trained yet."""
    folder = FitFolder(tmp_path / "mine")
    folder.path.mkdir()
    rows = [{"student": "fit-1-s0"}, {"student": "fit-2-s0"}]
    (folder.path / PLANS).write_text(signed_json({"plans": rows}))
    return folder


def save_student(
    fit: FitFolder, name: str, *, finished: bool, recipe: Recipe | None = None
) -> Path:
    """A student's run whose first class has the run's name."""
    recipe = recipe or resolve_recipe({"data": {"source": "digits"}})
    path = run_folder(fit.study, name)
    run = RunFolder(path)
    run.create(recipe)
    torch.manual_seed(0)
    model = gns.create_model("ghostnetv3_small", width=0.1, num_classes=3)
    classes = (name, "leaf", "plum") if recipe.data.root is None else ("apple", "leaf", "plum")
    run.info = gns.ModelInfo(classes, (16, 16), (0.4,) * 3, (0.3,) * 3, recipe.as_dict())
    run.save_weights("last", model)
    if finished:
        last = {"test_top1": 62.5, "test_correct": 5, "test_total": 8}
        run.save_summary({"name": name, "last": last})
    return path


def test_it_stands_for_its_last_finished_student(fit: FitFolder) -> None:
    save_student(fit, "fit-1-s0", finished=True)
    second = save_student(fit, "fit-2-s0", finished=False)
    assert gns.load(fit.path)[1].classes[0] == "fit-1-s0"
    RunFolder(second).save_summary({"last": {}})
    assert gns.load(fit.path)[1].classes[0] == "fit-2-s0"
    assert describe_model(str(fit.path))["class_names"][0] == "fit-2-s0"


def test_it_may_be_moved_and_copied(fit: FitFolder, tmp_path: Path) -> None:
    save_student(fit, "fit-1-s0", finished=True)
    shutil.copytree(fit.path, tmp_path / "copied")
    os.rename(fit.path, tmp_path / "moved")
    for there in ("copied", "moved"):
        assert run_of_fit(tmp_path / there).is_relative_to(tmp_path / there)
        assert gns.load(tmp_path / there)[1].classes[0] == "fit-1-s0"


def test_the_page_shows_the_students_test_accuracy(fit: FitFolder) -> None:
    save_student(fit, "fit-1-s0", finished=True)
    chosen = Chosen.read(fit.path, "last")
    assert chosen.test_top1() == {"top1": 62.5, "correct": 5, "pictures": 8}


def test_its_card_has_the_students_figures(fit: FitFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ghostnet_small.publish.hub_card.model_card",
        lambda *given, **_: str(given[3]),
    )
    run = save_student(fit, "fit-1-s0", finished=True)
    RunFolder(run).save_summary(summary(top1=61.25))
    model, info = gns.load(fit.path)
    assert "61.25" in hub_card("me/mine", model, info, fit.path, run / "last", None)


def test_it_is_evaluated_on_the_data_that_a_relative_path_meant(
    fit: FitFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder(tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    recipe = resolve_recipe({"data": {"root": "images", "validation": 0}})
    save_student(fit, "fit-1-s0", finished=True, recipe=recipe)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    info = gns.load(fit.path)[1]
    source = TrainedOn(info, fit.path, (), any_size=True, say=lambda _: None)
    assert len(source.split("test").split) == 12


def test_without_a_finished_student_it_says_how_to_go_on(fit: FitFolder) -> None:
    save_student(fit, "fit-1-s0", finished=False)
    with pytest.raises(InputError, match=r"a fit.s folder, .* not ended; go on"):
        gns.load(fit.path)


@pytest.mark.parametrize("text", ["{", '{"plans": 3}', '{"plans": [{}]}', '{"plans": ["x"]}'])
def test_a_damaged_record_is_an_error(text: str, fit: FitFolder) -> None:
    (fit.path / PLANS).write_text(text)
    with pytest.raises(InputError, match=r"fit\.json is damaged; copy"):
        gns.load(fit.path)


def test_a_strangers_record_leads_to_nothing_outside(fit: FitFolder, tmp_path: Path) -> None:
    save_student(fit, "fit-1-s0", finished=True)
    shutil.copytree(run_folder(fit.study, "fit-1-s0"), tmp_path / "other")
    for name in (str(tmp_path / "other"), "../../../../other", "..", ""):
        (fit.path / PLANS).write_text(signed_json({"plans": [{"student": name}]}))
        with pytest.raises(InputError, match="not ended"):
            gns.load(fit.path)
