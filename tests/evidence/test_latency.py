from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evidence.accuracy_tables import LATENCY, accuracy_table
from evidence.latency import latencies
from evidence_kit import cells, row
from ghostnet_small.errors import InputError
from ghostnet_small.run.records import append_record, write_rows


def candidate(runtime: str, median: float | None, **changes: Any) -> dict[str, Any]:
    """GN-S 1.0 in a runtime, as ``benchmark deploy`` writes it."""
    latency = None if median is None else {"1": {"median_ms": median}}
    return {
        **{"runtime": runtime, "peer": None, "precision": "float32", "latency": latency},
        **{"params": 374_174, "macs": 8_962_176, **changes},
    }


def record(*candidates: dict[str, Any], threads: int = 1) -> dict[str, Any]:
    return {"threads": threads, "device": "a CPU", "candidates": list(candidates)}


def test_the_fastest_runtime_in_float32_is_told(tmp_path: Path) -> None:
    write_rows(
        tmp_path / "deploy.jsonl",
        [
            record(
                candidate("torch", 2.5),
                candidate("onnx", 0.25),
                candidate("c", None),
                candidate("c", 0.125, precision="int8"),
                candidate("onnx", 0.0625, peer="resnet20"),
                candidate("onnx", 0.03125, macs=1),
                {**candidate("ncnn", None), "latency": {"256": {"median_ms": 0.01}}},
            ),
            record(candidate("openvino", 0.2), threads=2),
        ],
    )
    shown, sources = latencies(tmp_path)
    assert shown([row()]) == "0.2 (openvino, 2 threads of a CPU)"
    assert sources == [tmp_path / "deploy.jsonl"]
    other = row(model={"params": {"deployed": 374_174}, "macs": {"deployed": 2}})
    assert shown([other]) == "-"


def test_it_stands_in_the_table_of_accuracy(tmp_path: Path) -> None:
    append_record(row(), tmp_path / "cpu.jsonl")
    write_rows(tmp_path / "deploy.jsonl", [record(candidate("c", 0.167))])
    table, sources = accuracy_table(tmp_path, [])
    assert cells(table)[0][LATENCY] == "0.167 (c, 1 thread of a CPU)"
    assert [source.name for source in sources] == ["cpu.jsonl", "deploy.jsonl"]


def test_without_measurements(tmp_path: Path) -> None:
    shown, sources = latencies(tmp_path)
    assert (shown([row()]), sources) == ("-", [])


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "deploy.jsonl").write_text("[]\n")
    with pytest.raises(InputError, match=r"line 1 is not a JSON object"):
        latencies(tmp_path)
