"""Runs with teachers: from their answers to the record, stopped and resumed, and refused."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.export import ExportedProgram

import ghostnet_small as gns
from distill_kit import refused
from engine_kit import Silent, measured
from ghostnet_small.cli import main
from ghostnet_small.data.dataset import normalize
from ghostnet_small.data.sources import load_data
from ghostnet_small.deploy.fast_inference import Answering, DirectForm
from ghostnet_small.distill.feature_maps import MapLosses
from ghostnet_small.distill.target_cache import TargetCache
from ghostnet_small.distill.teacher import Teacher
from ghostnet_small.models.ghostnetv3 import GhostNetV3
from ghostnet_small.models.weights import ModelInfo, save_model
from ghostnet_small.nn.fold import reparameterize
from ghostnet_small.recipe.recipe import Recipe, read_recipe
from ghostnet_small.run import recipe_teachers, teacher_backends
from ghostnet_small.run import start as study
from ghostnet_small.run.recipe_teachers import Teaching, load_teacher
from ghostnet_small.run.teacher_backends import EAGER, Compared
from ghostnet_small.tensorfile import read_tensors, tensors_digest
from ghostnet_small.train.interfaces import Interrupted
from makers import make_folder

# 48 pictures to train on, in three steps an epoch.
pytestmark = pytest.mark.usefixtures("no_pictures")

WORDS = [
    *("--name", "student", "--model.width", "0.05", "--data.limit", "60"),
    *("--data.validation", "0.2", "--train.epochs", "2", "--train.batch_size", "16"),
    *("--train.device", "cpu", "--train.ema_decay", "0.9"),
    *("--augment.crop_padding", "1"),
]
DIGITS = tuple(map(str, range(10)))
CPU = torch.device("cpu")
HINTS = "--distill.hints=[blocks.4=blocks.4]"

Stop = Callable[[], int | None]


def never() -> int | None:
    return None


def after(polls: int) -> Stop:
    """Signal 2 from the poll after ``polls`` others on."""
    left = iter(range(polls))
    return lambda: 2 if next(left, None) is None else None


def taught_by(*teachers: Path) -> str:
    return f"--distill.teachers={json.dumps([str(path) for path in teachers])}"


def recipe_of(*more: str) -> Recipe:
    return read_recipe(None, [*WORDS, *more])


def start(recipe: Recipe, out: Path, stop: Stop = never) -> dict[str, Any]:
    return study.start(recipe, out, watcher=Silent(), stop_signal=stop)


def resume(out: Path, *words: str, stop: Stop = never) -> dict[str, Any]:
    return study.resume(out, list(words), watcher=Silent(), stop_signal=stop)


def make_weights(folder: Path, seed: int = 1, **changes: Any) -> Path:
    """A folder of random weights for the digits, whose batch norms know their statistics."""
    data = load_data(recipe_of().data)
    known = ModelInfo(DIGITS, (8, 8), (0.3,), (0.4,), {"name": f"teacher {seed}"})
    info = replace(known, **changes)
    torch.manual_seed(seed)
    channels = len(info.mean)
    model = gns.create_model(
        "ghostnetv3_small", width=0.1, in_channels=channels, num_classes=len(info.classes)
    )
    assert isinstance(model, GhostNetV3)
    shown = normalize(data.train.images[:], (0.3,), (0.4,)).expand(-1, channels, -1, -1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the plain mean of all batches, which is this one
    with torch.no_grad():
        logits = model.train()(shown)
        # Apart from one another, as those of trained networks are.
        model.classifier.get_parameter("weight").mul_(4 / logits.std())
    save_model(model.eval(), info, folder)
    return folder


@pytest.fixture(scope="module")
def one_cache() -> Path:
    """The cache of all tests."""
    return Path(os.environ["GHOSTNET_CACHE"])


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder, as far as a teacher is asked for."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("teachers") / "run"
    make_weights(out / "last", seed=2)
    make_weights(out / "best", seed=3)
    return out


@pytest.fixture(scope="module")
def assistant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights."""
    return make_weights(tmp_path_factory.mktemp("teachers") / "weights")


