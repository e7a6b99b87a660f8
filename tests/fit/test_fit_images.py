"""A fit from end to end: short trainings of few images, with speeds that are said, not measured."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ghostnet_small as gns
import makers
import page_kit
from ghostnet_small import cli
from ghostnet_small.errors import InputError
from ghostnet_small.fit import fit_images, fit_plan
from ghostnet_small.fit.device_limits import limits_of
from ghostnet_small.fit.fit_folder import FitFolder
from ghostnet_small.fit.fit_images import carry_out, planned
from ghostnet_small.fit.speed import Speed
from ghostnet_small.study.planning import plan_study
from ghostnet_small.study.scheduler import Watcher
from ghostnet_small.train.interfaces import Interrupted
from ghostnet_small.use.evaluation import evaluate_classifier
from report_rows import Reader

ONE_THREAD = "--train.threads=1"


@pytest.fixture(autouse=True, scope="module")
def no_time_apart() -> Iterator[None]:
    """So that seconds give a plan of all trainings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_plan, "APART", 0.0)
        patch.setattr(fit_plan, "EACH", 0.0)
        patch.setattr(fit_plan, "FOLDS", 2)
        patch.setattr(
            fit_images, "measure", lambda shape, *_: Speed(1000 if shape.width <= 1 else 720, 9000)
        )
        yield


def nothing(said: str) -> None:
    """Take a remark."""


class Silent(Watcher):
    """Show nothing of several trainings."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **more: None


def make_fit(out: Path, **more: Any) -> Any:
    """Fit forty digits within five seconds, as they are said to take."""
    given = {"flash": "300kB", "minutes": 0.08, "limit": 40, "threads": 1} | more
    return gns.fit("digits", out=out, progress=False, **given)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A fit with a teacher and all trainings that measure."""
    return make_fit(tmp_path_factory.mktemp("fitted") / "fit")


def test_what_comes_out(fitted: Any) -> None:
    figures = fitted.figures
    assert figures["made"]["flash"] <= figures["needs"]["flash"] <= 300_000
    assert figures["made"]["flash"] >= 0.99 * figures["needs"]["flash"]
    assert figures["made"]["ram"] == figures["needs"]["ram"]
    assert figures["images"] == 359 and figures["split"] == "test"
    low, high = figures["interval"]
    assert low <= figures["top1"] <= high
    teacher, time, images, width = (one["what"] for one in figures["changes"])
    assert teacher.startswith("a teacher, ") and " epochs instead of " in time
    assert images == "all images instead of half, in as many steps"
    assert width == "width 2.8 instead of 1, the teacher's"
    answer = fitted.classifier.predict(np.zeros((8, 8), np.uint8))[0]
    assert answer.label in map(str, range(10))
    page = fitted.report.read_text()
    assert "10 classes: a network within 300 kB of flash" in page and "<script" not in page
    assert "Near copies of these images were looked for" in page
    card = (fitted.folder / "README.md").read_text()
    assert "## What it cannot do" in card
    assert f"{figures['made']['flash']:,} bytes of flash" in card


def test_the_report_links_to_the_files(fitted: Any) -> None:
    read = Reader(fitted.report.read_text())
    links = [a["href"] or "" for tag, a in read.tags if tag == "a"]
    files = [link for link in links if not link.startswith("#")]
    assert [fitted.folder / link for link in files] == list(fitted.files)
    assert all((fitted.folder / link).is_file() for link in files)


def test_the_report_has_the_confusion_of_the_int8_file(fitted: Any) -> None:
    found = evaluate_classifier(
        fitted.folder / "files" / "model.int8.c",
        overrides=["--data.source=digits", "--data.limit=40"],
        say=nothing,
    )
    page = fitted.report.read_text()
    drawing = page[page.index('id="confusion-') : page.index("Most frequent mistakes")]
    cells = [count for line in found["confusion"] for count in line if count]
    names = [str(number) for number in range(10)]
    texts = re.findall(r">([^<>]+)</text>", drawing)
    assert texts == [*names, *names, *map(str, cells), "class given", "label"]
    most = max(
        count
        for label, line in enumerate(found["confusion"])
        for given, count in enumerate(line)
        if label != given
    )
    assert re.search(rf"Most frequent mistakes: \d instead of \d \({most}\)", page)


def test_plots_are_in_the_colours_of_the_page(fitted: Any) -> None:
    page = fitted.report.read_text()
    tags = [tag for tag, _ in Reader(page).tags]
    assert tags.count("svg") == 3 and tags.count("img") == 1  # the mistakes, which are photos
    assert not re.findall(r"(?:fill|stroke|color): ?#", page[page.index("</style>") :])


def test_no_table_is_wider_than_a_phone(fitted: Any) -> None:
    api = pytest.importorskip("playwright.sync_api", reason="install playwright")
    if page_kit.CHROMIUM is None:
        pytest.skip("install chromium, in which the page is opened")
    with api.sync_playwright() as playwright:
        page = page_kit.start_chromium(playwright).new_page(viewport={"width": 390, "height": 844})
        page.goto(fitted.report.as_uri())
        wide = page.evaluate(
            "Array.from(document.querySelectorAll('.scroll, .plot:has(svg)'))"
            ".filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.textContent)"
        )
    assert wide == []


