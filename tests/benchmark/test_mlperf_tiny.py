"""MLPerf Tiny: which images count, what is asked of a core, what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark_kit import PICTURES, ask, save_noise, save_tiny
from export_kit import save_digits
from ghostnet_small.benchmark import mlperf_tiny
from ghostnet_small.benchmark.deploy_candidates import Candidate
from ghostnet_small.benchmark.emulator import Outcome
from ghostnet_small.benchmark.mlperf_tiny import REFERENCE, judge_mlperf_tiny, read_indices
from ghostnet_small.cli.mlperf_terminal import show_mlperf_tiny
from ghostnet_small.deploy.c import compiled
from ghostnet_small.errors import InputError
from ghostnet_small.plain_yaml import load_yaml
from ghostnet_small.run.records import read_rows
from ghostnet_small.use.agreement import CheckFailed

ROOT = Path(__file__).parents[2]
TOOLS = ("arm-none-eabi-gcc", "arm-none-eabi-size", "qemu-system-arm")


@pytest.fixture(scope="module", autouse=True)
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of these tests, and quick compilations."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GHOSTNET_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(compiled, "FLAGS", ("-std=c99", "-O1", "-fPIC", "-shared"))
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    return save_tiny(folder / "tiny", save_noise(folder))


def indices(folder: Path, text: str = "7 3, 11\n0") -> Path:
    file = folder / "indices.txt"
    file.write_text(text)
    return file


def fake(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A C file that is right of the images 3, 7 and 20 only, without a compiler."""
    file = folder / "model.int8.c"
    file.write_text("")
    file.with_suffix(".h").write_text("#define GHOSTNET_WORKSPACE 1234\n")
    right = {3, 7, 20}

    def answer(pictures: np.ndarray) -> np.ndarray:
        labels = np.array([k % 10 if k in right else (k + 1) % 10 for k in range(len(pictures))])
        return np.eye(10, dtype=np.float32)[labels]

    found = Candidate("tiny", None, "c", "int8", run=answer, file=file)
    monkeypatch.setattr(mlperf_tiny, "_c_file", lambda *rest: found)


