"""The benchmark of deployment: who is compared, what is recorded, drawn and refused; no timings."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark_kit import PICTURES, ask, fake_deployments, save_noise, save_tiny
from evidence.deploy_tables import deploy_table
from evidence.tables import TABLES, render_tables
from export_kit import FakeModule
from ghostnet_small.cli import main
from ghostnet_small.cli.deploy_terminal import show_deploy
from ghostnet_small.deploy import formats
from ghostnet_small.models.peers import PEERS
from ghostnet_small.models.registry import create_ghostnet
from ghostnet_small.models.weights import ModelInfo, save_model
from ghostnet_small.run.records import append_row, read_rows
from networks import randomize_network

QUICK = ["--batch", "1,4", "--turns", "2"]
ALONE = ["--peers", "none", "--split", "none", "--batch", "1", "--turns", "1", "--json"]


@pytest.fixture(scope="module", autouse=True)
def fakes() -> Iterator[tuple[FakeModule, FakeModule]]:
    with fake_deployments() as modules:
        yield modules


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    return save_tiny(folder / "tiny", save_noise(folder))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what the whole comparison writes."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def value(run: Path, kept: Path) -> dict[str, Any]:
    """The whole comparison, once: a network beside one peer, in two formats, one of them in int8
    as well."""
    words = ["--int8", "--peers", "resnet20", "--record", str(kept / "deploy.jsonl")]
    words += ["--picture", str(kept / "deploy.png"), "--json"]
    status, out, err = ask(str(run), *QUICK, *words)
    assert status == 0, err
    assert "timing 8 candidates in turn, batches of 4" in err
    assert (
        err.count("no peak memory of") == 4
        and "no peak memory of GN-S 0.05, odd, int8: out of" in err
    )
    return dict(json.loads(out))


def of(value: dict[str, Any], peer: str | None) -> list[dict[str, Any]]:
    return [one for one in value["candidates"] if one["peer"] == peer]


# The comparison ------------------------------------------------------------------------------


def test_all_is_told_of_each(value: dict[str, Any]) -> None:
    about = {key: value[key] for key in ("model", "width", "picture", "split", "pictures", "input")}
    assert about == {
        "model": "ghostnetv3_small",
        "width": 0.05,
        "picture": [3, 32, 32],
        "split": "test",
        "pictures": PICTURES,
        "input": "normalized",
    }
    assert value["threads"] == 1 and value["batches"] == [1, 4] and value["turns"] == 2
    assert value["calls"] == {"1": 4, "4": 4} and value["commit"] and value["device"]
    assert value["torch"] == torch.__version__
    forms = [(one["runtime"], one["precision"]) for one in of(value, None)]
    exported = [("good", "float32"), ("odd", "float32"), ("odd", "int8")]
    assert forms == [*exported, ("eager", "float32"), ("training form", "float32")]
    forms = [(one["runtime"], one["precision"]) for one in of(value, "resnet20")]
    assert forms == exported
    assert {one["network"] for one in of(value, None)} == {"GN-S 0.05"}
    for one in value["candidates"]:
        assert one["failed"] is None
        for batch in (1, 4):
            taken = one["latency"][str(batch)]
            assert min(taken["median_ms"], taken["p90_ms"]) > 0 and taken["n"] == 8
            assert len(taken["turn_medians_ms"]) == 2
            assert taken["images_per_s"] == pytest.approx(1000 * batch / taken["median_ms"])


def test_our_accuracy_is_measured_in_each_form(value: dict[str, Any]) -> None:
    ours = of(value, None)
    for one in ours:
        assert one["top1"] == 100 * one["correct"] / PICTURES and one["top1_source"] == "measured"
    assert len({one["correct"] for one in ours}) == 1
    sizes = {one["runtime"]: (one["params"], one["macs"]) for one in ours}
    assert sizes["good"] == sizes["odd"] == sizes["eager"]
    assert all(a > b for a, b in zip(sizes["training form"], sizes["eager"], strict=True))


def test_files_have_a_size_an_error_and_a_memory(value: dict[str, Any]) -> None:
    for one in value["candidates"]:
        if not one["exported"]:
            assert one["size_bytes"] is None and one["peak_memory_bytes"] == {}
            continue
        assert one["size_bytes"] > 100
        if one["peer"] is None or one["precision"] == "float32":
            assert one["relative_error"] < 1e-4 and one["agreement"] == 100
        if one["runtime"] == "good":
            assert one["peak_memory_bytes"] == {"1": 101, "4": 104}
            assert one["process_memory_bytes"] == {"1": 501, "4": 504}
        else:
            assert one["peak_memory_bytes"] == one["process_memory_bytes"] == {}


def test_a_peer_has_the_accuracy_that_was_published_and_its_own_sizes(
    value: dict[str, Any],
) -> None:
    known = PEERS["resnet20"]
    for one in of(value, "resnet20"):
        assert one["network"] == "ResNet-20" and (one["params"], one["macs"]) == known.deployed
        assert one["top1_source"] == "published" and one["correct"] is None
        # Nobody published what eight bits leave of it.
        assert one["top1"] == (known.published_top1 if one["precision"] == "float32" else None)


def test_who_is_the_fastest(value: dict[str, Any]) -> None:
    for precision in ("float32", "int8"):
        found = value["verdict"][precision]
        assert found["ours"]["network"] == "GN-S 0.05" and found["peer"]["network"] == "ResNet-20"
        assert found["ours"]["runtime"] in ("good", "odd")
        assert found["ratio"] == found["ours"]["median_ms"] / found["peer"]["median_ms"]


# What is made of it --------------------------------------------------------------------------


def test_it_is_recorded_and_a_document_shows_it(value: dict[str, Any], kept: Path) -> None:
    assert read_rows(kept / "deploy.jsonl") == [value]
    assert TABLES["deploy"] is deploy_table
    append_row({**value, "commit": "newer"}, kept / "deploy.jsonl")
    document = kept / "deployment.md"
    document.write_text("<!-- table: deploy -->\n<!-- end table -->\n")
    assert render_tables(document, kept) is False
    lines = [line for line in document.read_text().splitlines() if line.startswith("|")]
    titles, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    cells = [dict(zip(titles, row, strict=True)) for row in rows]
    # Of one question only the newest code.
    same = "In every row: batch 1 / 4; calls 8 / 8; threads 1; device "
    assert same in document.read_text() and "; commit newer.\n" in document.read_text()
    assert [row["network"] for row in cells[:5]] == ["GN-S 0.05"] * 5
    # Of a peer only the fastest, by precision and batch.
    assert {row["network"] for row in cells[5:]} == {"ResNet-20"}
    assert [row["precision"] for row in cells].count("int8") == 2
    medians = [float(row["ms: median [of turns: least-most]"].split()[0]) for row in cells[:5]]
    assert medians == sorted(medians)
    for row in cells[5:]:
        assert row["MACs"] == "40,813,184"
        assert row["top-1, %"] == ("92.60 (published)" if row["precision"] == "float32" else "-")


def test_it_is_drawn(value: dict[str, Any], kept: Path) -> None:
    with Image.open(kept / "deploy.png") as picture:
        assert picture.format == "PNG" and min(picture.size) > 400


def test_a_reader_sees_tables_of_80_columns(
    value: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [dict(one) for one in value["candidates"]]
    rows[1] |= {"latency": {}, "failed": "ValueError: no such operator"}
    show_deploy({**value, "candidates": rows})
    lines = capsys.readouterr().out.splitlines()
    pairs = next(row for row, line in enumerate(lines) if line.startswith("top-1 "))
    assert all(len(line) <= 80 for line in lines[:pairs])
    words = [line.split() for line in lines]
    # For each batch the fastest first, a network at a time.
    for batch in ("1", "4"):
        start = words.index(["batches", "of", f"{batch},", "3", "x", "32", "x", "32"])
        first = words.index(["GN-S", "0.05"], start)
        own = words[first + 1 : first + 5]
        assert {row[0] for row in own} == {"good", "odd", "eager", "training"}
        shown = [float(row[-4].replace(",", "")) for row in own]
        assert shown == sorted(shown)
    text = "\n".join(lines)
    assert "92.60*" in text and "int8" in text and "…" not in text
    assert "as it was published; a peer is timed with random weights" in text
    assert "failed   GN-S 0.05, odd, float32: ValueError: no such operator" in text
    found = value["verdict"]["float32"]
    assert f"ratio {found['ratio']:.2f}" in text and "the fastest peer ResNet-20 in" in text


# Other ways to ask ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(run: Path) -> Path:
    """The network as an exported file."""
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["export", str(run), "--formats", "good"]) == 0
    return run / "export" / "model.good"


def test_an_exported_file_alone(file: Path, fakes: tuple[FakeModule, FakeModule]) -> None:
    status, out, _ = ask(str(file), *ALONE)
    value = json.loads(out)
    assert status == 0 and value["split"] is None and value["pictures"] is None
    (one,) = value["candidates"]
    assert one["runtime"] == "good" and one["network"] == "GN-S 0.05" and one["top1"] is None
    assert list(one["latency"]) == ["1"] and one["params"] is None
    assert one["size_bytes"] > file.stat().st_size  # and its companion
    assert value["verdict"] == {"float32": None, "int8": None}
    assert fakes[0].threads[-1] == 1


def test_an_exported_file_beside_a_peer_in_its_format(file: Path) -> None:
    status, out, _ = ask(str(file), *QUICK, "--peers", "resnet20", "--json")
    ours, peer = json.loads(out)["candidates"]
    assert status == 0 and ours["correct"] is not None
    assert (peer["network"], peer["runtime"]) == ("ResNet-20", "good")


def test_one_that_answers_otherwise_is_not_timed(
    run: Path, fakes: tuple[FakeModule, FakeModule], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fakes[0], "factor", 1.001)
    status, out, err = ask(str(run), *ALONE)
    assert status == 3 and "good float32 cannot be used" in err.splitlines()[-1]
    rows = {one["runtime"]: one for one in json.loads(out)["candidates"]}
    failed = rows.pop("good")
    assert "differs from the network by 1.0e-03" in failed["failed"]
    assert failed["latency"] == {} and failed["size_bytes"] is None
    assert all(one["failed"] is None and one["latency"] for one in rows.values())
    assert set(rows) == {"odd", "eager", "training form"}


def test_a_peer_that_fails_does_not_fail_us(
    run: Path, fakes: tuple[FakeModule, FakeModule], monkeypatch: pytest.MonkeyPatch
) -> None:
    export = fakes[0].export

    def refuse(network: Any, description: Any, path: Path) -> None:
        if description.architecture == "resnet20":
            raise RuntimeError("no such operator\nof a long story")
        export(network, description, path)

    monkeypatch.setattr(fakes[0], "export", refuse)
    words = ["--formats", "good", "--peers", "resnet20", "--split", "none", *QUICK, "--json"]
    status, out, _ = ask(str(run), *words)
    (peer,) = of(json.loads(out), "resnet20")
    assert status == 0 and peer["failed"] == "RuntimeError: no such operator"
    assert peer["latency"] == {}


def test_one_that_takes_no_larger_batch_is_timed_with_one_picture(
    run: Path, fakes: tuple[FakeModule, FakeModule], monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_few(answers: np.ndarray) -> np.ndarray:
        if len(answers) == 4:
            raise ValueError("four are too many")
        return answers

    monkeypatch.setattr(fakes[0], "factor", only_few)
    words = ["--formats", "good", "--peers", "none", "--split", "none", *QUICK, "--json"]
    status, out, _ = ask(str(run), *words)
    first = json.loads(out)["candidates"][0]
    assert status == 3 and list(first["latency"]) == ["1"]
    assert first["failed"] == "batches of 4: ValueError: four are too many"


def test_a_peer_of_another_size_is_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = PEERS["resnet20"]
    more = peer.training._replace(params=peer.training.params + 1)
    monkeypatch.setitem(PEERS, "resnet20", replace(peer, training=more))
    status, out, err = ask(str(run), *QUICK, "--peers", "resnet20", "--split", "none")
    assert status == 3 and out == "" and "resnet20 has " in err and "272475" in err


def test_peers_of_other_pictures_are_left_out(tmp_path: Path) -> None:
    model = create_ghostnet("ghostnetv3_small", width=0.05, num_classes=3)
    randomize_network(model, torch.randn(64, 3, 32, 32))
    recipe = {"data": {"root": str(tmp_path / "nowhere")}}
    info = ModelInfo(("a", "b", "c"), (32, 32), (0.3,) * 3, (0.3,) * 3, recipe)
    save_model(model, info, tmp_path / "run")
    words = [str(tmp_path / "run"), "--formats", "good", "--split", "none", *QUICK]
    status, _, err = ask(*words, "--peers", "resnet20")
    assert status == 2 and "of 3 classes; give --peers none" in err
    status, out, err = ask(*words)
    assert status == 0 and "of 3 classes; they are left out" in err
    assert "GN-S 0.05" in out and "*" not in out


REFUSED = {
    "format": ("--formats god", "'god' is not known; the nearest is good"),
    "peer": ("--peers resnet21", "'resnet21' is not known; the nearest is resnet20"),
    "no batch": ("--batch=", "--batch : '' is not a whole number"),
    "batch of none": ("--batch 1,0", "--batch 1,0: '0' is not a whole number"),
    "huge batch": ("--batch 1,5000", "--batch 1,5000 is not allowed; give"),
    "no thread": ("--threads 0", "'0' is not a whole number of at least 1"),
    "many threads": ("--threads 4097", "--threads 4097 is not allowed; this machine has"),
    "turns": ("--turns 0", "'0' is not a whole number"),
    "split": ("--split train", "invalid choice: 'train'"),
    "no int8": ("--formats good --int8 --split none", "--int8 has no meaning for good"),
    "no data": ("--data.root /nowhere", "top-1 on: ", "--split none"),
    "picture": ("--picture a.jpg", "a.jpg is not the name of a PNG"),
    "picture's place": ("--picture /nowhere/a.png", "/nowhere/a.png cannot be made"),
    "picture of no top-1": ("--picture a.png --split none", "give a --split, and 1 in --batch"),
    "picture of no latency": ("--picture a.png --batch 256", "give a --split, and 1 in --batch"),
    "setting": ("--train.epochs 2", "--train.epochs"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be(case: str, run: Path) -> None:
    words, *expected = REFUSED[case]
    status, out, err = ask(str(run), *words.split())
    assert status == 2 and out == ""
    assert all(text in err.splitlines()[-1] for text in expected)


@pytest.mark.parametrize("words", ["--int8", "--weights last", "--formats odd"])
def test_what_means_nothing_for_a_file(words: str, file: Path) -> None:
    status, _, err = ask(str(file), *words.split(), "--split", "none")
    assert status == 2 and "leave --weights, --formats and --int8 out" in err


def test_a_format_that_is_not_installed(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    form = formats.FORMATS["odd"]
    lacking = type(form)("lack", ".lack", "", modules=("no_such_module",), extra="lack")
    monkeypatch.setitem(formats.FORMATS, "lack", lacking)
    status, _, err = ask(str(run), "--formats", "good,lack", "--split", "none")
    assert status == 2 and "pip install 'ghostnet-small[lack]'" in err
    status, out, err = ask(str(run), *ALONE)
    assert status == 0 and "not installed are left out: lack" in err
    assert "lack" not in [one["runtime"] for one in json.loads(out)["candidates"]]


def test_a_file_that_takes_no_record_is_refused_before_the_work(run: Path, tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    results.write_text("no JSON\n")
    status, _, err = ask(str(run), "--record", str(results))
    assert status == 2 and "line 1" in err and results.read_text() == "no JSON\n"
