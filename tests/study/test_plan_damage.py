"""A study's folder from a stranger: whatever its files say is read or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ghostnet_small.errors import InputError
from ghostnet_small.plain_yaml import dump_yaml
from ghostnet_small.report.build import build_page
from ghostnet_small.report.comparison import compare
from ghostnet_small.report.study_report import study_record
from report_rows import distilled, row

PLAN: dict[str, Any] = {
    "name": "study",
    "about": "",
    "baseline": "base",
    "published": {"source": "A paper", "top1": {"kd": {1.0: 90.0}}},
    "settings": {},
    "runs": {
        "a": {
            "strategy": "base",
            "width": 1.0,
            "seed": 0,
            "teachers": [],
            "needs": [],
            "settings": {},
        }
    },
}
PLACES = [(key,) for key in PLAN if key != "settings"]
PLACES += [("published", "source"), ("published", "top1"), ("published", "top1", "kd")]
PLACES += [("published", "top1", "kd", 1.0), ("runs", "a"), ("settings",)]
PLACES += [("runs", "a", key) for key in PLAN["runs"]["a"]]
HUGE = 10**400


def put(values: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return new
    return {**values, place[0]: put(values[place[0]], place[1:], new)}


def write(folder: Path, plan: Any, *rows: Any, failed: Any = None) -> Path:
    (folder / "study.yaml").write_text(dump_yaml(plan))
    (folder / "results.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    if failed is not None:
        (folder / "failed.jsonl").write_text(json.dumps(failed) + "\n")
    return folder


@pytest.mark.parametrize("place", PLACES)
def test_a_plan_of_other_types(tmp_path: Path, place: tuple[Any, ...]) -> None:
    for new in ([[]], 1.5, True, "text", {"a": [{}]}, HUGE):
        write(tmp_path, put(PLAN, place, new), row("a", "base"))
        try:
            content = study_record(tmp_path)
        except InputError as error:
            assert "study.yaml is no study that this program wrote" in str(error)
        else:
            build_page(content, compare(content), [])


def test_a_plan_within_a_plan_of_aliases(tmp_path: Path) -> None:
    write(tmp_path, PLAN, row("a", "base"))
    (tmp_path / "study.yaml").write_text("a: &a [x]\nb: [*a, *a]\n")
    with pytest.raises(InputError, match="alias"):
        study_record(tmp_path)


@pytest.mark.parametrize("new", [HUGE, -HUGE, float("nan"), 1e308, "x", [], {}, None, True])
def test_rows_of_other_values(tmp_path: Path, new: Any) -> None:
    changed = distilled("b", "kd")
    changed |= {"seed": new, "wall_seconds": new, "images_per_s": new, "distill": {"loss": new}}
    changed["data"] = {"train_images": new, "classes": new, "fingerprint": new}
    changed["epochs"] = [{"epoch": new, "validation_top1": new}]
    changed["distill"] = {key: new for key in distilled("c", "kd")["distill"]}
    failed = {"run": "c", "last_lines": new}
    content = study_record(write(tmp_path, PLAN, row("a", "base"), changed, failed=failed))
    build_page(content, compare(content), [])
