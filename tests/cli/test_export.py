"""``export``, and what its files are good for, as a user types it; PyTorch's own format."""

from __future__ import annotations

import ctypes
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from export_kit import FakeFormat, FakeModule, save_digits, use_fakes
from ghostnet_small.cli import main
from ghostnet_small.cli.export import show_export

Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """Runs a command; its status, and what it said on standard output and error."""

    def run(*words: object) -> tuple[int, str, str]:
        status = main(list(map(str, words)))
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that were exported, normalised."""
    torch.set_num_threads(1)
    folder = save_digits(tmp_path_factory.mktemp("runs") / "digits")
    assert main(["export", str(folder), "--formats", "torch"]) == 0
    return folder


@pytest.fixture(scope="module")
def file(weights: Path) -> Path:
    return weights / "export" / "model.pt2"


def test_a_file_is_used_from_the_file_alone(
    file: Path, weights: Path, ask: Ask, tmp_path: Path
) -> None:
    moved = tmp_path / "model.pt2"
    moved.write_bytes(file.read_bytes())
    found, trained = (
        json.loads(ask("evaluate", path, "--split", "test", "--json")[1])
        for path in (moved, weights)
    )
    assert found["correct"] == trained["correct"]
    assert found["loss"] == pytest.approx(trained["loss"], rel=1e-5)
    assert (found["format"], found["precision"]) == ("torch", "float32")
    assert ask("evaluate", moved)[1].splitlines()[0].endswith(", float32 torch file")
    assert ask("evaluate", weights)[1].splitlines()[0].endswith(", folded last weights")
    Image.linear_gradient("L").resize((8, 8)).save(tmp_path / "a.png")
    for path in (moved, weights):
        status, out, err = ask("predict", path, tmp_path / "a.png", "--json")
        assert status == 0 and err == ""
        (answer,) = json.loads(out)
        if path == moved:
            first = answer
    assert answer["label"] == first["label"]
    assert answer["probability"] == pytest.approx(first["probability"], rel=1e-4)


def test_a_second_export(file: Path, weights: Path, ask: Ask) -> None:
    before = file.read_bytes()
    status, out, err = ask("export", weights, "--formats", "torch")
    assert (status, out) == (2, "") and file.read_bytes() == before
    assert "model.pt2 already; give --force" in err
    assert sorted(path.name for path in weights.iterdir()) == [
        *("config.json", "export", "model.safetensors")
    ]


def test_a_file_that_is_damaged_or_of_another_version(file: Path, tmp_path: Path, ask: Ask) -> None:
    whole, cut = file.read_bytes(), tmp_path / "model.pt2"
    for length in (0, 100, len(whole) // 2, len(whole) - 10):
        cut.write_bytes(whole[:length])
        for words in (("evaluate", cut), ("predict", cut, tmp_path)):
            status, out, err = ask(*words)
            assert (status, out) == (2, "") and err.count("\n") == 1, err
            assert "model.pt2" in err and "export the run again" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--formats onx", "format 'onx' is not known; the nearest is onnx"),
        ("--formats torch --int8", "--int8 has no meaning for torch"),
        ("--calibration 9", "--calibration 9 is for --int8; give --int8 too"),
        ("--int8 --calibration 0", "'0' is not a whole number of at least 1"),
        ("--int8 --data.root gone", "--int8 has no training images to calibrate on"),
        ("--input floats", "'floats'"),
        ("--train.threads 1", "--train.threads has no effect"),
        ("--flash 450k", "--flash '450k' is no size; give bytes, or a number with kB or MB"),
        ("--ram 0kB", "--ram '0kB' is no size"),
        ("--weights best --formats torch --out x --data.root gone", "'gone' does not exist"),
    ],
)
def test_words_that_cannot_be(
    words: str,
    said: str,
    weights: Path,
    ask: Ask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = ask("export", weights, "--out", "out", *words.split())
    assert (status, out) == (2, "") and said in err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_package_is_not_measured(weights: Path, ask: Ask) -> None:
    status, out, err = ask("benchmark", "deploy", weights, "--formats", "cmake,torch")
    assert (status, out) == (2, "")
    assert "--formats cmake: a package holds the C file; measure c instead" in err


@pytest.fixture
def fakes() -> Iterator[tuple[FakeModule, FakeModule]]:
    with use_fakes() as modules:
        yield modules


def test_what_is_printed(
    fakes: tuple[FakeModule, FakeModule], weights: Path, tmp_path: Path, ask: Ask
) -> None:
    good, odd = fakes
    words = ("export", weights, "--int8", "--calibration", "30", "--out", tmp_path / "out")
    status, out, err = ask(*words)
    lines = [line.strip() for line in out.splitlines()]
    assert status == 0
    (int8,) = (line for line in lines if line.startswith("model.int8.odd"))
    assert "100.0 %" in int8 and " -> " in int8
    assert "compared  in float64, on 40 images of the test split" in lines
    assert "top-1     on 6 images of the validation split" in lines
    assert f"next      ghostnet-small evaluate {tmp_path}/out/model.good" in lines
    assert "no int8 form of good" in err
    (budget,) = (line for line in lines if line.startswith("budget    model.int8.odd: "))
    assert re.search(r" bytes of flash \(the file\), RAM not known, top-1 [\d.]+ %$", budget)
    status, out, err = ask(*words, "--force", "--flash", "10")
    assert status == 3 and "model.odd" in out and "model.good" not in out
    assert "model.good needs " in err and "model.int8.odd needs " in err
    assert err.endswith("as int8 C; raise the limits\n")
    # A check that fails: status 3, and what was kept is told all the same.
    odd.factor = 2.0
    status, out, err = ask(*words, "--force")
    assert status == 3 and "model.good" in out and "model.odd" not in out
    assert "error: not kept: model.odd differs from the network by 1.0e+00" in err
    good.factor = 2.0
    status, out, err = ask(*words, "--formats", "good", "--out", tmp_path / "new", "--json")
    assert status == 2 and not (tmp_path / "new").exists()
    status, out, err = ask("export", weights, "--out", tmp_path / "new", "--json")
    value = json.loads(out)
    assert status == 3 and value["files"] == [] and len(value["failed"]) == 2
    assert not (tmp_path / "new").exists()


def test_what_comes_next_is_a_file_that_runs_here(capsys: pytest.CaptureFixture[str]) -> None:
    one = {
        **{"format": "cmake", "files": ["out/model.cmake.zip"], "size_bytes": 9, "bound": 1e-4},
        **{"relative_error": 1e-7, "agreement": 100.0, "top1": None, "kept_in_float": None},
        **{"flash_bytes": 1000, "flash_counted": "compiled for a Cortex-M4", "ram_bytes": 640},
    }
    value = {"files": [one], "out": "out", "pictures": 5, "compared_on": "random pixels"}
    show_export(value)
    said = capsys.readouterr().out
    assert "model.cmake.zip: 1,000 bytes of flash (compiled for a Cortex-M4), 640 of RAM\n" in said
    assert "next" not in said
    show_export({**value, "files": [one, {**one, "format": "c", "files": ["out/model.c"]}]})
    assert "next      ghostnet-small evaluate out/model.c" in capsys.readouterr().out


def test_what_libraries_print_is_not_among_the_results(
    fakes: tuple[FakeModule, FakeModule],
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def load(self: object) -> FakeModule:
        print("progress 100 %")
        ctypes.CDLL(None).printf(b"native noise\n")
        return fakes[0]

    monkeypatch.setattr(FakeFormat, "load", load)
    words = ["export", str(weights), "--formats", "good", "--out", str(tmp_path / "out"), "--json"]
    assert main(words) == 0
    out, err = capfd.readouterr()
    assert len(json.loads(out)["files"]) == 1
    assert "progress" in err and "native noise" in err
    print("afterwards")
    os.write(1, b"and in C\n")
    assert capfd.readouterr().out == "afterwards\nand in C\n"
