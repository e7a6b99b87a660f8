"""Evaluation on other data than the training's, and on the training's from another folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ghostnet_small as gns
from export_kit import use_fakes
from ghostnet_small.data.sources import load_data
from ghostnet_small.deploy.formats import open_file
from ghostnet_small.errors import InputError
from ghostnet_small.recipe.paths import PLACE, exported_data, placed, read_places
from ghostnet_small.recipe.recipe import Recipe, read_recipe, resolve_recipe
from ghostnet_small.run.run_folder import RunFolder
from ghostnet_small.use.evaluation import evaluate_classifier
from ghostnet_small.use.export import export_weights
from ghostnet_small.use.prediction import predict
from ghostnet_small.use.training_data import TrainedOn
from makers import (
    class_label,
    make_folder,
    make_parquet,
    make_picture,
    png_bytes,
    write_parquet,
)
from networks import randomize_network

CLASSES = ("apple", "leaf", "plum")


def save_run(
    path: Path, recipe: Recipe, *, size: tuple[int, int] = (16, 16), channels: int = 3
) -> Path:
    """A run's folder as a training of ``recipe`` leaves it, of random weights."""
    torch.manual_seed(0)
    model = gns.create_model("ghostnetv3_small", width=0.1, num_classes=3, in_channels=channels)
    images = torch.randn(16, channels, *size)
    randomize_network(model, images)
    folder = RunFolder(path)
    folder.create(recipe)
    data = load_data(recipe.data)
    folder.info = gns.ModelInfo(
        *(data.classes, size, (0.4,) * channels, (0.3,) * channels),
        recipe=recipe.as_dict(),
        fingerprints=data.fingerprints,
    )
    folder.save_weights("last", model)
    return path


def recipe_on(root: Path | str, **settings: Any) -> Recipe:
    return resolve_recipe({"data": {"root": str(root), "validation": 0, **settings}})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("home") / "set", train=4, test=2, seed=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Path:
    return save_run(tmp_path_factory.mktemp("run") / "run", recipe_on(home))


def evaluated(path: Path, root: Path | None = None, *words: str, **options: Any) -> dict[str, Any]:
    given = [] if root is None else [f"--data.root={root}"]
    return evaluate_classifier(path, overrides=[*given, *words], **{"say": print} | options)


def right_by_predict(path: Path, folder: Path, say: Any = print) -> int:
    answers = predict(path, [folder], say=say)
    return sum(answer["label"] == Path(answer["path"]).parent.name for answer in answers)


# -- one way from a file to the network --------------------------------------------------------


@pytest.mark.parametrize("kind", ["big", "mixed", "grey", "grey model", "oblong model"])
def test_evaluate_and_predict_show_the_same_images(tmp_path: Path, home: Path, kind: str) -> None:
    channels, size = (1 if kind == "grey model" else 3), (16, 20) if "oblong" in kind else (16, 16)
    run = save_run(tmp_path / "run", recipe_on(home), size=size, channels=channels)
    other = make_folder(
        *(tmp_path / "other",), train=1, test=4, size=24, grey=kind in ("grey", "mixed"), seed=2
    )
    if kind == "mixed":
        make_folder(tmp_path / "more", train=0, test=2, size=16, seed=3)
        for name in CLASSES:
            for file in (tmp_path / "more" / "test" / name).iterdir():
                shutil.copy(file, other / "test" / name / f"more-{file.name}")
    said: list[str] = []
    found = evaluated(run, other, say=said.append)
    told: list[str] = []
    assert found["correct"] == right_by_predict(run, other / "test", told.append)
    assert found["total"] == sum(one["pictures"] for one in found["per_class"])
    # Both say what they do, in one form: "... are resized to the 16x16 that the model was ...".
    endings = [sorted({text.split("are ")[-1] for text in remarks}) for remarks in (said, told)]
    assert endings[0] == endings[1] and endings[0]


