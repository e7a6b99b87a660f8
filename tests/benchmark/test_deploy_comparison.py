"""``benchmark deploy`` under way: what it shows, what a stop leaves, what a second run spares."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark_kit import ask, fake_deployments, save_noise, save_tiny
from export_kit import NETWORKS, FakeModule
from ghostnet_small.benchmark import deploy_comparison
from ghostnet_small.use import export_cache
from ghostnet_small.use.agreement import CheckFailed
from ghostnet_small.use.export_cache import FACTS, KeptExports

WORDS = ["--peers", "resnet20", "--batch", "1,4", "--turns", "2"]
Fakes = tuple[FakeModule, FakeModule]


@pytest.fixture(scope="module", autouse=True)
def fakes() -> Iterator[Fakes]:
    with fake_deployments() as modules:
        yield modules


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_noise(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    return save_tiny(tmp_path_factory.mktemp("run") / "tiny", data)


def rows(value: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{one['network']}, {one['runtime']}, {one['precision']}": one
        for one in value["candidates"]
    }


# What it shows -------------------------------------------------------------------------------


def test_lines_come_before_the_tables(run: Path) -> None:
    status, out, err = ask(str(run), *WORDS)
    lines = [line.rstrip() for line in out.splitlines()]
    first = lines.index("batches of 1, 3 x 32 x 32")
    looks = [line.split(":")[0] for line in lines[:first] if line.endswith("at a first look")]
    # What needs no file comes first, then ours, then the peer's.
    assert status == 0 and looks == [
        "GN-S 0.05, eager, float32",
        "GN-S 0.05, training form, float32",
        *("GN-S 0.05, good, float32", "GN-S 0.05, odd, float32"),
        *("ResNet-20, good, float32", "ResNet-20, odd, float32"),
    ]
    for batch in (1, 4):
        final = [line for line in lines[:first] if line.endswith(f", batches of {batch}")]
        assert {line.split(":")[0] for line in final} == set(looks) and len(final) == 6
    assert "exporting candidate 3 of 6, GN-S 0.05, good, float32" in err
    assert "timing 6 candidates in turn, batches of 4" in err
    assert "turn 1 of 2 is over, batches of 1" in err
    assert "evaluating on the test split" in err and "measuring memory" in err


def test_beside_json_they_are_on_standard_error(run: Path) -> None:
    status, out, err = ask(str(run), *WORDS, "--json")
    value = json.loads(out)
    assert status == 0 and value["partial"] is None and value["left_out"] == []
    assert all(one["first_look_ms"] > 0 for one in value["candidates"])
    assert "ghostnet-small: GN-S 0.05, good, float32: about " in err
    assert err.count(", batches of 4\n") == 8  # what is timed, a turn, and a line for each


# What a stop leaves --------------------------------------------------------------------------


def interrupt(number: signal.Signals) -> None:
    """Do what Python does when the signal arrives; a real one ended the whole worker once."""
    handler = signal.getsignal(number)
    assert callable(handler)
    handler(number, None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("swallowed", [False, True])
def test_stopped_while_a_file_is_made(
    number: signal.Signals,
    swallowed: bool,
    run: Path,
    fakes: Fakes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}

    def export(*made: Any) -> None:
        try:
            interrupt(number)
        except KeyboardInterrupt:
            if swallowed:  # as a library in C does
                raise RuntimeError("KeyboardInterrupt") from None
            raise

    monkeypatch.setattr(fakes[1], "export", export)
    record = tmp_path / "rows.jsonl"
    status, out, err = ask(str(run), *WORDS, "--json", "--record", str(record))
    value = json.loads(out)
    assert status == 128 + number and not record.exists()
    step = "exporting candidate 4 of 6, GN-S 0.05, odd, float32"
    assert value["partial"] == step
    last = f"stopped by {number.name} while {step}; the result is partial, and nothing is recorded"
    assert err.splitlines()[-1] == f"ghostnet-small: {last}"
    found = rows(value)
    assert [name.split(", ")[1] for name in found] == ["good", "eager", "training form"]
    assert all(one["failed"] is None and one["latency"] == {} for one in found.values())
    assert all(one["first_look_ms"] > 0 for one in found.values())
    assert {one: signal.getsignal(one) for one in before} == before


def test_stopped_within_a_round(run: Path, fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the round under way counts, and all have as many turns."""
    calls = []

    def stop(answers: np.ndarray) -> np.ndarray:
        calls.append(len(answers))
        # One call to see that it runs, then turns of one uncounted and four counted calls.
        if calls.count(4) == 9:
            interrupt(signal.SIGINT)
        return answers

    monkeypatch.setattr(fakes[0], "factor", stop)
    words = ["--peers", "none", "--batch", "1,4", "--turns", "2"]
    status, out, err = ask(str(run), *words, "--json")
    value = json.loads(out)
    assert status == 130
    assert value["partial"].startswith("timing 4 candidates in turn, batches of 4: turn 2 of 2")
    for one in value["candidates"]:
        turns = {batch: len(taken["turn_medians_ms"]) for batch, taken in one["latency"].items()}
        assert turns == {"1": 2, "4": 1} and one["peak_memory_bytes"] == {}
        assert one["top1"] is not None
    calls.clear()
    status, out, err = ask(str(run), *words)
    assert status == 130 and "the result is partial" in err.splitlines()[-1]
    lines = [line.rstrip() for line in out.splitlines()]
    assert "batches of 1, 3 x 32 x 32" in lines and "batches of 4, 3 x 32 x 32" in lines
    assert any(line.split()[:3] == ["partial", "stopped", "while"] for line in lines)
    assert any("of each: 2 with 1, 1 with 4 of 2" in line for line in lines)


