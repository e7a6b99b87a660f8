from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import ghostnet_small as gns
from engine_kit import Silent, measured
from ghostnet_small.data.sources import load_data
from ghostnet_small.errors import InputError
from ghostnet_small.nn.complexity import both_forms
from ghostnet_small.recipe.recipe import Recipe, read_recipe
from ghostnet_small.run import start as study
from ghostnet_small.tensorfile import read_tensors, write_tensors
from ghostnet_small.train.interfaces import Interrupted
from ghostnet_small.train.metrics import classification_report
from ghostnet_small.use.evaluation import evaluate_classifier
from makers import make_folder

WORDS = [
    *("--name", "tiny", "--model.width", "0.25", "--data.limit", "60", "--data.validation", "0.2"),
    *("--train.epochs", "2", "--train.batch_size", "16", "--train.ema_decay", "0.9"),
    *("--train.device", "cpu", "--train.checkpoint_seconds", "0", "--augment.crop_padding", "1"),
]

# But for the run that all compare with, which keeps them as ever.
pytestmark = pytest.mark.usefixtures("quick_pictures")


def recipe_of(*more: str) -> Recipe:
    return read_recipe(None, [*WORDS, *more])


def never() -> int | None:
    return None


def after(polls: int) -> Callable[[], int | None]:
    """Signal 2 from the poll after ``polls`` others on."""
    left = iter(range(polls))
    return lambda: 2 if next(left, None) is None else None


def start(recipe: Recipe, out: Path, stop: Callable[[], int | None] = never) -> dict[str, Any]:
    return study.start(recipe, out, watcher=Silent(), stop_signal=stop)


def resume(out: Path, *words: str, stop: Callable[[], int | None] = never) -> dict[str, Any]:
    return study.resume(out, list(words), watcher=Silent(), stop_signal=stop)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("runs") / "whole"
    return out, start(recipe_of(), out)


def test_what_lies_in_a_run(whole: tuple[Path, dict[str, Any]]) -> None:
    out, summary = whole
    found = {str(file.relative_to(out)) for file in out.rglob("*") if file.is_file()}
    assert found == {
        "recipe.yaml",
        "metrics.jsonl",
        "summary.json",
        "classes.json",
        "state.safetensors",
        "state.previous.safetensors",
        *(f"{kind}/{file}" for kind in ("last", "best") for file in WEIGHT_FILES),
        *(f"pictures/{name}.png" for name in ("curves", "confusion", "mistakes")),
    }
    written = json.loads((out / "summary.json").read_text())
    assert written == {**summary, "digest": written["digest"]}
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert rows == summary["epochs"] and [row["epoch"] for row in rows] == [1, 2]
    assert read_recipe(out / "recipe.yaml") == recipe_of()