def test_a_size_that_is_asked_for_is_kept(run: Path, tmp_path: Path) -> None:
    other = make_folder(tmp_path, train=1, test=1, size=24)
    said: list[str] = []
    found = evaluated(run, other, "--data.size=24", say=said.append)
    assert found["total"] == 3
    assert said == ["the images are 24x24, as --data.size asks; the model was trained on 16x16"]


# -- what can be evaluated ---------------------------------------------------------------------


def only_test(root: Path, home: Path) -> None:
    shutil.copytree(home / "test", root / "test")


def classes_alone(root: Path, home: Path) -> None:
    shutil.copytree(home / "test", root)


@pytest.mark.parametrize("layout", [only_test, classes_alone])
def test_a_split_alone_is_evaluated(run: Path, home: Path, tmp_path: Path, layout: Any) -> None:
    layout(tmp_path / "other", home)
    found = evaluated(run, tmp_path / "other")
    assert (found["correct"], found["total"]) == (evaluated(run)["correct"], 6)


def test_other_splits_than_the_one_there(run: Path, home: Path, tmp_path: Path) -> None:
    only_test(tmp_path / "other", home)
    with pytest.raises(InputError, match="has no validation split; it has test"):
        evaluated(run, tmp_path / "other", split="validation")
    with pytest.raises(InputError, match="no training split: found test"):
        load_data(recipe_on(tmp_path / "other").data)
    classes_alone(tmp_path / "flat", home)
    with pytest.raises(InputError, match=r"3 classes \(apple, leaf, plum\)"):
        load_data(recipe_on(tmp_path / "flat").data)


def test_parquet_files_of_a_test_split_alone(run: Path, tmp_path: Path) -> None:
    make_parquet(tmp_path / "whole", train=6, test=12, classes=CLASSES, size=16)
    make_parquet(tmp_path / "part", train=0, test=12, classes=CLASSES, size=16)
    assert evaluated(run, tmp_path / "part")["total"] == 12


def counts(found: dict[str, Any]) -> dict[str, int]:
    return {one["class"]: one["pictures"] for one in found["per_class"]}


def test_classes_are_matched_by_name(run: Path, tmp_path: Path) -> None:
    """The same rows under the three orders of the names' list: each image keeps its class."""
    rights, orders = set(), [(0, 1, 2), (2, 1, 0), (1, 2, 0)]
    for number, order in enumerate(orders):
        names = [CLASSES[k] for k in order]
        root = make_relabelled(tmp_path / str(number), names)
        said: list[str] = []
        found = evaluated(run, root, say=said.append)
        rights.add((found["correct"], tuple(sorted(counts(found).items()))))
        assert said == (
            []
            if number == 0
            else ["the data have the model's classes in another order; labels are matched by name"]
        )
    assert len(rights) == 1


def make_relabelled(root: Path, names: Sequence[str]) -> Path:
    """Nine apples, four leaves and two plums, whose labels are places in ``names``."""
    random = np.random.default_rng(0)
    images, labels = [], []
    for label, count in enumerate((9, 4, 2)):
        for _ in range(count):
            images.append(png_bytes(make_picture(label, 3, size=16, random=random)))
            labels.append(names.index(CLASSES[label]))
    features = {"img": {"_type": "Image"}, "label": class_label(names)}
    for split in ("train", "test"):
        write_parquet(root / f"{split}-0.parquet", images, {"label": labels}, features)
    return root


def test_some_of_the_classes(run: Path, home: Path, tmp_path: Path) -> None:
    for name in ("plum", "leaf"):
        shutil.copytree(home / "test" / name, tmp_path / "some" / name)
    said: list[str] = []
    found = evaluated(run, tmp_path / "some", say=said.append)
    assert counts(found) == {"apple": 0, "leaf": 2, "plum": 2}
    assert found["correct"] == right_by_predict(run, tmp_path / "some")
    assert said == [
        "the data have 2 of the 3 classes that the model knows; answers may be any of these"
    ]


def test_a_class_that_the_weights_do_not_know_is_named(
    run: Path, home: Path, tmp_path: Path
) -> None:
    classes_alone(tmp_path / "other", home)
    (tmp_path / "other/leaf").rename(tmp_path / "other/pear")
    with pytest.raises(InputError, match=r"has 1 classes \(pear\) that .*run does not know: its 3"):
        evaluated(run, tmp_path / "other")