# What a second run spares --------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(deploy_comparison, "cache_root", lambda: tmp_path / "cache")
    return tmp_path / "cache" / "exports"


def short(run: Path) -> tuple[int, dict[str, Any], str, int]:
    """Status, value and remarks of a comparison, and how many files were made for it."""
    made = len(NETWORKS)
    words = ["--int8", "--peers", "resnet20", "--batch", "1", "--turns", "1"]
    status, out, err = ask(str(run), *words, "--json")
    return status, json.loads(out), err, len(NETWORKS) - made


def test_a_second_run_makes_no_file(
    run: Path, data: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, first, err, made = short(run)
    assert (status, made) == (0, 6) and "calibrating candidate" in err
    status, second, err, made = short(run)
    assert (status, made) == (0, 0) and "calibrating" not in err and "exporting" not in err
    same = ("relative_error", "agreement", "size_bytes", "correct", "failed")
    for name, one in rows(second).items():
        assert {key: one[key] for key in same} == {key: rows(first)[name][key] for key in same}
        assert one["latency"]["1"]["n"] == 4
    # Other weights are other files; the peer's are the same.
    other = save_tiny(tmp_path / "other", data, seed=1)
    assert short(other)[3] == 3
    # As is everything where the code is another.
    monkeypatch.setattr(export_cache, "code_digest", lambda: "newer")
    assert short(run)[3] == 6


def test_a_damaged_file_is_made_anew(run: Path, cache: Path) -> None:
    short(run)
    kept = sorted(path for path in cache.glob("*/model.good"))
    kept[0].write_bytes(kept[0].read_bytes() + b"x")
    status, _, err, made = short(run)
    assert (status, made) == (0, 1)
    assert f"the kept export {kept[0].parent} is damaged and made anew" in err
    assert short(run)[3] == 0


def test_a_stop_leaves_nothing_half_kept(
    run: Path, cache: Path, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(fakes[1], "error", KeyboardInterrupt())
        assert short(run)[0] == 130
    assert {path.name for path in cache.glob("*/model.*")} == {"model.good", "model.goodw"}
    status, _, err, made = short(run)
    assert (status, made) == (0, 5) and "damaged" not in err


def test_what_answers_otherwise_is_not_made_again(
    run: Path, cache: Path, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fakes[0], "factor", 1.001)
    first, second = short(run), short(run)
    assert (first[0], second[0], second[3]) == (3, 3, 0)
    failed = [
        [one["failed"] for one in value["candidates"] if one["failed"]]
        for value in (first[1], second[1])
    ]
    assert failed[0] == failed[1] and len(failed[0]) == 2
    # What a library complains of may be gone the next time.
    with monkeypatch.context() as patch:
        patch.setattr(fakes[1], "export", lambda *made: 1 / 0)
        shutil.rmtree(cache)
        assert "ZeroDivisionError" in str(short(run)[1])
    _, value, _, made = short(run)
    assert made == 4 and "ZeroDivisionError" not in str(value)


def test_a_cache_that_cannot_be_written_is_a_remark(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    said: list[str] = []
    kept = KeptExports(tmp_path / "cache", said.append)
    assert [kept.obtain(["a"], [], lambda: {"error": 1}) for _ in range(2)] == [{"error": 1}] * 2
    assert len(said) == 1 and "cannot be used" in said[0] and "GHOSTNET_CACHE" in said[0]


def test_the_cache_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "model"

    def make() -> dict[str, Any]:
        file.write_bytes(b"x" * 500)
        return {}

    def kept() -> int:
        return len(list((tmp_path / "exports").glob(f"*/{FACTS}")))

    for name in "abc":
        KeptExports(tmp_path, print).obtain([name], [file], make)
    assert kept() == 3
    monkeypatch.setattr(export_cache, "MOST_BYTES", 1000)
    KeptExports(tmp_path, print).obtain(["d"], [file], make)
    assert kept() == 1


def test_a_failure_is_raised_again(tmp_path: Path) -> None:
    kept = KeptExports(tmp_path, print)

    def fail() -> dict[str, Any]:
        raise CheckFailed("names other classes")

    for make in (fail, lambda: {}):
        with pytest.raises(CheckFailed, match="names other classes"):
            kept.obtain(["a"], [tmp_path / "never"], make)


# Quickly -------------------------------------------------------------------------------------


def test_quick_says_what_it_leaves_out(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy_comparison, "QUICK_JUDGED", 20)
    status, out, _ = ask(str(run), "--quick", "--int8", "--json")
    value = json.loads(out)
    assert status == 0 and value["quick"] and value["batches"] == [1] and value["turns"] == 3
    assert list(rows(value)) == [
        *("GN-S 0.05, odd, float32", "GN-S 0.05, odd, int8", "GN-S 0.05, eager, float32"),
        *("ShuffleNetV2 x0.5, odd, float32", "ShuffleNetV2 x0.5, odd, int8"),
    ]
    assert value["left_out"] == [
        "files: good in float32",
        "peers: ResNet-20, MobileNetV2 x0.5",
        "batches of 256",
        "2 of 5 turns",
        "the network as it was trained",
        "top-1 in PyTorch and past 2,000 images",
        "memory",
    ]
    assert value["pictures"] == 20 and value["verdict"]["int8"]["ratio"] > 0
    found = rows(value)
    assert found["GN-S 0.05, odd, int8"]["correct"] is not None
    assert found["GN-S 0.05, eager, float32"]["correct"] is None
    # What is named stays.
    words = ["--peers", "resnet20", "--split", "none", "--formats", "good", "--turns", "5"]
    status, out, _ = ask(str(run), "--quick", *words)
    assert status == 0 and "left out  peers: MobileNetV2 x0.5, ShuffleNetV2 x0.5; batches" in out
    assert "turns     of each: 5;" in out


def test_quick_is_not_recorded(run: Path, tmp_path: Path) -> None:
    status, _, err = ask(str(run), "--quick", "--record", str(tmp_path / "rows.jsonl"))
    assert status == 2 and "--record keeps whole comparisons" in err
