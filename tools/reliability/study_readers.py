"""Fuzzed readers of a study's folder and of cards, and the seeds of each."""

from __future__ import annotations

import functools
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import data_readers
import ghostnet_small as gns
from evidence.tables import render_tables
from ghostnet_small.errors import InputError
from ghostnet_small.plain_yaml import dump_yaml, load_yaml
from ghostnet_small.publish.hub_card import hub_card
from ghostnet_small.recipe.recipe import read_recipe
from ghostnet_small.report.build import build_page
from ghostnet_small.report.comparison import compare
from ghostnet_small.report.html import html
from ghostnet_small.report.markdown import markdown
from ghostnet_small.report.study_report import report_study, study_record
from ghostnet_small.study.runner import FAILED, RESULTS
from ghostnet_small.study.study_plan import FILE, PlannedRun, Published, Study, write_study
from trees import clear, pack, unpack

# A study's folder ----------------------------------------------------------------------------

TABLE = "strategies study"
DOCUMENT = (
    f"<!-- table: {TABLE} -->\n<!-- end table -->\n"
    "<!-- value: study strategy=kd minus strategy=baseline test_top1 --><!-- end value -->\n"
)


def study_seeds(scratch: Path) -> list[bytes]:
    """A study's plan and rows, without digests, which would refuse whatever was changed."""
    kept = Path(__file__).resolve().parents[2] / "results" / "strategies-10k" / RESULTS
    rows = [json.loads(line) for line in kept.read_text().splitlines()]
    rows = [{**row, "epochs": row["epochs"][:2]} for row in rows]
    of = ("baseline", "kd")
    rows = [row for row in rows if row["seed"] < 2 and row["study"]["strategy"] in of]
    recipe = read_recipe(None, ["--model.width", "0.1"])
    runs = tuple(
        PlannedRun(row["study"]["run"], row["study"]["strategy"], 0.1, row["seed"], recipe)
        for row in rows
    )
    published = Published("A paper", {"kd": {0.1: 90.5}})
    write_study(Study("study", "About it.", "baseline", published, runs), scratch)
    whole = (scratch / FILE).read_bytes()
    values = load_yaml(whole.decode()) | {"settings": {"model": {"width": 0.1}}}
    plan = dump_yaml(values).encode()
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    failed = json.dumps({"run": "a", "status": "failed", "reason": "r", "last_lines": ["x"]})
    return [
        pack([("f", FILE, plan), ("f", RESULTS, lines), ("f", FAILED, failed.encode())]),
        pack([("f", FILE, plan), ("f", RESULTS, lines.splitlines()[0])]),
        pack([("f", FILE, whole), ("f", RESULTS, lines), ("l", "plots", b"."), ("p", FAILED, b"")]),
        pack([("f", FILE, plan.replace(b"kd", b"&a kd")), ("d", RESULTS, b"")]),
    ]


def read_study_folder(data: bytes, scratch: Path) -> None:
    """Report a study, and make the tables of its rows."""
    results = scratch / "results"
    folder = results / "study"
    clear(folder)
    unpack(data, folder)
    document = scratch / "document.md"
    document.write_text(DOCUMENT)
    with suppress(InputError):
        render_tables(document, results)
    content = study_record(folder)
    comparison = compare(content)
    page = build_page(content, comparison, [])
    html(page, {})
    markdown(page, "plots")
    if len(data) % 32 == 0:  # the drawings take seconds
        report_study(folder)


# Cards ---------------------------------------------------------------------------------------

CARD = """\
---
license: mit
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*
  - {split: test, path: [data/test-0.parquet]}
- {config_name: other, data_dir: data, data_files: '**/*.parquet'}
dataset_info:
- config_name: default
  features:
  - name: img
    dtype: image
  - name: label
    dtype:
      class_label:
        names: {'0': ant, '1': bee}
---
# A set
"""


def card_seeds(scratch: Path) -> list[bytes]:
    """Small parquet sets with cards, and weights with theirs."""
    files = data_readers.parquet_seeds(scratch)[0]
    columns: dict[str, Any] = {"label": {"names": ["a", "b"], "_type": "ClassLabel"}}
    legacy = json.dumps({"default": {"features": columns}}).encode()
    second = b"configs: [{config_name: a, default: true, data_files: ['data/*']}]"
    return [
        pack([("f", "README.md", CARD.encode())]) + files,
        pack([("f", "README.md", b"# A set"), ("f", "dataset_infos.json", legacy)]) + files,
        pack([("f", ".huggingface.yaml", second), ("l", "data/x.parquet", b"data")]) + files,
        pack([("p", "README.md", b"")]) + files,
    ]


@functools.cache
def _model() -> tuple[Any, gns.ModelInfo]:
    model = gns.create_model("ghostnetv3_small", width=0.01, num_classes=2, in_channels=1)
    return model, gns.ModelInfo(("a", "b"), (8, 8), (0.3,), (0.4,), read_recipe().as_dict())


def read_card_folder(data: bytes, scratch: Path) -> None:
    """List a parquet set by its card; take the folder's card for that of weights as well."""
    folder = scratch / "root"
    clear(folder)
    unpack(data, folder)
    with suppress(InputError):
        hub_card("o/name", *_model(), folder, folder, None)
    data_readers.read_root(data, scratch)
