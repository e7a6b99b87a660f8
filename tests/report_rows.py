"""Made result rows of a study, and a reader of the tables in its report."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from typing import Any

from ghostnet_small.report.study_rows import Published, StudyRecord

VOID = {"meta", "br", "img", "source", "hr", "link", "input"}
HOSTILE = 'a<script>alert("x")</script>|*b*_c_`d`$e$&amp;\n# f [g](h)\\'


def row(
    run: str, strategy: str | None, seed: int = 0, top1: float = 80.0, width: float = 1.0
) -> dict[str, Any]:
    """The row of a plain training of two epochs."""
    return {
        "recipe": {"name": "small", "model": {"name": "ghostnetv3_small", "width": width}},
        "recipe_hash": "a" * 64,
        "seed": seed,
        "commit": "fedcba9876543210",
        "dirty": False,
        "device": {"kind": "cpu", "name": "A CPU", "threads": 2},
        "libraries": {"torch": "2.0", "numpy": "1.0"},
        "data": {
            "fingerprint": "0123456789abcdef",
            "classes": ["cat", "dog", "emu"],
            "train_images": 900,
            "validation_images": 100,
            "test_images": 1000,
        },
        "wall_seconds": 600.0 * width,
        "images_per_s": 1234.0,
        "model": {
            "params": {"training": 2000, "deployed": 1000},
            "macs": {"training": 40_000, "deployed": 20_000},
        },
        "last": {
            "validation_top1": top1 + 1,
            "validation_loss": 0.6,
            "test_top1": top1,
            "test_loss": 0.5,
            "test_correct": round(top1 * 10),
            "test_total": 1000,
            "test_calibration_error": 0.02,
        },
        "epochs": [
            {"epoch": epoch, "train_top1": 50.0 + epoch, "validation_top1": top1 - 3 + epoch}
            for epoch in (1, 2)
        ],
        "study": {
            "name": "study",
            "run": run,
            "strategy": strategy,
            "width": width,
            "teachers": [],
        },
    }


def distilled(*arguments: Any, **more: Any) -> dict[str, Any]:
    """The same of a training that a teacher took part in."""
    made = row(*arguments, **more)
    made["study"]["teachers"] = ["teacher-a"]
    made["distill"] = {
        "loss": "kd",
        "temperature": 4.0,
        "ce_weight": 0.1,
        "kd_weight": 0.9,
        "mean": "probabilities",
        "mode": "cached",
        "teachers": [
            {
                "name": "elsewhere",
                "architecture": "resnet18",
                "width": 1.0,
                "weights_sha256": "c0ffee" * 10,
                "weight": 0.5,
                "test_top1": 90.5,
            },
            {"name": "teacher-a", "architecture": "resnet18", "width": 1.0, "weight": 0.5},
        ],
        "targets": {
            "views": 20,
            "temperature": 4.0,
            "entropy": 0.9,
            "entropy_at_1": 0.125,
            "share_above_098": 0.25,
            "share_above_098_at_1": 0.75,
            "top1": 97.25,
            "pictures": 900,
        },
        "agreement": 88.5,
        "teacher_test_top1": 91.25,
    }
    return made


def study(*rows: dict[str, Any], **more: Any) -> StudyRecord:
    """A study of ``rows``, two strategies of three seeds and a teacher where there are none."""
    found = list(rows) or [
        row("teacher-a", None, 0, 91.0),
        *(row(f"base-{seed}", "base", seed, 80.0 + seed) for seed in range(3)),
        *(
            distilled(f"kd-{seed}", "kd", seed, 81.0 + seed + 0.1 * (seed == 2))
            for seed in range(3)
        ),
    ]
    settings: dict[str, Any] = {"about": "", "baseline": "base", "published": None, "failed": []}
    return StudyRecord(name="a study", rows=found, planned=len(found), **{**settings, **more})


def published(**top1: dict[float, float]) -> Published:
    """Figures of a paper."""
    return Published("A Paper, table 1", top1)


class Reader(HTMLParser):
    """Reads a page strictly: its tags, the cells of its tables; unbalanced tags raise."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute twice in {tag}: {names}"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> ends {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self.open and self.open[-1] in ("th", "td"):
            self.tables[-1][-1][-1] += data


def markdown_tables(document: str) -> list[list[list[str]]]:
    """The tables of a Markdown document, their cells unescaped."""
    tables: list[list[list[str]]] = []
    inside = False
    for line in document.splitlines():
        if line.startswith("|"):
            if not inside:
                tables.append([])
            cells = re.split(r"(?<!\\)\|", line)[1:-1]
            if not all(re.fullmatch(r" -{3}:? ", cell) for cell in cells):
                tables[-1].append([unescaped(cell.strip()) for cell in cells])
        inside = line.startswith("|")
    return tables


def unescaped(cell: str) -> str:
    """What a reader of the rendered cell sees."""
    bold = re.fullmatch(r"\*\*(.*)\*\*", cell)
    return html.unescape(re.sub(r"\\([\\`*_\[\]|~$])", r"\1", bold[1] if bold else cell))