@pytest.fixture(scope="module")
def whole(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A distilled run that nothing disturbed."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    return out, start(recipe_of(taught_by(teacher)), out)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The pictures of every batch that any teacher is asked for by ``logits``."""
    pictures: list[int] = []
    logits = Teacher.logits

    def counted(self: Teacher, views: Tensor) -> Tensor:
        pictures.append(len(views))
        return logits(self, views)

    monkeypatch.setattr(Teacher, "logits", counted)
    return pictures


def assert_same_run(out: Path, whole: Path) -> None:
    for kind in ("last", "best"):
        for name in ("model.safetensors",):
            assert (out / kind / name).read_bytes() == (whole / kind / name).read_bytes()
    tensors, wanted = (read_tensors(p / "state.safetensors")[0] for p in (out, whole))
    assert tensors.keys() == wanted.keys()
    assert all(torch.equal(tensors[name], value) for name, value in wanted.items())
    one, other = (json.loads((p / "summary.json").read_text()) for p in (out, whole))
    for key in ("last", "best", "recipe_hash"):
        assert one[key] == other[key]
    names = [[row.pop("name") for row in s["distill"]["teachers"]] for s in (one, other)]
    assert one["distill"] == other["distill"] and names


# The record ------------------------------------------------------------------------------------


def test_the_summary_says_who_taught_and_how_well_it_was_followed(
    whole: tuple[Path, dict[str, Any]], teacher: Path
) -> None:
    out, summary = whole
    data = load_data(recipe_of().data)
    report = summary["distill"]
    model, info = gns.load(teacher)
    student, student_info = gns.load(out)
    of_teacher, of_student = (
        measured(m, i, data.split("test")) for m, i in ((model, info), (student, student_info))
    )
    (row,) = report["teachers"]
    assert row == {
        "weights_sha256": load_teacher(teacher, data).digest,
        "name": str(teacher),
        "recipe": "teacher 2",
        "architecture": "ghostnetv3_small",
        "width": 0.1,
        "weight": 1.0,
        "test_top1": of_teacher.top1,
    }
    assert report["teacher_test_top1"] == pytest.approx(of_teacher.top1)
    same = of_teacher.logits.argmax(1) == of_student.logits.argmax(1)
    assert report["agreement"] == pytest.approx(100 * float(same.float().mean()))
    assert {k: report[k] for k in ("mode", "loss", "temperature", "ce_weight", "kd_weight")} == {
        "mode": "cached",
        "loss": "kd",
        "temperature": 4.0,
        "ce_weight": 0.1,
        "kd_weight": 0.9,
    }
    targets = report["targets"]
    assert (targets["views"], targets["pictures"], targets["temperature"]) == (2, 48, 4.0)
    assert 0 < targets["entropy_at_1"] < targets["entropy"] < math.log(10)
    assert 0 <= targets["share_above_098"] <= targets["share_above_098_at_1"] <= 1
    assert 0 <= targets["top1"] <= 100
    # What is said of the targets is said of the first view, by hand:
    augment = recipe_of().augment
    fill = tuple(round(255 * mean) for mean in data.mean)
    views = augment(data.train.images[:], data.train.index, 0, fill)
    with torch.no_grad():
        answers = model(normalize(views, info.mean, info.std))
    p = answers.double().softmax(1)
    entropy = -(p * p.log()).sum(1).mean()
    assert targets["entropy_at_1"] == pytest.approx(float(entropy), rel=1e-2)
    right = (answers.argmax(1) == data.train.labels).double().mean()
    assert targets["top1"] == pytest.approx(100 * float(right), abs=100 / 48 + 1e-6)
    written = json.loads((out / "summary.json").read_text())
    assert written["distill"] == summary["distill"]


def test_it_is_the_teachers_weight_that_changes_the_student(
    whole: tuple[Path, dict[str, Any]], teacher: Path, tmp_path: Path
) -> None:
    plain = start(recipe_of(), tmp_path / "plain")
    assert "distill" not in plain and plain["recipe_hash"] != whole[1]["recipe_hash"]
    words = ["--distill.ce_weight", "1", "--distill.kd_weight", "0"]
    start(recipe_of(taught_by(teacher), *words), tmp_path / "unheard")
    weights = [
        (p / "last" / "model.safetensors").read_bytes()
        for p in (tmp_path / "plain", tmp_path / "unheard", whole[0])
    ]
    assert weights[0] == weights[1] != weights[2]


def test_live_and_kept_targets_are_the_same_to_begin_with(
    whole: tuple[Path, dict[str, Any]], teacher: Path, tmp_path: Path, asked: list[int]
) -> None:
    summary = start(recipe_of(taught_by(teacher), "--distill.targets", "live"), tmp_path / "live")
    assert asked[:6] == [16] * 6 and summary["distill"]["mode"] == "live"
    kept = whole[1]
    first = [s["epochs"][0]["train_loss"] for s in (summary, kept)]
    assert first[0] == pytest.approx(first[1], rel=1e-3) and first[0] != first[1]
    for name in ("entropy", "entropy_at_1"):
        values = [s["distill"]["targets"][name] for s in (summary, kept)]
        assert values[0] == pytest.approx(values[1], rel=1e-3)


def test_two_teachers_with_shares(
    whole: tuple[Path, dict[str, Any]], teacher: Path, assistant: Path, tmp_path: Path
) -> None:
    words = ["--distill.teacher_shares", "[3, 1]", "--distill.mean", "logits"]
    said: list[str] = []

    class Listener(Silent):
        def preparing(self, what: str, done: int, total: int) -> None:
            said.append(f"{what} {done}/{total}")

    recipe = recipe_of(taught_by(teacher, assistant), *words)
    watcher = Listener()
    summary = study.start(recipe, tmp_path / "run", watcher=watcher, stop_signal=never)
    rows = summary["distill"]["teachers"]
    assert [row["weight"] for row in rows] == [0.75, 0.25]
    assert [row["name"] for row in rows] == [str(teacher), str(assistant)]
    assert [row["recipe"] for row in rows] == ["teacher 2", "teacher 1"]
    # The first one's targets may be kept already, by another test.
    assert said[-2:] == [f"targets of teacher 2 of 2, views {view}/2" for view in (1, 2)]
    assert summary["epochs"][0]["train_loss"] != whole[1]["epochs"][0]["train_loss"]


def test_without_test_and_validation_there_is_nothing_to_agree_on(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set", train=8, test=0, size=8, grey=True)
    classes = {"classes": ("apple", "leaf", "plum")}
    weights = make_weights(tmp_path / "weights", **classes)
    words = ["--data.root", str(root), "--data.validation", "0", "--data.limit", "null"]
    summary = start(recipe_of(taught_by(weights), *words), tmp_path / "run")
    report = summary["distill"]
    assert "agreement" not in report and report["targets"]["pictures"] == 24
    assert set(report["teachers"][0]) == {
        *("name", "recipe", "architecture", "width", "weights_sha256", "weight")
    }


def test_weights_teach_the_same_folded(assistant: Path, tmp_path: Path) -> None:
    data = load_data(recipe_of().data)
    model, info = gns.load(assistant)
    save_model(reparameterize(model), info, tmp_path / "folded")  # type: ignore[arg-type]
    views = data.train.images[:]
    one, other = (load_teacher(p, data) for p in (assistant, tmp_path / "folded"))
    said = one.logits(views)
    assert (other.logits(views) - said).abs().max() <= 1e-5 * said.abs().max()
    assert one.mean == other.mean == (0.3,) and one.about == other.about
    # Other bytes, for which targets of their own are kept.
    assert one.digest != other.digest
    with torch.no_grad():
        by_hand = model(normalize(views, info.mean, info.std))
    assert (said - by_hand).abs().max() <= 1e-4 * said.abs().max()
    summary = start(recipe_of(taught_by(tmp_path / "folded")), tmp_path / "run")
    assert summary["distill"]["teachers"][0]["weights_sha256"] == other.digest


def test_the_best_weights_of_a_run_are_a_folder_like_any_other(teacher: Path) -> None:
    data = load_data(recipe_of().data)
    assert load_teacher(teacher / "last", data).digest == load_teacher(teacher, data).digest
    assert load_teacher(teacher / "best", data).digest != load_teacher(teacher, data).digest


# Stopped and resumed -----------------------------------------------------------------------------


def caches(root: Path) -> list[Path]:
    return sorted(path.parent for path in root.rglob("key.json"))


# Two views are asked for; then three steps, a validation, three steps, a validation, the test.
@pytest.mark.parametrize("polls", [0, 1, 4, 8])
def test_stopped_anywhere_it_ends_as_if_never(
    polls: int,
    whole: tuple[Path, dict[str, Any]],
    teacher: Path,
    tmp_path: Path,
    asked: list[int],
) -> None:
    kept, out = tmp_path / "kept", tmp_path / "run"
    recipe = recipe_of(taught_by(teacher), f"--distill.cache={kept}")
    with pytest.raises(Interrupted):
        start(recipe, out, stop=after(polls))
    done = min(polls, 2)
    assert asked == [48] * done
    (folder,) = caches(kept)
    assert len(list(folder.glob("view-*"))) == done
    assert (out / "state.safetensors").exists() == (polls > 1)
    torch.manual_seed(5)
    summary = resume(out)
    assert asked == [48] * 2 and len(list(folder.glob("*"))) == 3
    assert len(summary["sessions"]) == (2 if polls > 1 else 1)
    assert_same_run(out, whole[0])


def test_seeds_share_what_is_kept(
    teacher: Path, tmp_path: Path, one_cache: Path, asked: list[int]
) -> None:
    words = [taught_by(teacher), "--augment.view_seed", "7"]
    before = set(caches(one_cache / "targets"))
    start(recipe_of(*words), tmp_path / "s0")
    assert asked == [48, 48]
    (made,) = set(caches(one_cache / "targets")) - before
    # Nor does it matter what is learned from them, and in which batches.
    other = ["--distill.loss", "dist", "--distill.temperature", "2", "--train.batch_size", "24"]
    start(recipe_of(*words, "--train.seed", "1", *other), tmp_path / "s1")
    assert asked == [48, 48]
    assert set(caches(one_cache / "targets")) - before == {made}
    start(recipe_of(*words, "--augment.flip", "random"), tmp_path / "flipped")
    assert asked == [48] * 4
    assert len(caches(one_cache / "targets")) == len(before) + 2


@pytest.fixture
def forms(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One form beside eager float32, whose logits are doubled; it is taken where the list, of the
    forms that are, ends in its name."""
    taken = [EAGER]

    def build(program: ExportedProgram, threads: int) -> Answering:
        graph = program.module()
        return lambda x: 2 * graph(x)

    def chosen(compared: Sequence[Compared]) -> Compared:
        return next(one for one in compared if one.name == taken[-1])

    monkeypatch.setattr(teacher_backends, "FORMS", {"doubled": DirectForm(build)})
    monkeypatch.setattr(recipe_teachers, "fastest", chosen)
    return taken


def test_the_form_that_was_chosen_answers_and_is_recorded(
    teacher: Path, tmp_path: Path, forms: list[str]
) -> None:
    said: list[str] = []

    class Listener(Silent):
        def preparing(self, what: str, done: int, total: int) -> None:
            said.append(f"{what} {done}/{total}")

    pages, rows = [], []
    for form in (EAGER, "doubled"):
        forms.append(form)
        kept = tmp_path / form
        words = [taught_by(teacher), "--distill.answers", "fastest", f"--distill.cache={kept}"]
        summary = study.start(
            recipe_of(*words), tmp_path / f"of {form}", watcher=Listener(), stop_signal=never
        )
        (folder,) = caches(kept)
        pages.append(kept_page(folder))
        (row,) = summary["distill"]["teachers"]
        rows += row["answers"]
        # Another run with these targets, which asks nobody, says the same.
        again = start(recipe_of(*words, "--train.seed", "1"), tmp_path / f"again {form}")
        assert again["distill"]["teachers"][0]["answers"] == row["answers"]
    assert torch.allclose(pages[1].float(), 2 * pages[0].float(), rtol=1e-2, atol=1e-2)
    assert [row["form"] for row in rows] == [EAGER, "doubled"]
    assert rows[0]["same_top1"] == rows[1]["same_top1"] == 100.0
    assert rows[0]["moved"] == 0.0 < rows[1]["moved"] <= rows[1]["most_moved"] <= 1.0
    for row in rows:
        assert row["from_view"] == 0 and row["images"] == 48 and row["threads"] >= 1
        assert row["images_per_s"] > 0 and row["eager_images_per_s"] > 0
    assert said[1].startswith(f"targets of teacher by {EAGER} (") and said[1].endswith("views 2/2")
    assert said[3].startswith("targets of teacher by doubled (")
    assert "same top-1 100.0 %" in said[3] and EAGER in said[3]


def kept_page(folder: Path) -> Tensor:
    return TargetCache(folder, {}, views=2, rows=48, classes=10).page(0)


def test_float32_is_computed_and_kept_as_ever(
    whole: tuple[Path, dict[str, Any]],
    teacher: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recipe_teachers, "compare_forms", None)
    kept = tmp_path / "kept"
    words = [taught_by(teacher), "--distill.answers", "float32", f"--distill.cache={kept}"]
    summary = start(recipe_of(*words), tmp_path / "run")
    assert_same_run(tmp_path / "run", whole[0])
    assert "answers" not in summary["distill"]
    assert "answers" not in summary["distill"]["teachers"][0]
    (folder,) = caches(kept)
    assert "answers" not in json.loads((folder / "key.json").read_text())
    assert not (folder / "fills.json").exists()
    # What was kept in another way is another's.
    refused(
        lambda: start(recipe_of(*words, "--distill.answers", "fastest"), tmp_path / "other"),
        "answers None, here 'fastest'",
    )


def test_a_fill_goes_on_in_the_form_of_another_machine(
    teacher: Path, tmp_path: Path, forms: list[str]
) -> None:
    kept, out = tmp_path / "kept", tmp_path / "run"
    words = (f"--distill.cache={kept}", "--distill.answers", "fastest")
    # Polls: the graph, the form, a turn of two answers, a view; then it stops.
    cut(out, 5, teacher, words=words)
    (folder,) = caches(kept)
    first = (folder / "view-00000.f16").read_bytes()
    assert not (folder / "view-00001.f16").exists()
    forms.append("doubled")
    (row,) = resume(out)["distill"]["teachers"]
    assert (folder / "view-00000.f16").read_bytes() == first
    assert [(f["from_view"], f["form"]) for f in row["answers"]] == [(0, EAGER), (1, "doubled")]
    # Damage costs the note, not the run.
    (folder / "fills.json").write_text("{")
    (row,) = start(recipe_of(taught_by(teacher), *words), tmp_path / "more")["distill"]["teachers"]
    assert row["answers"] == []


@pytest.mark.parametrize(
    "words", [["--distill.targets", "live"], ["--distill.targets", "live", HINTS]]
)
def test_live_teachers_answer_in_float32(words: list[str], tmp_path: Path) -> None:
    asked_for = [taught_by(tmp_path), "--distill.answers", "fastest", *words]
    refused(lambda: recipe_of(*asked_for), "answers 'fastest'", "targets cached")


def test_of_more_views_than_epochs_only_those_that_are_shown(
    teacher: Path, tmp_path: Path, asked: list[int]
) -> None:
    kept = tmp_path / "kept"
    words = [taught_by(teacher), f"--distill.cache={kept}", "--augment.views", "4"]
    summary = start(recipe_of(*words), tmp_path / "run")
    assert asked == [48, 48] and summary["distill"]["targets"]["views"] == 4
    # Balanced, pictures come repeatedly, in any of them.
    start(recipe_of(*words, "--train.sampler", "balanced"), tmp_path / "balanced")
    assert asked == [48] * 4


def test_a_finished_run_needs_no_teacher(
    whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    assert resume(whole[0], taught_by(tmp_path / "gone")) == whole[1]


def cut(out: Path, polls: int, *teachers: Path, words: tuple[str, ...] = ()) -> None:
    with pytest.raises(Interrupted):
        start(recipe_of(taught_by(*teachers), *words), out, stop=after(polls))


def test_resumed_with_another_teacher_it_is_refused(
    teacher: Path, assistant: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "teacher"
    shutil.copytree(teacher / "last", mine)
    out = tmp_path / "run"
    # Its targets may be kept already; then the first poll is that after a step.
    cut(out, 4, mine)
    data = load_data(recipe_of().data)
    was, now = load_teacher(mine, data).digest[:12], load_teacher(assistant, data).digest[:12]
    shutil.rmtree(mine)
    shutil.copytree(assistant, mine)
    refused(lambda: resume(out), "teacher 1", str(out), was, now, "--distill.teachers")
    refused(lambda: resume(out, taught_by(assistant)), "teacher 1", was, now)
    # One more or one less is another experiment, whoever they are.
    refused(lambda: resume(out, taught_by(teacher, assistant)), "distill.teachers")
    refused(lambda: resume(out, "--distill.teachers=[]"), "distill.teachers")
    assert not (out / "summary.json").exists()


def test_a_run_without_a_state_keeps_its_number_of_teachers(
    teacher: Path, assistant: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    cut(out, 0, teacher, words=(f"--distill.cache={tmp_path / 'kept'}",))
    assert not (out / "state.safetensors").exists()
    refused(lambda: resume(out, taught_by(teacher, assistant)), "distill.teachers 1 -> 2")
    refused(lambda: resume(out, "--distill.teachers=[]"), "distill.teachers 1 -> 0")


def test_resumed_with_the_teacher_in_another_place(
    whole: tuple[Path, dict[str, Any]], teacher: Path, tmp_path: Path
) -> None:
    mine, moved, out = tmp_path / "teacher", tmp_path / "moved", tmp_path / "run"
    shutil.copytree(teacher / "last", mine)
    cut(out, 4, mine)
    mine.rename(moved)
    refused(lambda: resume(out), str(mine))
    # And with its targets in another place.
    summary = resume(out, taught_by(moved), f"--distill.cache={tmp_path / 'kept'}")
    assert summary["distill"]["teachers"][0]["name"] == str(moved)
    assert_same_run(out, whole[0])


def test_targets_that_were_damaged_meanwhile_are_made_again(
    whole: tuple[Path, dict[str, Any]], teacher: Path, tmp_path: Path, asked: list[int]
) -> None:
    kept, out = tmp_path / "kept", tmp_path / "run"
    cut(out, 4, teacher, words=(f"--distill.cache={kept}",))
    (file,) = kept.rglob("view-00000.f16")
    file.write_bytes(file.read_bytes()[:-2])
    asked.clear()
    resume(out)
    assert asked == [48]
    assert_same_run(out, whole[0])


MAPS = [
    *("--distill.targets", "live", "--distill.attention", '["blocks.2=blocks.2"]'),
    *("--distill.hints", '["blocks.8=blocks.8"]'),
]


def test_attention_and_hints_of_a_run(teacher: Path, tmp_path: Path) -> None:
    recipe = recipe_of(taught_by(teacher), *MAPS)
    whole = start(recipe, tmp_path / "whole")
    assert whole["distill"]["attention"] == ["blocks.2=blocks.2"]
    tensors, _ = read_tensors(tmp_path / "whole" / "state.safetensors")
    assert any(name.startswith("companion.") for name in tensors)
    weights, _ = read_tensors(tmp_path / "whole" / "last" / "model.safetensors")
    student = gns.create_model("ghostnetv3_small", width=0.05, in_channels=1)
    assert set(weights) == set(student.state_dict())
    assert whole["model"]["params"]["training"] == sum(p.numel() for p in student.parameters())
    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        start(recipe, out, stop=after(4))
    torch.manual_seed(5)
    resume(out)
    assert_same_run(out, tmp_path / "whole")


# Refused -----------------------------------------------------------------------------------------


def refused_before_anything(tmp_path: Path, *says: str, words: list[str]) -> str:
    before = set(tmp_path.rglob("*"))
    said = refused(lambda: start(recipe_of(*words), tmp_path / "run"), *says)
    assert set(tmp_path.rglob("*")) == before
    return said


CHANGED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "other classes": (
        {"classes": tuple("abcdefghij")},
        ["10 classes (a, b, c", "10 classes (0, 1, 2", "others", "same classes"],
    ),
    "fewer classes": ({"classes": tuple("012")}, ["3 classes (0, 1, 2)", "10 classes (0, 1, 2"]),
    "other channels": (
        {"mean": (0.3,) * 3, "std": (0.4,) * 3},
        ["3 channels", "have 1", "data.channels 3"],
    ),
    "other size": ({"size": (16, 12)}, ["12x16", "8x8", "data.size 16"]),
}


@pytest.mark.parametrize("case", CHANGED)
def test_a_teacher_of_other_pictures_is_refused(case: str, tmp_path: Path) -> None:
    changes, says = CHANGED[case]
    weights = make_weights(tmp_path / "weights", **changes)
    refused_before_anything(tmp_path, str(weights), *says, words=[taught_by(weights)])


@pytest.mark.parametrize("fold", [True, False])
def test_a_teacher_s_classes_in_another_order_are_put_in_order(fold: bool, tmp_path: Path) -> None:
    order = [3, 0, 1, 2, *range(4, 10)]
    classes = tuple(DIGITS[k] for k in order)
    weights = make_weights(tmp_path / "weights", classes=classes)
    data = load_data(recipe_of().data)
    teacher = load_teacher(weights, data, fold=fold)
    own, _ = gns.load(weights)
    shown = normalize(data.train.images[:8], (0.3,), (0.4,))
    with torch.no_grad():
        answers, theirs = teacher.network.eval()(shown), own(shown)
    for number, name in enumerate(DIGITS):
        assert torch.allclose(answers[:, number], theirs[:, classes.index(name)], atol=1e-3)
    # It is the same teacher, whatever the data's order.
    assert teacher.digest == tensors_digest(own.state_dict(), {"config": own.config})


def test_a_teacher_that_is_not_there_is_refused(assistant: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    refused_before_anything(tmp_path, f"teacher {gone}", words=[taught_by(assistant, gone)])
    gone.mkdir()
    refused_before_anything(tmp_path, f"teacher {gone}", words=[taught_by(gone)])
    weights = make_weights(tmp_path / "weights")
    file = weights / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    refused_before_anything(tmp_path, f"teacher {weights}", "damaged", words=[taught_by(weights)])


SETTINGS: dict[str, tuple[list[str], list[str]]] = {
    "dkd and mixup": (
        ["--distill.loss", "dkd", "--augment.mixup", "0.2"],
        ["distill.loss 'dkd'", "augment.mixup"],
    ),
    "dkd and cutmix": (["--distill.loss", "dkd", "--augment.cutmix", "1"], ["cutmix"]),
    "views without end": (
        ["--train.sampler", "balanced"],
        ["train.sampler 'balanced'", "augment.views", "distill.targets live"],
    ),
    "caches off": (["--data.cache", "off"], ["caches are off", "distill.cache"]),
    "a module of neither": (
        ["--distill.targets", "live", "--distill.attention", '["nowhere=blocks.1"]'],
        ["'nowhere'"],
    ),
    "a module of the student alone": (
        ["--distill.targets", "live", "--distill.hints", '["blocks.1=nowhere"]'],
        ["'nowhere'"],
    ),
    "no map": (
        ["--distill.targets", "live", "--distill.hints", '["classifier=classifier"]'],
        ["'classifier'", "feature map"],
    ),
    "shares": (["--distill.teacher_shares", "[1, 2]"], ["distill.teacher_shares", "2 numbers"]),
    "no weight": (
        ["--distill.ce_weight", "0", "--distill.kd_weight", "0"],
        ["ce_weight and kd_weight are both 0"],
    ),
    "kept maps": (["--distill.hints", '["classifier=classifier"]'], ["distill.targets 'cached'"]),
    "temperature": (["--distill.temperature", "0"], ["distill.temperature 0"]),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings_that_do_not_go_together_are_refused(
    case: str, assistant: Path, tmp_path: Path
) -> None:
    words, says = SETTINGS[case]
    refused_before_anything(tmp_path, *says, words=[taught_by(assistant), *words])


def test_what_is_refused_with_kept_targets_works_live(assistant: Path, tmp_path: Path) -> None:
    words = ["--train.sampler", "balanced", "--data.cache", "off", "--distill.targets", "live"]
    words += ["--distill.loss", "dkd", "--augment.mixup", "0.2", "--augment.mix_probability", "0"]
    summary = start(recipe_of(taught_by(assistant), *words), tmp_path / "run")
    assert summary["distill"]["mode"] == "live"


def test_maps_need_one_process(assistant: Path) -> None:
    data = load_data(recipe_of().data)
    recipe = recipe_of(taught_by(assistant), *MAPS)
    refused(lambda: Teaching(recipe, data, CPU, 2), "one process", "there are 2")
    Teaching(recipe, data, CPU, 1)
    Teaching(recipe_of(taught_by(assistant)), data, CPU, 2)


def test_kept_targets_of_another_training_are_refused(assistant: Path, tmp_path: Path) -> None:
    kept = f"--distill.cache={tmp_path / 'kept'}"
    start(recipe_of(taught_by(assistant), kept), tmp_path / "first")
    words = [taught_by(assistant), kept, "--augment.flip", "random", "--train.epochs", "3"]
    refused_before_anything(
        tmp_path,
        *("augment.flip 'none', here 'random'", "views 2, here 3", "distill.cache"),
        words=words,
    )


def test_a_folder_of_something_else_is_refused(assistant: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("mine")
    words = [taught_by(assistant), f"--distill.cache={kept}"]
    refused_before_anything(tmp_path, str(kept), "distill.cache", words=words)


def test_the_size_of_what_is_kept_is_known_before(assistant: Path, one_cache: Path) -> None:
    data = load_data(recipe_of().data)
    teaching = Teaching(recipe_of(taught_by(assistant)), data, CPU, 1)
    (cache,) = teaching.caches
    assert isinstance(cache, TargetCache)
    assert cache.size_bytes == 2 * (32 + 2 * 48 * 10)
    assert cache.folder.parent == one_cache / "targets"


# The command ------------------------------------------------------------------------------------


def test_the_command_is_train_with_teachers(
    teacher: Path, assistant: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, kept = tmp_path / "recipe.yaml", f"--distill.cache={tmp_path / 'kept'}"
    recipe.write_text("distill:\n  temperature: 2.0\n")
    # A comma and a bracket in a folder's name are no list's.
    odd = shutil.copytree(assistant, tmp_path / "a, [b]")
    words = [str(recipe), *WORDS, kept]
    teachers = [str(teacher), str(odd)]
    one, other = tmp_path / "one", tmp_path / "other"
    assert main(["distill", *words, "--teachers", *teachers, "--out", str(one), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in told["distill"]["teachers"]] == teachers
    assert main(["train", *words, taught_by(teacher, odd), "--out", str(other)]) == 0
    assert_same_run(one, other)
    assert read_recipe(one / "recipe.yaml") == read_recipe(other / "recipe.yaml")
    # And a teacher that moved can be told by either.
    assert main(["distill", "--resume", str(one), "--teachers", *teachers]) == 0


def complaint(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    assert main([str(word) for word in words]) == 2
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert out == ""
    return line


def test_the_commands_mistakes(
    assistant: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begin = ["distill", *WORDS, "--out", tmp_path / "run"]
    assert "--teachers runs/NAME" in complaint(capsys, *begin)
    twice = complaint(capsys, *begin, taught_by(assistant), "--teachers", assistant)
    assert "--distill.teachers says what --teachers says" in twice
    same = complaint(capsys, *begin, "--teachers", assistant, assistant)
    assert f"{assistant} twice" in same
    gone = complaint(capsys, *begin, "--teachers", tmp_path / "gone")
    assert f"teacher {tmp_path / 'gone'}" in gone
    assert "--teachers" in complaint(capsys, "train", *begin[1:], "--teachers", assistant)
    assert list(tmp_path.iterdir()) == []


def test_the_commands_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["distill", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--teachers RUN [RUN ...]" in shown
    assert main(["distill", "--help-settings"]) == 0
    assert "--distill.temperature" in capsys.readouterr().out
    assert main(["train", "--help"]) == 0
    assert "--teachers RUN" not in capsys.readouterr().out
    assert main(["--help"]) == 0
    assert "distill" in capsys.readouterr().out


def test_maps_are_compared_behind_the_same_activation(teacher: Path) -> None:
    live = ["--distill.targets", "live", "--distill.hints", '["last=last"]']
    recipe = recipe_of(taught_by(teacher), *live)
    data = load_data(recipe.data)
    teaching = Teaching(recipe, data, CPU, processes=1)
    student = gns.create_model("ghostnetv3_small", width=0.05, in_channels=1).train()
    maps = MapLosses(student, teaching.teachers[0], recipe.distill, (1, 8, 8))
    views = data.train.take(torch.arange(16)).images
    student(normalize(views, data.mean, data.std))
    teaching.teachers[0].logits(views)
    for taps in (maps.student_taps, maps.teacher_taps):
        (shown,) = taps.take().values()
        assert shown.min() == 0