def test_names_that_a_mac_has_decomposed_are_the_same(tmp_path: Path) -> None:
    names = ("caf\u00e9", "tee", "wein")
    home = make_folder(tmp_path / "home", classes=names, train=2, test=2)
    run = save_run(tmp_path / "run", recipe_on(home))
    other = make_folder(tmp_path / "o", classes=("cafe\u0301", "tee", "wein"), train=1, test=3)
    assert counts(evaluated(run, other)) == dict.fromkeys(names, 3)


def test_names_given_in_training_are_for_its_own_data(home: Path, tmp_path: Path) -> None:
    names = ["malus", "folium", "prunus"]
    run = save_run(tmp_path / "run", recipe_on(home, class_names=names))
    right = evaluated(run)["correct"]
    # A copy has the old names; data collected later may have the new ones, or some of them.
    shutil.copytree(home, tmp_path / "copy")
    assert evaluated(run, tmp_path / "copy")["correct"] == right
    classes_alone(tmp_path / "later", home)
    for old, new in zip(CLASSES, names, strict=True):
        (tmp_path / "later" / old).rename(tmp_path / "later" / new)
    assert evaluated(run, tmp_path / "later")["correct"] == right
    shutil.rmtree(tmp_path / "later/malus")
    assert counts(evaluated(run, tmp_path / "later")) == {"malus": 0, "folium": 2, "prunus": 2}


# -- the training's own data, from elsewhere ---------------------------------------------------


@pytest.fixture
def projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two projects, each with a folder ``pics`` of the same classes; the run is of the first."""
    first, second = tmp_path / "A", tmp_path / "B"
    make_folder(first / "pics", train=3, test=4, seed=1)
    make_folder(second / "pics", train=3, test=2, seed=2)
    monkeypatch.chdir(first)
    save_run(Path("run"), recipe_on("pics"))
    monkeypatch.chdir(second)
    return first, second


def test_a_relative_path_is_that_of_the_training(
    projects: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = projects
    said: list[str] = []
    for path in (Path("../A/run"), Path("../A/run/last"), first / "run"):
        assert evaluated(path, say=said.append)["total"] == 12
    remark = (
        f"data.root 'pics' is {first / 'pics'}, where the run was trained, and not "
        f"{second / 'pics'}; give --data.root pics for that one"
    )
    assert said == [remark] * 3
    assert evaluated(Path("../A/run"), Path("pics"))["total"] == 6
    # Where the name leads nowhere, or to the same folder, there is nothing to say.
    for folder in (first.parent, first):
        monkeypatch.chdir(folder)
        assert evaluated(first / "run", say=said.append)["total"] == 12
    assert said == [remark] * 3


def test_a_project_that_moved_whole(
    projects: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = projects
    first.rename(first.with_name("C"))
    monkeypatch.chdir(first.with_name("C"))
    said: list[str] = []
    assert evaluated(Path("run"), say=said.append)["total"] == 12 and not said
    # Another set under that name is told by its fingerprint.
    monkeypatch.chdir(second)
    assert evaluated(Path("../C/run"), say=said.append)["total"] == 6
    (remark,) = said
    assert remark.startswith("the test split is not that of the training (its fingerprint is")
    monkeypatch.chdir("/")
    with pytest.raises(InputError, match=r"'pics' is not here, and .*/A/pics, where the run was"):
        evaluated(first.with_name("C") / "run")


def test_images_that_were_added_since(tmp_path: Path) -> None:
    home = make_folder(tmp_path / "set", train=6, test=2)
    run = save_run(tmp_path / "run", recipe_on(home, validation=0.25))
    said: list[str] = []
    for split in ("test", "validation", "train"):
        evaluated(run, split=split, say=said.append)
    assert not said
    shutil.copy(home / "test/plum/000.png", home / "train/plum/new.png")
    for split in ("test", "validation"):
        evaluated(run, split=split, say=said.append)
    (remark,) = said
    assert remark.startswith("the validation split is not the one that was held out in training")
    assert remark.endswith("it may hold images that the network was trained on")
    # So it is where another part is held out.
    evaluated(run, home, "--data.validation=0.5", split="validation", say=said.append)
    assert said[1:] and "held out in training" in said[1]


def test_weights_that_left_their_run_know_their_data(
    projects: tuple[Path, Path], tmp_path: Path
) -> None:
    """A copy has no path of the maker's, but the fingerprints that tell another set."""
    first, _ = projects
    model, info = gns.load(first / "run")
    gns.save_model(model, info, tmp_path / "copy")
    said: list[str] = []
    assert evaluated(tmp_path / "copy", say=said.append)["total"] == 6
    assert "the test split is not that of the training" in said[0]
    for file in (tmp_path / "copy").iterdir():
        assert str(first).encode() not in file.read_bytes()


