"""What is made of latencies; no timings."""

from __future__ import annotations

import gc
from functools import partial
from typing import Any

import pytest

from ghostnet_small.benchmark.deploy_latencies import (
    calls_of,
    first_look,
    latency,
    timed_turns,
    verdict,
)


def test_fewer_calls_with_larger_batches() -> None:
    assert [calls_of(batch) for batch in (1, 2, 10, 40, 256)] == [200, 100, 20, 5, 5]
    assert [calls_of(batch, 2) for batch in (1, 256)] == [2, 2]


def test_candidates_take_turns() -> None:
    called: list[str] = []
    ticks = iter(range(1000))

    def work(name: str) -> None:
        assert not gc.isenabled()
        called.append(name)

    found = timed_turns(
        {name: partial(work, name) for name in "ab"},
        turns=3,
        calls=20,
        clock=lambda: float(next(ticks)),
    )
    # Each call is between two ticks, a second apart; each round begins with the next.
    assert list(found) == [(name, [1.0] * 20) for name in "abbaab"]
    # Two calls before those that count.
    assert "".join(called) == "".join(name * 22 for name in "abbaab")
    assert gc.isenabled()


def test_an_error_leaves_the_collector_on() -> None:
    with pytest.raises(ZeroDivisionError):
        list(timed_turns({"a": lambda: 1 / 0}, turns=1, calls=1))
    assert gc.isenabled()


def test_a_first_look_is_short() -> None:
    ticks = iter(range(1000))
    called: list[None] = []
    # A fast one is called often enough for a median, a slow one once besides the first call.
    assert first_look(lambda: called.append(None), clock=lambda: next(ticks) / 1000) == (
        pytest.approx(0.001)
    )
    assert len(called) == 21
    called.clear()
    assert first_look(lambda: called.append(None), clock=lambda: float(next(ticks))) == 1
    assert len(called) == 2


def test_figures_by_hand() -> None:
    turns = [[0.001] * 4 + [0.002] * 4, [0.003] * 3]
    assert latency(turns, batch=4) == {
        "median_ms": 2.0,
        "p90_ms": 3.0,
        "turn_medians_ms": [1.5, 3.0],
        "images_per_s": 2000.0,
        "n": 11,
    }
    # Of 0 .. 10 ms nine tenths are below 9 ms.
    spread = latency([[index / 1000 for index in range(11)]], batch=1)
    assert spread["p90_ms"] == pytest.approx(9) and spread["median_ms"] == 5
    one = latency([[0.5]], batch=1)
    assert one["median_ms"] == one["p90_ms"] == 500 and one["n"] == 1


def row(network: str, runtime: str, turns: list[float], **more: Any) -> dict[str, Any]:
    taken = latency([[value / 1000] for value in turns], batch=1)
    about = {"network": network, "runtime": runtime, "precision": "float32", "exported": True}
    return {**about, "peer": None, "latency": {"1": taken}, **more}


def test_the_best_of_ours_beside_the_best_of_the_peers() -> None:
    rows = [
        row("ours", "onnx", [3.0, 4.0, 5.0]),
        row("ours", "c", [1.0, 2.0, 3.0]),
        # Neither of these leaves for a device, or is float32, or was timed.
        row("ours", "eager", [0.1, 0.1, 0.1], exported=False),
        row("ours", "onnx", [0.5, 0.5, 0.5], precision="int8"),
        row("ours", "ncnn", [1.0], latency={}),
        row("one", "onnx", [4.0, 4.0, 4.0], peer="a"),
        row("one", "openvino", [5.0, 5.0, 5.0], peer="a"),
        row("two", "onnx", [2.0, 8.0, 2.5], peer="b"),
    ]
    found = verdict(rows, "float32")
    assert found is not None
    assert found["ours"] == {"network": "ours", "runtime": "c", "median_ms": 2.0}
    assert found["peer"] == {"network": "two", "runtime": "onnx", "median_ms": 2.5}
    assert found["ratio"] == pytest.approx(0.8)
    # Of 1/2, 2/8 and 3/2.5, each within a round.
    turn = [found[name] for name in ("turn_ratio_min", "turn_ratio", "turn_ratio_max")]
    assert turn == pytest.approx([0.25, 0.5, 1.2])
    assert verdict(rows, "int8") is None
    assert verdict(rows[:5], "float32") is None and verdict(rows[5:], "float32") is None