def test_flip_averaging_has_a_figure_of_its_own_where_training_flips(
    whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    assert "test_flip_top1" not in whole[1]["last"]
    summary = start(
        recipe_of("--augment.flip", "random", "--data.limit", "600", "--train.epochs", "8"),
        tmp_path / "run",
    )
    found = evaluate_classifier(tmp_path / "run", flip=True, say=lambda text: None)
    assert summary["last"]["test_flip_top1"] == found["flip_top1"]
    assert summary["last"]["test_top1"] == found["top1"] != found["flip_top1"]
    assert found["flip_top1"] == 100 * found["flip_correct"] / found["total"]
    # Pictures that stay in their file are read twice.
    mapped = ("--data.memory_gib=1e-6", f"--data.cache={tmp_path / 'cache'}")
    again = evaluate_classifier(
        tmp_path / "run", flip=True, overrides=mapped, say=lambda text: None
    )
    assert again["flip_top1"] == found["flip_top1"]
    shown = evaluate_classifier(tmp_path / "run", say=lambda text: None)
    assert "flip_top1" not in shown and shown["top1"] == found["top1"]


WEIGHT_FILES = ("model.safetensors", "config.json")


def test_the_summary_says_what_was_trained_on_what(whole: tuple[Path, dict[str, Any]]) -> None:
    _, summary = whole
    recipe = recipe_of()
    data = load_data(recipe.data)
    assert summary["recipe"] == recipe.as_dict() and summary["recipe_hash"] == recipe.hash()
    assert summary["seed"] == 0 and "best_on_test" not in summary
    assert summary["data"] == {
        "form": "digits",
        "fingerprint": data.fingerprint,
        "classes": [str(digit) for digit in range(10)],
        "skipped": [],
        "train_images": 48,
        "validation_images": 12,
        "test_images": len(data.split("test")),
    }
    assert summary["processes"] == 1
    for key in ("commit", "device", "libraries", "wall_seconds", "images_per_s"):
        assert summary[key], key
    model = gns.create_model("ghostnetv3_small", width=0.25, in_channels=1)
    for form, stages in both_forms(model, (1, 8, 8)).items():
        total = stages["total"]
        assert (summary["model"]["params"][form], summary["model"]["macs"][form]) == total


@pytest.mark.parametrize("kind", ["last", "best"])
def test_the_weights_have_the_figures_of_the_summary(
    whole: tuple[Path, dict[str, Any]], kind: str
) -> None:
    out, summary = whole
    model, info = gns.load(out, kind)
    data = load_data(recipe_of().data)
    assert (info.classes, info.size, info.mean) == (data.classes, data.size, data.mean)
    assert info.recipe == summary["recipe"]
    found = measured(model, info, data.split("validation"))
    assert found.top1 == summary[kind]["validation_top1"]
    if kind == "last":
        found = measured(model, info, data.split("test"))
        last = summary["last"]
        assert (found.correct, found.total) == (last["test_correct"], last["test_total"])
        assert found.top1 == last["test_top1"]
        assert found.loss == pytest.approx(last["test_loss"], rel=1e-5)
        labels = data.split("test").labels
        report = classification_report(found.logits, labels, data.classes)
        assert json.loads((out / "classes.json").read_text()) == report["per_class"]
        assert last["test_balanced_accuracy"] == report["balanced_accuracy"]
        calibration = last["test_calibration_error"]
        assert calibration == pytest.approx(report["calibration_error"], rel=1e-5)
    else:
        assert summary["best"]["validation_top1"] == max(
            row["validation_top1"] for row in summary["epochs"]
        )


def assert_same_run(out: Path, whole: Path) -> None:
    for kind in ("last", "best"):
        for name in WEIGHT_FILES:
            assert (out / kind / name).read_bytes() == (whole / kind / name).read_bytes()
    tensors, wanted = (read_tensors(p / "state.safetensors")[0] for p in (out, whole))
    assert all(torch.equal(tensors[name], value) for name, value in wanted.items())
    one, other = (json.loads((p / "summary.json").read_text()) for p in (out, whole))
    assert one["last"] == other["last"] and one["best"] == other["best"]


# Two epochs of three steps, a validation each, and the test split at the end: polls 1 .. 9.
@pytest.mark.parametrize("polls", [0, 5, 8])
def test_stopped_twice_it_ends_as_if_never(
    tmp_path: Path, whole: tuple[Path, dict[str, Any]], polls: int
) -> None:
    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        start(recipe_of(), out, stop=after(polls))
    assert not (out / "summary.json").exists()
    if polls < 8:
        with pytest.raises(Interrupted):
            resume(out, stop=after(0))
    torch.manual_seed(5)
    summary = resume(out)
    assert summary["sessions"][0]["from_step"] == 0
    assert len(summary["sessions"]) == (3 if polls < 8 else 2)
    assert_same_run(out, whole[0])


def test_killed_before_the_first_state_it_starts_again(
    tmp_path: Path, whole: tuple[Path, dict[str, Any]]
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    shutil.copy(whole[0] / "recipe.yaml", out)
    resume(out)
    assert_same_run(out, whole[0])


def test_killed_before_the_summary_it_finishes(
    tmp_path: Path, whole: tuple[Path, dict[str, Any]]
) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole[0], out)
    (out / "summary.json").unlink()
    shutil.rmtree(out / "pictures")
    before = (out / "state.safetensors").stat().st_mtime_ns
    resume(out)
    assert_same_run(out, whole[0])
    assert (out / "pictures" / "curves.png").is_file()
    assert (out / "state.safetensors").stat().st_mtime_ns == before


def test_a_finished_run_gives_its_summary(whole: tuple[Path, dict[str, Any]]) -> None:
    assert resume(whole[0]) == whole[1]
    assert resume(whole[0], "--train.device", "auto", "--train.threads", "2") == whole[1]


def test_a_resume_with_changed_settings_shows_them(whole: tuple[Path, dict[str, Any]]) -> None:
    with pytest.raises(InputError) as raised:
        resume(whole[0], "--train.epochs", "9", "--model.width=0.5")
    said = str(raised.value)
    assert "train.epochs 2 -> 9" in said and "model.width 0.25 -> 0.5" in said
    assert "batch_size" not in said


def unfinished(path: Path, whole: Path) -> Path:
    shutil.copytree(whole, path)
    (path / "summary.json").unlink()
    return path


def test_other_data_cannot_go_on_with_it(
    tmp_path: Path, whole: tuple[Path, dict[str, Any]]
) -> None:
    out = unfinished(tmp_path / "run", whole[0])
    other = make_folder(tmp_path / "other", train=40, size=8, grey=True)
    with pytest.raises(InputError, match="fingerprint"):
        resume(out, "--data.root", str(other))


def test_a_resume_elsewhere_finds_the_data_and_the_teachers(
    whole: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "A", tmp_path / "B"
    shape = {"train": 4, "test": 0, "size": 8, "grey": True, "classes": tuple(map(str, range(10)))}
    make_folder(first / "pics", **shape)  # type: ignore[arg-type]
    make_folder(second / "pics", **shape, seed=1)  # type: ignore[arg-type]
    shutil.copytree(whole[0] / "last", first / "teacher")
    monkeypatch.chdir(first)
    recipe = recipe_of(
        *("--data.root", "pics", "--data.limit", "null", "--data.validation", "0"),
        *("--distill.teachers", '["teacher"]', "--distill.targets", "live"),
    )
    with pytest.raises(Interrupted):
        start(recipe, Path("run"), stop=after(2))
    monkeypatch.chdir(second)
    summary = resume(Path("../A/run"))
    assert summary["recipe"]["data"]["root"] == "pics" == recipe.data.root
    # What is copied from a run has no path of this machine.
    assert str(tmp_path) not in (first / "run/last/config.json").read_text()
    assert json.loads((first / "run/place.json").read_text()) == {
        "pics": str(first / "pics"),
        "teacher": str(first / "teacher"),
        "digest": json.loads((first / "run/place.json").read_text())["digest"],
    }


def test_a_resume_with_another_path_keeps_what_it_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder(tmp_path / "pics", train=6, test=1, size=8)
    monkeypatch.chdir(tmp_path)
    recipe = recipe_of("--data.root", "pics", "--data.limit", "null", "--data.validation", "0")
    with pytest.raises(Interrupted):
        start(recipe, Path("run"), stop=after(2))
    Path("pics").rename("moved")
    with pytest.raises(InputError, match=r"'pics' is not here, and .*/pics, where the run was"):
        resume(Path("run"))
    resume(Path("run"), "--data.root=moved")
    monkeypatch.chdir("/")
    found = evaluate_classifier(tmp_path / "run", say=lambda text: None)
    assert found["total"] == 3


def test_a_state_of_another_network_is_told(
    tmp_path: Path, whole: tuple[Path, dict[str, Any]]
) -> None:
    out = unfinished(tmp_path / "run", whole[0])
    tensors, values = read_tensors(out / "state.safetensors")
    for wrong in (
        {**tensors, "model.head.bias": torch.ones(3)},
        {},
        {**tensors, "unknown": torch.ones(3)},
    ):
        write_tensors(out / "state.safetensors", wrong, values)
        with pytest.raises(InputError) as raised:
            resume(out)
        assert str(out) in str(raised.value) and "\n" not in str(raised.value)


def test_nothing_is_written_where_a_recipe_is_refused(tmp_path: Path) -> None:
    for words, said in (
        (["--train.batch_size", "49"], "48"),
        (["--model.width", "-1"], "width"),
        (["--model.name", "resnet"], "resnet"),
        (["--augment.cutout", "9"], "cutout"),
        (["--data.root", str(tmp_path / "none")], "none"),
        (["--train.precision", "fp16"], "fp16"),
        (["--train.class_weights", "[1, 2]"], "2 numbers for 10 classes"),
    ):
        with pytest.raises(InputError, match=said):
            start(recipe_of(*words), tmp_path / "run")
        assert list(tmp_path.iterdir()) == []


def test_a_users_folder_without_validation_and_test(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set", train=8, test=0, size=12)
    out = tmp_path / "run"
    words = ["--data.root", str(root), "--data.validation", "0", "--train.epochs", "1"]
    words += ["--data.limit", "null"]
    summary = start(recipe_of(*words), out)
    assert summary["last"] == {} and summary["best"] is None
    assert (summary["data"]["validation_images"], summary["data"]["test_images"]) == (0, 0)
    assert not (out / "best").exists()
    with pytest.raises(InputError, match="last"):
        gns.load(out, "best")
    assert gns.load(out)[1].classes == ("apple", "leaf", "plum")


def test_the_papers_figure_is_apart_and_called_so(tmp_path: Path) -> None:
    words = ("--train.monitor_test", "true", "--data.validation", "0")
    summary = start(recipe_of(*words), tmp_path / "run")
    tops = [row["test_top1"] for row in summary["epochs"]]
    assert summary["best_on_test"] == {"epoch": tops.index(max(tops)) + 1, "top1": max(tops)}
    assert summary["best"] is None and summary["last"]["test_top1"] == tops[-1]
