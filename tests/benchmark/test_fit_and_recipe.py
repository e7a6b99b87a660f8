"""The row of a fit beside the plain recipe, from commands that are said, not run."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import fit_and_recipe
from evidence.fit_tables import fit_table

EPOCH, APART = 10.0, 20.0  # seconds of an epoch, and of all else


def test_both_have_the_same_time_and_the_row_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Sequence[str]] = []

    def called(words: Sequence[str]) -> tuple[dict[str, Any], float]:
        asked.append(words)
        out = Path(words[words.index("--out") + 1])
        out.mkdir(parents=True)
        if words[0] == "fit":
            facts = {"fingerprint": "f", "images": 90, "classes": ["a", "b"]}
            facts |= {"height": 8, "width": 8}
            limits = {"flash": 300_000, "ram": 128_000, "minutes": 2.0}
            plan = {"facts": facts, "asked": limits, "reasons": []}
            (out / "fit.json").write_text(json.dumps({"plans": [plan]}))
            made = {"flash": 150_000, "ram": 32_000}
            found = {"top1": 90.0, "interval": [80.0, 95.0], "split": "test", "images": 100}
            return {**found, "float_top1": 91.0, "changes": [], "needs": made, "made": made}, 130.0
        epochs = int(words[words.index("--train.epochs") + 1])
        (out / "metrics.jsonl").write_text(json.dumps({"seconds": EPOCH}) + "\n")
        last = {"test_top1": 80.0, "test_correct": 80}
        return {"last": last, "data": {"train_images": 81}}, APART + epochs * EPOCH

    record = tmp_path / "fit.jsonl"
    monkeypatch.setattr(fit_and_recipe, "called", called)
    words = ["tool", "digits", "--minutes", "2", "--limit", "100", "--record", str(record)]
    for more in ([], ["--longest"], ["--recipe", "gns-w1.0-cifar10-8ep", "--longest"]):
        monkeypatch.setattr(sys, "argv", [*words, *more])
        fit_and_recipe.main()
    # The time has room for 11 epochs, and the first recipe has 16.
    most = (130 - APART) / EPOCH
    rows = [json.loads(line) for line in record.read_text().splitlines()]
    assert [row["as_it_is"]["epochs"] for row in rows] == [most, most, 8]
    assert [row.get("plain", {}).get("epochs") for row in rows] == [None, most, most]
    assert all("--data.limit=100" in words for words in asked)
    titles, lines = fit_table(record)
    shown = [dict(zip(titles, line, strict=True)) for line in lines]
    assert [line["recipe, all epochs that fit, %"][0] for line in shown] == ["-", "8", "8"]
    assert shown[1]["points over recipe, float32"] == "+10.00"
    assert shown[1]["recipe, float32, %"] == "80.00 (11 epochs)"
    assert shown[1]["minutes taken"] == "2.2"
    assert shown[0]["flash, bytes (of the limit)"] == "150,000 (50 %)"