def test_an_exported_file_tells_no_absolute_path(run: Path, home: Path, tmp_path: Path) -> None:
    """In the run's folder it is evaluated on the run's data all the same."""
    run = Path(shutil.copytree(run, tmp_path / "run"))
    with use_fakes():
        for out in (run / "export", tmp_path / "out"):
            export_weights(run, out, formats=["good"], say=print)
        assert str(home.parent) not in (run / "export/model.good").read_text()
        assert evaluated(run / "export/model.good")["total"] == 6
        # Elsewhere its data must be named.
        told = open_file(tmp_path / "out/model.good").description.data
        assert told["root"] is None and told["source"] == read_recipe().data.source
        assert evaluated(tmp_path / "out/model.good", home)["total"] == 6


def test_what_exported_files_say_of_the_data() -> None:
    for told, expected in (
        ({"source": "cifar10", "root": "/home/me/x"}, {"source": "cifar10", "root": None}),
        ({"source": "/home/me/pets", "root": None}, {"source": "pets", "root": None}),
        ({"source": "a/b", "root": "~/pets"}, {"source": "a/b", "root": None}),
        ({"source": "data/pets", "cache": "/x"}, {"source": "data/pets", "cache": None}),
    ):
        assert exported_data({**told, "size": 8}) == {**expected, "size": 8}


def test_calibration_reads_the_training_s_data(projects: tuple[Path, Path]) -> None:
    first, _ = projects
    _, info = gns.load(first / "run")
    data = TrainedOn(info, first / "run", say=print).whole()
    assert data.test is not None and len(data.test) == 12
    assert data.fingerprints == info.fingerprints


def test_every_path_of_a_run_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("t1", "t2", "start", "digits", "set/train/a"):
        (tmp_path / name).mkdir(parents=True)
    written = {
        "data": {"source": "set", "cache": "kept"},
        "model": {"weights": "start"},
        "distill": {"teachers": ["t1", "hf-hub:a/b", str(tmp_path / "t2")], "cache": "targets"},
    }
    recipe = resolve_recipe(written)
    RunFolder(tmp_path / "run").create(recipe)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    there = placed(recipe, read_places(tmp_path / "run"), say=print)
    assert there.data.source == str(tmp_path / "set")
    assert there.model.weights == str(tmp_path / "start")
    assert there.distill.teachers == (str(tmp_path / "t1"), "hf-hub:a/b", str(tmp_path / "t2"))
    # A cache that was not made yet is made anew where the training is.
    assert (there.data.cache, there.distill.cache) == ("kept", "targets")
    assert there.hash() == recipe.hash()
    given = ["--distill.teachers=[]", "--data.root=set", "--model.weights=null"]
    asked = resolve_recipe(written, given)
    assert placed(asked, read_places(tmp_path / "run"), overrides=given, say=print) == asked


def test_a_name_is_no_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("digits", "cifar10"):
        (tmp_path / name).mkdir()
        RunFolder(tmp_path / f"{name}-run").create(resolve_recipe({"data": {"source": name}}))
        assert not (tmp_path / f"{name}-run" / PLACE).exists()