def test_other_limits_keep_what_is_trained(fitted: Any) -> None:
    runs = fitted.folder / "study" / "runs"
    names = {"teacher-1", "half-1", "alone-1-s0", "taught-1-s0", "fit-1-s0"}

    def times() -> dict[str, int]:
        return {run.name: (run / "summary.json").stat().st_mtime_ns for run in runs.iterdir()}

    before = times()
    assert set(before) == names
    # A little more flash has room for nothing else.
    assert make_fit(fitted.folder, flash="301kB").figures["top1"] == fitted.figures["top1"]
    assert times() == before
    # A larger head is another student of the same teacher.
    words = ["--data.source=digits", "--data.limit=40", ONE_THREAD]
    folder, limits = FitFolder(fitted.folder), limits_of("480kB", None, None)
    row = planned(words, folder, limits, 0.08, say=nothing)
    assert row["teacher"] == "teacher-1" and row["student"] == "fit-3-s0"
    assert "teacher-3" not in row["entries"]["runs"]
    with pytest.raises(InputError, match=r"begun with --train\.seed 0; give that"):
        planned([*words, "--train.seed=1"], folder, limits, 0.08, say=nothing)


def test_large_images_of_a_folder_keep_the_budget(tmp_path: Path) -> None:
    images = makers.make_folder(tmp_path / "images", train=40, test=34, size=64)
    found = gns.fit(
        images,
        out=tmp_path / "fit",
        flash="150kB",
        ram="160kB",
        minutes=0.01,
        progress=False,
    )
    made, needs = found.figures["made"], found.figures["needs"]
    assert made["flash"] <= needs["flash"] <= 150_000 and made["ram"] == needs["ram"] <= 160_000
    assert found.figures["images"] == 102 and found.figures["changes"] == []
    assert found.classifier.info.size == (64, 64)


def test_a_stopped_fit_goes_on(tmp_path: Path) -> None:
    words = ["--data.source=digits", "--data.limit=40", ONE_THREAD]
    folder, limits = FitFolder(tmp_path / "fit"), limits_of("300kB", None, None)
    row = planned(words, folder, limits, 0.01, say=nothing)

    def go_on(stop: Callable[[], int | None]) -> dict[str, Any]:
        return carry_out(
            row,
            words,
            folder,
            formats=("c",),
            show=lambda jobs: nullcontext(Silent()),
            stop_signal=stop,
            say=nothing,
        )

    with pytest.raises(Interrupted):
        go_on(lambda: 2)
    assert not (folder.path / "report.html").exists()
    # The plan that was begun is what is asked for once more.
    assert planned(words, folder, limits, 0.01, say=nothing) == row
    assert go_on(lambda: None)["images"] == 359
    assert (folder.path / "report.html").exists()


def test_few_images_get_a_cross_validated_figure(tmp_path: Path) -> None:
    images = makers.make_folder(tmp_path / "images", train=10, test=0, size=8)
    said: list[str] = []
    words = [f"--data.root={images}", ONE_THREAD]
    folder = FitFolder(tmp_path / "fit")
    row = planned(words, folder, limits_of("100kB", None, None), 0.02, say=said.append)
    assert any("has 9 training images; below 20" in one for one in said)
    found = carry_out(
        row,
        words,
        folder,
        formats=("c",),
        show=lambda jobs: nullcontext(Silent()),
        stop_signal=lambda: None,
        say=nothing,
    )
    assert found["cross_validated"][1] == 30 and found["changes"] == []
    assert "Cross-validated" in (folder.path / "report.html").read_text()


def test_the_plan_is_a_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "fit"
    words = ["fit", "digits", "--flash", "300kB", "--minutes", "0.2", "--out", str(out), "--plan"]
    assert cli.main([*words, "--data.limit", "100"]) == 0
    text = capsys.readouterr().out
    assert not out.exists()
    file = tmp_path / "plan.yaml"
    file.write_text(text[text.index("# Made by") :])
    study = plan_study(file, [], tmp_path / "study")
    assert {run.name for run in study.runs} >= {"teacher-1", "fit-1-s0", "alone-1-s0"}
    assert cli.main([*words, "--data.limit", "100", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)["row"]
    assert row["asked"]["flash"] == 300_000


def plan_of(images: Path | str, out: Path, *words: str, flash: str = "300kB") -> dict[str, Any]:
    place = [*fit_images.fit_words(str(images)), *words]
    return planned(place, FitFolder(out), limits_of(flash, None, None), 1.0, say=nothing)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": ("apple",)}, "has 1 class with training images"),
        ({"train": 1}, "give at least 2, better 20 or more"),
    ],
)
def test_images_that_teach_nothing_are_refused(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    images = makers.make_folder(tmp_path / "images", size=8, **changes)
    with pytest.raises(InputError, match=said):
        plan_of(images, tmp_path / "fit", "--data.validation=0")


def test_a_budget_below_the_smallest_network_is_refused_with_what_that_takes(
    tmp_path: Path,
) -> None:
    with pytest.raises(InputError, match=r"no network keeps 20 kB of flash: the smallest.* takes"):
        plan_of("digits", tmp_path / "fit", flash="20kB")


@pytest.mark.parametrize("word", ["--model.width=2", "--distill.alpha=0.5", "--train.epochs=3"])
def test_what_the_plan_decides_is_refused(tmp_path: Path, word: str) -> None:
    with pytest.raises(InputError, match=f"fit decides {word[2:].partition('=')[0]}; "):
        plan_of("digits", tmp_path / "fit", word)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("recipe.yaml", "is a run's folder"),
        ("study.yaml", "is a study's folder"),
        ("notes.txt", "holds files that are no fit's"),
    ],
)
def test_a_folder_of_something_else_is_refused(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(InputError, match=said):
        plan_of("digits", tmp_path)
    with pytest.raises(InputError, match="is a file"):
        plan_of("digits", tmp_path / name)
