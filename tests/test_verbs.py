"""The command line's verbs in Python."""

from __future__ import annotations

import inspect
import io
import json
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

import ghostnet_small as gns
from ghostnet_small.cli import main
from ghostnet_small.recipe.overrides import override_words
from ghostnet_small.recipe.recipe import known_keys
from ghostnet_small.train import shown_progress as shown
from ghostnet_small.train.progress import TrainingProgress
from ghostnet_small.train.settings import TrainSettings
from small_run import WORDS, weights_of
from small_study import SETTINGS as STUDY_SETTINGS

SETTINGS = {
    key.removeprefix("--"): json.loads(value) if value != "cpu" else value
    for key, value in zip(WORDS[::2], WORDS[1::2], strict=True)
}

ONE_RUN = f"""\
name: tiny{STUDY_SETTINGS}
students: {{seeds: [0], baseline: plain, strategies: {{plain: }}}}
"""

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, no_pictures: None) -> gns.Run:
    return gns.train(out=tmp_path_factory.mktemp("verbs") / "run", settings=SETTINGS)


@pytest.fixture
def gradient(tmp_path: Path) -> Path:
    """A colour image of another size than the network's."""
    path = tmp_path / "gradient.png"
    rows = np.arange(40 * 30 * 3, dtype=np.uint32).reshape(40, 30, 3)
    Image.fromarray((rows % 251).astype(np.uint8)).save(path)
    return path


# Training --------------------------------------------------------------------------------------


def test_train_gives_the_run_of_the_command(run: gns.Run, tmp_path: Path) -> None:
    assert main(["train", *WORDS, "--out", str(tmp_path / "run")]) == 0
    assert weights_of(run.folder) == weights_of(tmp_path / "run")


def test_a_run_has_its_figures(run: gns.Run) -> None:
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert run.history == rows and len(rows) == 2
    last = json.loads((run.folder / "summary.json").read_text())["last"]
    assert run.test.top1 == last["test_top1"]
    assert run.test.correct == round(run.test.top1 * run.test.total / 100)
    assert len(run.test.per_class) == 10
    assert run.recipe.train.epochs == 2 and isinstance(run.recipe, gns.Recipe)


def test_a_run_of_data_without_a_test_split_says_where_its_figures_are(run: gns.Run) -> None:
    without = replace(run, summary={**run.summary, "last": {"validation_top1": 50.0}})
    with pytest.raises(gns.InputError, match="no test split; history has"):
        without.test  # noqa: B018


def test_a_recipe_is_a_name_a_file_or_an_object(run: gns.Run, tmp_path: Path) -> None:
    short = dict(width=0.05, limit=32, batch_size=12, epochs=1, device="cpu", threads=1)
    by_name = gns.train("quickstart-digits", out=tmp_path / "name", **short)
    assert by_name.recipe.name == "quickstart digits"
    by_file = gns.train(run.folder / "recipe.yaml", out=tmp_path / "file", epochs=1)
    by_object = gns.train(run.recipe, out=tmp_path / "object", epochs=1)
    assert weights_of(by_file.folder) == weights_of(by_object.folder)
    assert by_object.recipe == replace(run.recipe, train=replace(run.recipe.train, epochs=1))


