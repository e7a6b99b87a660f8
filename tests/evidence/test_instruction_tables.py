"""The table of instructions: the first code and the newest, and MLPerf's figure beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evidence.instruction_tables import instructions_table, mlperf_table
from ghostnet_small.benchmark.mlperf_tiny import REFERENCE
from ghostnet_small.run.records import append_row


def row(core: str, per_mac: float, commit: str) -> dict[str, Any]:
    return {
        "network": "ghostnetv3_small 1",
        "precision": "int8",
        "core": core,
        "flags": "-mthumb -O2",
        "instructions": round(1e6 * per_mac),
        "instructions_per_mac": per_mac,
        "tables_bytes": 1000,
        "code_bytes": 100,
        "workspace_bytes": 10,
        "commit": commit,
    }


def test_a_core_has_its_first_code_and_its_newest(tmp_path: Path) -> None:
    file = tmp_path / "instructions.jsonl"
    for core, per_mac, commit in (
        ("m4", 12.0, "a"),
        ("m55", 3.0, "a"),
        ("m4", 5.0, "b"),
        ("m4", 2.0, "c"),
    ):
        append_row(row(core, per_mac, commit), file)
    titles, lines = instructions_table(file)
    shown = [(line[0], line[titles.index("instructions a MAC")], line[-1]) for line in lines]
    assert shown[:3] == [("m4", "12.00", "a"), ("m4", "2.00", "c"), ("m55", "3.00", "a")]
    # 165 ms at 120 MHz for 12.5 million MACs.
    assert shown[3][1] == "1.58 cycles"


def test_a_network_stands_beside_mlperfs(tmp_path: Path) -> None:
    file = tmp_path / "mlperf-tiny.jsonl"
    for top1, commit in ((90.0, "a"), (91.5, "b")):
        append_row(
            {
                "network": "GN-S 1.0",
                "precision": "int8",
                "params": 374174,
                "macs": 8962176,
                "subset": None,
                "all": {"images": 10_000, "correct": round(100 * top1), "top1": top1},
                "flash_bytes": 442_600,
                "memory_bytes": 91_712,
                "instructions_per_mac": None,
                "reference": REFERENCE,
                "commit": commit,
            },
            file,
        )
    titles, lines = mlperf_table(file)
    (ours, theirs) = (dict(zip(titles, line, strict=True)) for line in lines)
    assert (ours["top-1 of all test images, %"], ours["of MLPerf's, %"]) == ("91.50", "-")
    assert (ours["flash, bytes"], ours["commit"]) == ("442,600", "b")
    assert (theirs["top-1 of all test images, %"], theirs["working memory, bytes"]) == (
        "86.97",
        "55,984",
    )