def test_the_named_images_count_and_all_of_them(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake(monkeypatch, tmp_path)
    monkeypatch.setattr(mlperf_tiny, "missing", lambda *programs: list(programs))
    said: list[str] = []
    value = judge_mlperf_tiny(run, indices(tmp_path), say=said.append, doing=lambda text: None)
    assert value["subset"] == {"images": 4, "correct": 2, "top1": 50.0}
    assert value["all"] == {"images": PICTURES, "correct": 3, "top1": 7.5}
    assert value["memory_bytes"] == 1234
    assert value["flash_bytes"] is None and value["instructions"] is None
    assert said[-1].startswith("no flash and no instructions: arm-none-eabi-gcc")
    without = judge_mlperf_tiny(run, None, say=said.append, doing=lambda text: None)
    assert without["subset"] is None and without["all"] == value["all"]
    show_mlperf_tiny(without)
    assert "top-1, 4 images" not in capsys.readouterr().out


def test_answers_of_the_core_are_compared(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(monkeypatch, tmp_path)
    monkeypatch.setattr(mlperf_tiny, "missing", lambda *programs: [])
    monkeypatch.setattr(mlperf_tiny, "version", lambda program: program)
    monkeypatch.setattr(mlperf_tiny, "flash_of", lambda source: (1, "compiled"))
    wrong = Outcome(np.ones((1, 10), np.float32), instructions=[40], loop=2_000_000, stack=0)
    monkeypatch.setattr(mlperf_tiny, "emulate", lambda *rest: wrong)
    with pytest.raises(CheckFailed, match="answers otherwise"):
        judge_mlperf_tiny(run, indices(tmp_path), say=print, doing=lambda text: None)


def test_a_row_of_weights_and_one_of_their_file(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "rows.jsonl"
    words = ["--mlperf-tiny", "--indices", str(indices(tmp_path)), "--record", str(record)]
    status, out, err = ask(str(run), *words, "--json")
    assert status == 0, err
    value = json.loads(out)
    assert read_rows(record) == [value]
    assert (value["model"], value["width"], value["precision"]) == (
        "ghostnetv3_small",
        0.05,
        "int8",
    )
    assert value["all"]["images"] == PICTURES and value["subset"]["images"] == 4
    if all(map(shutil.which, TOOLS)):
        assert 10_000 < value["flash_bytes"] < 100_000
        assert value["instructions"] > value["macs"] / 2
        assert value["instructions_per_mac"] == value["instructions"] / value["macs"]
        assert len(value["programs"]) == 2
    show_mlperf_tiny(value)
    shown = capsys.readouterr().out
    assert "86.97" in shown and f"{value['memory_bytes']:,}" in shown


def test_the_reference_is_the_published_figure() -> None:
    figures = load_yaml((ROOT / "results" / "published.yaml").read_text())["figures"]
    entry = figures["mlperf-ic01"]
    pairs = {"top1": "top1", "params": "params", "macs": "macs"}
    pairs |= {"flash": "flash_bytes", "ram": "memory_bytes"}
    assert {key: entry[key] for key in pairs} == {
        key: REFERENCE[ours] for key, ours in pairs.items()
    }


def test_a_file_of_numpy_is_one_of_places(tmp_path: Path) -> None:
    file = tmp_path / "perf_samples_idxs.npy"
    np.save(file, np.array([5, 2, 9999]))
    assert read_indices(file) == [5, 2, 9999]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (None, "cannot be read (No such file or directory); give perf_samples_idxs.npy, which"),
        ("emotion_1.png,10,3", "is no list of whole numbers"),
        ("1 2 1", "names an image twice"),
        ("\n", "is empty"),
        (np.array([0.5]), "it holds float64 of shape (1,)"),
        (np.array([[1, 2]]), "it holds int64 of shape (1, 2)"),
        (np.array([{}]), "is no list of whole numbers"),
        (b"\x93NUMPY\x01", "is no list of whole numbers"),
        (b"\xff\xfe", "is no list of whole numbers"),
    ],
)
def test_files_that_name_no_images(made: Any, said: str, tmp_path: Path) -> None:
    file = tmp_path / "indices"
    if isinstance(made, np.ndarray):
        with file.open("wb") as opened:
            np.save(opened, made)
    elif made is not None:
        file.write_bytes(made.encode() if isinstance(made, str) else made)
    with pytest.raises(InputError) as raised:
        read_indices(file)
    assert said in str(raised.value) and "\n" not in str(raised.value)
    assert "github.com/mlcommons/tiny" in str(raised.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--indices", "FILE"], "is for --mlperf-tiny; give that too"),
        (["--mlperf-tiny", "--indices", "FILE", "--batch", "1"], "--batch has no effect on"),
        (["--mlperf-tiny", "--indices", "FILE", "--split", "none"], "--split has no effect on"),
        (["--mlperf-tiny", "--indices", "FAR"], "names image 40, and the test split has 40"),
    ],
)
def test_options_that_do_not_go_together(
    run: Path, words: list[str], said: str, tmp_path: Path
) -> None:
    files = {"FILE": indices(tmp_path), "FAR": tmp_path / "far.txt"}
    files["FAR"].write_text("39 40")
    status, _, err = ask(str(run), *(str(files.get(word, word)) for word in words))
    assert status == 2 and said in err


def test_a_network_of_other_images(tmp_path: Path) -> None:
    weights = save_digits(tmp_path / "digits")
    words = ["--mlperf-tiny", "--indices", str(indices(tmp_path))]
    status, _, err = ask(str(weights), *words)
    assert status == 2 and "MLPerf Tiny classifies 3 x 32 x 32 images of CIFAR-10" in err