def test_what_is_no_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(gns.InputError, match="recipe is of type dict; give a name, a file or"):
        gns.train({"train": {}}, out=tmp_path / "run")  # type: ignore[arg-type]
    with pytest.raises(gns.InputError, match="the nearest is quickstart-digits"):
        gns.train("quickstart-digit", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_exists_is_refused_and_resumed(run: gns.Run) -> None:
    with pytest.raises(gns.InputError, match=r"exists; go on with it by: train --resume"):
        gns.train(out=run.folder, settings=SETTINGS)
    again = gns.train(out=run.folder, resume=True)
    assert again.summary == json.loads(json.dumps(run.summary))
    assert gns.train(run.recipe, out=run.folder, resume=True) == again


def test_resuming_refuses_another_recipe_and_no_run(run: gns.Run, tmp_path: Path) -> None:
    with pytest.raises(gns.InputError, match=r"another recipe \(train.epochs 2 -> 3\)"):
        gns.train(run.recipe, out=run.folder, resume=True, epochs=3)
    with pytest.raises(gns.InputError, match=r"cannot change settings: train.epochs 2 -> 3"):
        gns.train(out=run.folder, resume=True, epochs=3)
    with pytest.raises(gns.InputError, match="is no run's folder"):
        gns.train(out=tmp_path / "none", resume=True)


def test_resume_starts_what_is_not_there(run: gns.Run, tmp_path: Path) -> None:
    fresh = gns.train(run.recipe, out=tmp_path / "run", resume=True)
    assert weights_of(fresh.folder) == weights_of(run.folder)


def test_distill_is_train_with_teachers(run: gns.Run, tmp_path: Path) -> None:
    student = gns.distill(run.recipe, teachers=[run], out=tmp_path / "student", epochs=1)
    assert student.recipe.distill.teachers == (str(run.folder),)
    assert student.summary["distill"]["teachers"][0]["name"]


@pytest.mark.parametrize(
    ("teachers", "message"),
    [
        (None, r"distill needs teachers; give teachers=\["),
        ([], r"distill needs teachers; give teachers=\["),
        ("runs/mine", "teachers is 'runs/mine'; give a list of teachers"),
    ],
)
def test_distill_without_a_list_of_teachers_is_refused(
    teachers: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(gns.InputError, match=message):
        gns.distill(teachers=teachers, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_study_trains_all_and_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(ONE_RUN)
    rows = gns.study(file, out=tmp_path / "study", epochs=1)
    assert [(row["name"], row["status"]) for row in rows] == [("plain-s0", "finished")]
    assert gns.study(file, out=tmp_path / "study", epochs=1) == rows
    with pytest.raises(gns.InputError, match="the nearest"):
        gns.study("quickstart-digit", out=tmp_path / "other")


# Signals and output ----------------------------------------------------------------------------


def at_first_step(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> None:
    """Call ``act`` once, in the middle of the first epoch."""
    step, left = TrainingProgress.step, [act]

    def stepped(self: TrainingProgress, *state: Any) -> None:
        step(self, *state)
        if left:
            left.pop()()

    monkeypatch.setattr("ghostnet_small.train.progress.TrainingProgress.step", stepped)


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_saves_and_reaches_the_caller(
    number: int,
    raised: type[BaseException],
    run: gns.Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_first_step(monkeypatch, lambda: signal.raise_signal(number))
    before = signal.getsignal(number)
    with pytest.raises(raised) as caught:
        gns.train(run.recipe, out=tmp_path / "run")
    assert (tmp_path / "run/state.safetensors").exists()
    assert not (tmp_path / "run/summary.json").exists()
    assert signal.getsignal(number) is before
    if raised is SystemExit:
        assert caught.value.code == 143  # type: ignore[attr-defined]
    else:
        assert "resume=True goes on" in str(caught.value)
    resumed = gns.train(run.recipe, out=tmp_path / "run", resume=True)
    assert weights_of(resumed.folder) == weights_of(run.folder)


def test_in_another_thread_no_signal_is_caught(
    run: gns.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers: list[Any] = []
    at_first_step(monkeypatch, lambda: handlers.append(signal.getsignal(signal.SIGINT)))
    found: list[gns.Run] = []
    work = lambda: found.append(gns.train(run.recipe, out=tmp_path / "run"))  # noqa: E731
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGINT)]
    assert weights_of(found[0].folder) == weights_of(run.folder)


def test_a_script_is_silent_unless_it_asks(
    run: gns.Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    gns.train(run.recipe, out=tmp_path / "silent", epochs=1)
    assert capfd.readouterr() == ("", "")
    gns.train(run.recipe, out=tmp_path / "told", epochs=1, progress=True)
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("epoch 1/1  top-1: train")


@pytest.mark.parametrize(
    ("terminal", "notebook", "progress", "kind", "quiet"),
    [
        (False, False, None, TrainingProgress, True),
        (False, False, True, TrainingProgress, False),
        (True, False, None, TrainingProgress, False),
        (True, False, False, TrainingProgress, True),
        (False, True, None, shown.NotebookProgress, False),
        (False, True, False, TrainingProgress, True),
    ],
)
def test_progress_is_shown_in_terminals_and_notebooks(
    terminal: bool,
    notebook: bool,
    progress: bool | None,
    kind: type,
    quiet: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def console(stderr: bool) -> Console:
        # A notebook's console is no terminal, unless it is forced to be.
        is_terminal = None if notebook else terminal
        return Console(file=io.StringIO(), force_terminal=is_terminal, force_jupyter=notebook)

    monkeypatch.setattr(shown, "Console", console)
    found = shown.shown_progress(TrainSettings(), progress)
    with found:
        assert type(found) is kind
        if isinstance(found, TrainingProgress):
            assert found.console.quiet is quiet
    assert isinstance(shown.shown_progress(TrainSettings(), progress, main=False), TrainingProgress)


def test_a_notebook_has_one_bar_for_all_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    with shown.NotebookProgress(TrainSettings(epochs=3)) as progress:
        progress.preparing("targets", 5, 5)
        progress.step(0, 4, 4, 1.25, 50.0)
        progress.epoch({"validation_top1": 61.5})
        progress.step(1, 2, 4, 1.0, 60.0)
        assert (progress.bar.n, progress.bar.total) == (6, 12)
    last = capsys.readouterr().err.rstrip().rpartition("\r")[2]
    assert "epoch 2/3" in last and "loss 1.000, top-1 60.0 %, validation 61.50 %" in last


# Overrides by name -----------------------------------------------------------------------------


def test_a_setting_is_named_by_its_last_part_or_its_full_key() -> None:
    words = override_words({"train.epochs": 20}, {"width": 0.5, "data.cache": None, "flip": "none"})
    assert words == [
        "--train.epochs=20",
        "--model.width=0.5",
        "--data.cache=null",
        "--augment.flip=none",
    ]
    assert override_words(None, {"name": "mine"}) == ["--name=mine"]  # a full key goes first


def test_values_are_those_of_python() -> None:
    named = {
        "shuffle": False,
        "seed": np.int64(3),
        "class_weights": torch.tensor([1.0, 2.0]),
        "teachers": ["a", Path("b")],
        "class_names": ("no", "yes, it is"),
    }
    assert override_words(None, named) == [
        "--train.shuffle=false",
        "--train.seed=3",
        "--train.class_weights=[1.0, 2.0]",
        '--distill.teachers=["a", "b"]',
        '--data.class_names=["no", "yes, it is"]',
    ]


def test_data_are_a_path_or_a_name() -> None:
    assert override_words(None, {}, data=Path("pictures")) == ["--data.root=pictures"]
    # The recipe's own root would go before a source.
    assert override_words(None, {}, data="digits") == ["--data.root=null", "--data.source=digits"]


@pytest.mark.parametrize(
    ("settings", "named", "message"),
    [
        ({}, {"epoch": 3}, "setting 'epoch' is not known; the nearest is train.epochs"),
        ({"train.epoch": 3}, {}, "'train.epoch' is not known; the nearest is train.ep"),
        ({}, {"cache": "off"}, "'cache' may be data.cache or distill.cache; give its full key: se"),
        ({"train.epochs": 3}, {"epochs": 4}, "train.epochs is given twice, once as 'epochs'"),
    ],
)
def test_a_name_that_means_no_setting_or_several_is_refused(
    settings: dict[str, Any], named: dict[str, Any], message: str
) -> None:
    with pytest.raises(gns.InputError, match=message):
        override_words(settings, named)


def test_data_and_a_setting_that_says_the_same_are_refused(tmp_path: Path) -> None:
    with pytest.raises(gns.InputError, match=r"data.root is given twice, once as 'root'"):
        gns.train(out=tmp_path / "run", data=tmp_path, root="elsewhere")


def test_a_bad_value_is_the_error_of_a_recipe(tmp_path: Path) -> None:
    with pytest.raises(gns.InputError, match=r"train.epochs is 'many'; it must be a whole number"):
        gns.train(out=tmp_path / "run", epochs="many")


def test_no_argument_of_a_verb_hides_a_setting() -> None:
    """Else ``train(data=...)`` might mean two things."""
    last = {key.rpartition(".")[2] for key in known_keys()}
    for verb in (gns.train, gns.distill, gns.study):
        assert last.isdisjoint(set(inspect.signature(verb).parameters) - {"teachers"})


# Weights in use --------------------------------------------------------------------------------


def test_evaluate_gives_the_runs_scores(run: gns.Run) -> None:
    found = gns.evaluate(run, split="test", threads=1)
    assert (found.top1, found.loss, found.correct) == (
        run.test.top1,
        pytest.approx(run.test.loss, rel=1e-5),
        run.test.correct,
    )
    assert found.flip_top1 is None and gns.evaluate(run, flip=True).flip_top1 is not None
    assert gns.evaluate(str(run.folder), data="digits", split="validation").total == 8


def test_evaluate_refuses_settings_without_effect(run: gns.Run) -> None:
    with pytest.raises(gns.InputError, match=r"train.epochs has no effect here; leave it out"):
        gns.evaluate(run, epochs=3)
    with pytest.raises(gns.InputError, match=r"'treads' is not known; .* train.threads"):
        gns.evaluate(run, treads=3)


def test_every_kind_of_image_is_answered_as_the_command_does(
    run: gns.Run, gradient: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(run.folder), str(gradient), "--top", "3", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    with Image.open(gradient) as image:
        image.load()
    array = np.array(image)
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    classifier = gns.load_classifier(run)
    kinds = [str(gradient), gradient, image, array, tensor]
    expected = gns.Prediction(
        told["label"],
        told["probability"],
        tuple((one["label"], one["probability"]) for one in told["topk"]),
    )
    # One at a time: the place in a batch may change how sums are rounded.
    assert [classifier.predict(kind, top=3) for kind in kinds] == [[expected]] * 5
    assert gns.predict(run, gradient, top=3) == [expected]
    together = classifier.predict(kinds)
    assert [one.label for one in together] == [expected.label] * 5
    assert [one.probability for one in together] == [pytest.approx(expected.probability)] * 5


def test_grey_images_are_those_of_one_channel(run: gns.Run) -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    classifier = gns.load_classifier(run)
    kinds = [grey, Image.fromarray(grey), torch.from_numpy(grey)[None]]
    (first,), *others = (classifier.predict(kind) for kind in kinds)
    assert others == [[first], [first]] and len(first.top) == 5
    assert first.top[0] == (first.label, first.probability)


def test_an_image_lies_as_its_file_says(run: gns.Run, gradient: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 270 degrees
    turned = tmp_path / "turned.png"
    with Image.open(gradient) as image:
        image.save(turned, exif=exif)
    classifier = gns.load_classifier(run)
    with Image.open(turned) as image:
        of_image = classifier.predict(image)
    assert of_image == classifier.predict(turned)
    assert of_image != classifier.predict(gradient)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 8)), "image 1 holds float64 values; give uint8 pixels from 0 to 255"),
        (torch.zeros(3, 8, 8), "image 1 holds float32 values; .* multiply values from 0 to 1"),
        (np.zeros((8, 8), np.int64), r"image 1 holds int64 values; give uint8 .* not normalised$"),
        (np.zeros((3, 8, 8), np.uint8), r"image 1 is an array of shape \(3, 8, 8\); give a path"),
        (torch.zeros(8, 8, 3, dtype=torch.uint8), r"image 1 is a tensor of shape \(8, 8, 3\)"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), r"shape \(2, 3, 8, 8\); .*; of a batch give"),
        (np.zeros((0, 8), np.uint8), r"shape \(0, 8\)"),
        (b"GIF89a", "image 1 is of type bytes; give a path, a PIL image"),
        ("gone.png", "gone.png does not exist; give a picture file"),
        (".", r"\. is a folder; give its files, as a list"),
        (Image.new("F", (8, 8)), "image 1: mode F .* is not read; save"),
    ],
)
def test_what_is_no_image_is_refused_with_the_cure(image: Any, message: str, run: gns.Run) -> None:
    grey = np.zeros((8, 8), np.uint8)
    with pytest.raises(gns.InputError, match=message):
        gns.load_classifier(run).predict([grey, image])


def test_a_truncated_image_that_pil_has_opened_is_refused(run: gns.Run, tmp_path: Path) -> None:
    cut = tmp_path / "cut.png"
    noise = torch.randint(256, (64, 64), generator=torch.Generator().manual_seed(0))
    Image.fromarray(noise.byte().numpy()).save(cut)
    cut.write_bytes(cut.read_bytes()[:2000])
    with (
        Image.open(cut) as image,
        pytest.raises(gns.InputError, match=r"image 0 cannot be read \(.*\); replace or remove"),
    ):
        gns.load_classifier(run).predict(image)


def test_a_classifier_refuses_a_top_of_nothing(run: gns.Run) -> None:
    with pytest.raises(gns.InputError, match="top 0 is not allowed; give at least 1"):
        gns.load_classifier(run).predict([], top=0)
    assert gns.load_classifier(run).predict([]) == []


def test_fold_gives_the_folder_of_the_same_network(run: gns.Run, tmp_path: Path) -> None:
    folded = gns.fold(run, tmp_path / "folded")
    assert folded == tmp_path / "folded"
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    before, after = (gns.load_classifier(one).predict(grey)[0] for one in (run, folded))
    assert before.label == after.label
    with pytest.raises(gns.InputError, match="exists; give another folder"):
        gns.fold(run, folded)


def test_export_gives_the_files_and_their_checks(
    run: gns.Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files = gns.export(run, formats=["c"], int8=True, calibration=24, out=tmp_path / "files")
    assert capfd.readouterr().out == ""
    plain, small = files
    assert [(one.format, one.precision) for one in files] == [("c", "float32"), ("c", "int8")]
    assert all(file.exists() for one in files for file in one.files)
    assert plain.size_bytes == sum(file.stat().st_size for file in plain.files)
    assert plain.relative_error < 1e-4 and plain.top1 is None
    assert plain.flash_bytes > small.flash_bytes and small.ram_bytes
    assert small.flash_counted.startswith(("compiled for ", "tables only"))
    assert small.top1 is not None and set(small.top1) >= {"before", "after", "split"}
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    exported, trained = (gns.load_classifier(one).predict(grey)[0] for one in (plain, run))
    assert exported.label == trained.label
    assert gns.evaluate(plain).correct == run.test.correct


def test_export_refuses_before_any_work(run: gns.Run, tmp_path: Path) -> None:
    with pytest.raises(gns.InputError, match="are for int8 files; give int8=True too"):
        gns.export(run, formats="c", calibration=3, out=tmp_path / "files")
    with pytest.raises(gns.InputError, match="onxx"):
        gns.export(run, formats="onxx", out=tmp_path / "files")
    with pytest.raises(gns.InputError, match="--ram '1 GB' is no size"):
        gns.export(run, formats="c", flash=450_000, ram="1 GB", out=tmp_path / "files")
    assert not (tmp_path / "files").exists()


# The package -----------------------------------------------------------------------------------


def test_verbs_that_share_a_packages_name_are_both() -> None:
    from ghostnet_small.distill import kd_loss
    from ghostnet_small.verbs import training

    assert gns.distill.kd_loss is kd_loss  # type: ignore[attr-defined]
    for name in ("train", "distill", "study"):
        verb = getattr(gns, name)
        assert inspect.signature(verb) == inspect.signature(getattr(training, name))


def test_the_package_is_typed() -> None:
    assert (Path(gns.__file__).parent / "py.typed").read_bytes() == b""
