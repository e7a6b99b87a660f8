"""Trained weights and exported files answer through one door; the files are fakes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ghostnet_small as gns
from export_kit import FakeModule, companion, save_digits, use_fakes
from ghostnet_small.errors import InputError
from ghostnet_small.use.classifier import open_classifier
from ghostnet_small.use.evaluation import evaluate_classifier
from ghostnet_small.use.export import export_weights
from ghostnet_small.use.prediction import predict
from makers import make_folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_digits(tmp_path_factory.mktemp("weights") / "digits")


@pytest.fixture
def fakes() -> Iterator[tuple[FakeModule, FakeModule]]:
    with use_fakes() as modules:
        yield modules


@pytest.fixture
def file(fakes: Any, weights: Path, tmp_path: Path) -> Path:
    export_weights(weights, tmp_path / "out", formats=["odd"], int8=True, say=lambda remark: None)
    return tmp_path / "out" / "model.odd"


@pytest.fixture
def said() -> list[str]:
    return []


def test_a_file_is_worth_what_its_weights_are(file: Path, weights: Path, tmp_path: Path) -> None:
    trained = evaluate_classifier(weights, say=print)
    assert (trained["format"], trained["weights"]) == ("safetensors", "last")
    export_weights(weights, tmp_path / "p", formats=["good"], input="pixels", say=lambda s: None)
    for path, form, precision in (
        (file, "odd", "float32"),
        (file.with_name("model.int8.odd"), "odd", "int8"),
        (tmp_path / "p" / "model.good", "good", "float32"),
    ):
        found = evaluate_classifier(path, say=print)
        assert (found["format"], found["precision"]) == (form, precision)
        for key in ("correct", "total", "fingerprint", "split"):
            assert found[key] == trained[key]
        for key in ("loss", "calibration_error"):
            assert found[key] == pytest.approx(trained[key], rel=1e-4)
        assert "weights" not in found and "folded" not in found


def test_a_probability_of_nothing_has_a_finite_loss(
    fakes: tuple[FakeModule, FakeModule], weights: Path, tmp_path: Path
) -> None:
    export_weights(weights, tmp_path, formats=["good"], input="pixels", say=lambda remark: None)
    first = np.zeros(10, np.float32)
    first[0] = 1
    fakes[0].factor = lambda answers: np.tile(first, (len(answers), 1))
    found = evaluate_classifier(tmp_path / "model.good", say=print)
    wrong = 1 - found["correct"] / found["total"]
    assert found["loss"] == pytest.approx(-wrong * np.log(np.finfo(np.float32).tiny), rel=1e-6)


def test_answers_are_those_of_the_network(file: Path, weights: Path) -> None:
    images = torch.randint(256, (3, 1, 8, 8), dtype=torch.uint8)
    trained, folded, exported = (
        open_classifier(weights, fold=False),
        open_classifier(weights),
        open_classifier(file),
    )
    assert exported.info.classes == trained.info.classes
    expected = trained.logits(images)
    for one in (folded, exported):
        assert torch.allclose(one.logits(images), expected, rtol=1e-4, atol=1e-5)
    assert folded.facts["folded"] and not trained.facts["folded"]


def test_options_that_mean_nothing_to_a_file(
    file: Path, fakes: tuple[FakeModule, FakeModule]
) -> None:
    for options in ({"weights": "last"}, {"fold": True}, {"fold": False}):
        (name,) = options
        with pytest.raises(InputError, match=f"--{name} has no meaning for .*model.odd"):
            evaluate_classifier(file, say=print, **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="--weights has no meaning"):
        predict(file, [file], weights="best", say=print)
    for device in ("cuda", "tpu"):
        with pytest.raises(
            InputError, match=f"--train.device {device} is not allowed: .* on the CPU"
        ):
            evaluate_classifier(file, overrides=[f"--train.device={device}"], say=print)
    fakes[1].threads.clear()
    evaluate_classifier(file, overrides=["--train.device=cpu", "--train.threads=3"], say=print)
    assert fakes[1].threads == [1, 3]


def test_data_of_another_size_or_colour_are_converted(
    file: Path, tmp_path: Path, said: list[str]
) -> None:
    data = make_folder(
        tmp_path / "data", classes=tuple(map(str, range(10))), train=2, test=1, size=12
    )
    root = [f"--data.root={data}", "--data.limit=null", "--data.validation=0"]
    found = evaluate_classifier(file, overrides=root, say=said.append)
    assert found["total"] == 10
    changed = [
        "the images are 12x12 pixels; they are resized to the 8x8 that the model was trained on",
        "the images are in colour; they are converted to the grey that the model was trained on",
    ]
    assert said == changed
    for setting in ("data.size=12", "data.channels=3"):
        with pytest.raises(InputError, match=r"is not what .* takes, 8x8 in 1 channels; leave"):
            evaluate_classifier(file, overrides=[*root, f"--{setting}"], say=print)
    same = evaluate_classifier(
        file, overrides=[*root, "--data.size=8", "--data.channels=1"], say=said.append
    )
    assert same["correct"] == found["correct"] and said == changed


def described(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_classes_that_a_file_does_not_know_are_refused(file: Path) -> None:
    described(file, classes=list("abcdefghij"))
    with pytest.raises(InputError, match=r"has 10 classes \(0, 1.*that .*odd does not know: its"):
        evaluate_classifier(file, say=print)


def test_a_picture_of_another_size_or_colour_is_told_once(
    file: Path, tmp_path: Path, said: list[str]
) -> None:
    names = [tmp_path / f"{number}.png" for number in range(4)]
    for name, (mode, size) in zip(
        names, (("L", 8), ("RGB", 8), ("L", 9), ("RGBA", 20)), strict=True
    ):
        Image.new(mode, (size, size)).save(name)
    assert len(predict(file, names, say=said.append)) == 4
    assert said == [
        f"{names[1]} is in colour; it and any others are converted to the grey that the model was "
        "trained on",
        f"{names[2]} is 9x9 pixels; it and any others are resized to the 8x8 that the model was "
        "trained on",
    ]


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (lambda answers: answers[:, :3], r"answers of shape \(359, 3\) for 359 .* 10 classes"),
        (lambda answers: 1 // 0, "cannot be run .ZeroDivisionError: .*; export the run again"),
        (float("nan"), "logits that are not finite"),
    ],
    ids=["shape", "error", "nan"],
)
def test_a_file_that_answers_nonsense(
    factor: Any, message: str, file: Path, fakes: tuple[FakeModule, FakeModule]
) -> None:
    fakes[1].factor = factor
    with pytest.raises(InputError, match=message):
        evaluate_classifier(file, say=print)


def test_what_a_file_says_of_itself_is_believed_only_where_it_can_be(file: Path) -> None:
    whole, weights = file.read_text(), companion(file)
    for text, said in ((whole[:-9], "valid description"), ("", "not written by"), ("{}", "format")):
        file.write_text(text)
        with pytest.raises(InputError, match=said):
            open_classifier(file)
    for data, said in (({"sizes": 3}, "'data.sizes'"), ({"size": "big"}, "'big'")):
        file.write_text(whole)
        described(file, data=data)
        with pytest.raises(InputError, match=said):
            evaluate_classifier(file, say=print)
        predict(file, [make_picture(file)], say=print)
    weights.unlink()
    with pytest.raises(InputError, match=r"model\.oddw is not there"):
        open_classifier(file)


def make_picture(file: Path) -> Path:
    Image.new("L", (8, 8)).save(file.with_suffix(".png"))
    return file.with_suffix(".png")


def test_what_is_neither_weights_nor_a_file(file: Path, tmp_path: Path, weights: Path) -> None:
    for path, said in (
        (tmp_path / "nowhere", "is not a folder; give a run's folder"),
        (tmp_path / "model.odd", r"model\.odd is not there"),
        (companion(file), r"no exported network; their names end in \.good, \.odd"),
    ):
        with pytest.raises(InputError, match=said):
            open_classifier(path)
    # A folder is one of weights, whatever it is called.
    gns.save_model(*gns.load(weights), tmp_path / "folder.odd")
    assert open_classifier(tmp_path / "folder.odd").facts["format"] == "safetensors"
