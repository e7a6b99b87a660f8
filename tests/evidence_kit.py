"""Made rows of trainings, a study of factors and published figures, for tests of documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ghostnet_small.recipe.recipe import Recipe, resolve_recipe
from ghostnet_small.run.records import write_rows
from ghostnet_small.study.planning import plan_study
from ghostnet_small.study.study_plan import PlannedRun, write_study

CPU = {"kind": "cpu", "name": "A CPU", "threads": 2}
H100 = {"kind": "cuda", "name": "NVIDIA H100 80GB HBM3", "threads": 8}
# Multiply-accumulates of GN-S 1.0 on 3x32x32 pictures.
MACS = {"training": 19_634_560, "deployed": 8_962_176}

FACTS = """
figures:
  gns-1.0:
    {what: GN-S 1.0, kind: published, set: cifar10, top1: 91.37, model: ghostnetv3_small,
     width: 1.0, way: best of 200, source: "arXiv:2509.12380"}
  resnet-20:
    {what: ResNet-20, kind: known, set: cifar10, top1: [91.9, 92.6], params: 0.27e6, macs: 41.0e6,
     way: 200 epochs, source: somebody}
  goal: {what: GN-S 1.0, kind: goal, set: cifar10, top1: 94.0, way: n = 3, source: us}
  device:
    {what: ResNet-8, kind: int8, set: cifar10, top1: 86.97, macs: 12.5e6, flash: 450000,
     ram: 128000, way: on a device, source: somebody}
"""

DIAGNOSIS = """
name: diagnosis
recipe: quickstart-digits
settings: {train: {epochs: 2, monitor_test: true}, data: {source: cifar10}}
runs:
  teacher: {settings: {model: {width: 2.8}}}
students:
  seeds: [0, 1, 2]
  strategies:
    plain: {}
    kd: {teachers: [teacher]}
    plain-unshuffled: {settings: {train: {shuffle: false}}}
    kd-unshuffled: {teachers: [teacher], settings: {train: {shuffle: false}}}
    kd-T1: {teachers: [teacher], settings: {distill: {temperature: 1.0}}}
    plain-smooth: {settings: {train: {label_smoothing: 0.1}}}
    self: {teachers: ["plain-s{seed}"]}
published: {source: A Paper, top1: {plain: {1.0: 91.37}, kd: {1.0: 90.9}}}
"""


def row(
    seed: int = 0,
    top1: float = 80.0,
    settings: Mapping[str, Any] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """The row of a plain training on CIFAR-10 whose recipe has ``settings`` over the defaults."""
    written = {"name": "small", "data": {"source": "cifar10"}, **(settings or {})}
    written["train"] = {"epochs": 2, "seed": seed, **written.get("train", {})}
    return row_of(resolve_recipe(written), top1, **changes)


def row_of(recipe: Recipe, top1: float, **changes: Any) -> dict[str, Any]:
    """The row of a training of ``recipe``."""
    seed, epochs = recipe.train.seed, recipe.train.epochs
    return {
        "recipe": recipe.as_dict(),
        "recipe_hash": recipe.hash(),
        "seed": seed,
        "commit": "fedcba9876543210",
        "dirty": False,
        "device": CPU,
        "libraries": {},
        "data": {"fingerprint": "f", "classes": ["a", "b"], "train_images": 45_000},
        "wall_seconds": 600.0 + seed,
        "images_per_s": 1000.0,
        "model": {"params": {"training": 483_554, "deployed": 374_174}, "macs": MACS},
        "last": {
            "validation_top1": top1 + 1,
            "test_top1": top1,
            "test_correct": round(100 * top1),
            "test_total": 10_000,
        },
        "epochs": [
            {"epoch": epoch, "train_top1": top1 - 5 + epoch, "validation_top1": top1 - 1 + epoch}
            for epoch in range(1, epochs + 1)
        ],
        **changes,
    }


def write_facts(results: Path) -> None:
    """Published figures beside the rows in ``results``."""
    results.mkdir(parents=True, exist_ok=True)
    (results / "published.yaml").write_text(FACTS)


def write_made_study(
    results: Path, top1: Callable[[PlannedRun], float], text: str = DIAGNOSIS
) -> list[dict[str, Any]]:
    """A finished study in ``results/diagnosis`` whose runs reached ``top1``; its rows.

    The best epoch on test is a point above the last.
    """
    file = results.parent / "diagnosis.yaml"
    file.write_text(text)
    folder = results / "diagnosis"
    planned = plan_study(file, [], folder)
    folder.mkdir(parents=True)
    write_study(planned, folder)
    rows = []
    for run in planned.runs:
        found = row_of(run.recipe, top1(run))
        found["best_on_test"] = {"epoch": 1, "top1": top1(run) + 1}
        about = {"name": planned.name, "run": run.name, "strategy": run.strategy}
        found["study"] = {**about, "width": run.width, "teachers": list(run.teachers)}
        if run.teachers:
            found["distill"] = {"targets": {"entropy": 0.5}, "agreement": 90.0, "teachers": []}
        rows.append(found)
    write_rows(folder / "results.jsonl", rows)
    return rows


def cells(document: str) -> list[dict[str, str]]:
    """The rows of a Markdown table, by column."""
    lines = [line for line in document.splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in line.strip("|").split(" |")] for line in lines]
    return [dict(zip(table[0], line, strict=True)) for line in table[2:]]
