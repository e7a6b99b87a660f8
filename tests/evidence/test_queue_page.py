from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from docs_blocks import blocks
from docs_ways import parsed
from evidence.queue_file import Training
from evidence.queue_page import missing_of, write_queue
from evidence_kit import H100, cells, row_of, write_facts
from ghostnet_small.recipe.recipe import Recipe, read_recipe, resolve_recipe
from ghostnet_small.recipe.shipped_recipes import find_recipe
from ghostnet_small.run.records import append_record
from maintain import main

ROOT = Path(__file__).parents[2]
QUEUE = """
runs:
  w1.0:
    question: Does it reach {gns-1.0}?
    decides: Much.
    recipe: gns-w1.0-cifar10
    seeds: [0, 1, 2]
    settings: {train: {batch_size: 64}, distill: {temperature: 2.0}}
    out: runs/w1.0-of-a-name-that-is-longer-than-others
  w2.8:
    question: And this?
    decides: More.
    recipe: gns-w2.8-cifar10
    seeds: [0]
    out: runs/w2.8
"""


def asked(seed: int, **data: str) -> Recipe:
    words = [f"--train.seed={seed}", "--train.batch_size=64"]
    words += [f"--data.{key}={value}" for key, value in data.items()]
    return read_recipe(find_recipe("gns-w1.0-cifar10"), words)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    results = tmp_path / "results"
    write_facts(results)
    (results / "queue.yaml").write_text(QUEUE)
    return results


def write(results: Path, check: bool = False) -> tuple[dict[str, object], str]:
    out = results / "queue.md"
    value = write_queue(results / "queue.yaml", results, out, check)
    return value, out.read_text() if out.exists() else ""


def test_the_page_says_what_comes_next_and_what_it_costs(results: Path) -> None:
    append_record(row_of(asked(1, root="/here"), 90.0), results / "cpu.jsonl")
    fast = row_of(asked(2), 90.0, device=H100, images_per_s=20_000.0)
    append_record(fast, results / "gpu.jsonl")
    _, page = write(results)
    first, second, *speeds = cells(page)[:2] + cells(page[page.index("| machine") :])
    assert first == {
        "": "1",
        "question": "Does it reach 91.37 %?",
        "runs x epochs x images": "1 x 200 x 45,000",
        "on 2 CPU cores": "2.5 h",
        "on an H100": "0.1 h",
    }
    assert second["on an H100"].startswith("about ") and second[""] == "2"
    assert [one["images/s"] for one in speeds] == ["1,000", "20,000"]
    assert "## 1. w1.0\n" in page and "Missing: 1 of 3 runs." in page and "Much." in page
    (command,) = re.findall(r"^```sh\n(.*?w1\.0-of.*?)\n```$", page, re.MULTILINE | re.DOTALL)
    assert max(map(len, command.splitlines())) <= 110 and " \\\n    --" in command
    assert parsed(shlex.split(command.replace("\\\n", ""))[1:])[1] == "train"


def test_what_is_done_leaves(results: Path) -> None:
    for seed in range(3):
        append_record(row_of(asked(seed), 90.0), results / "cpu.jsonl")
    value, page = write(results)
    assert value["done"] == ["w1.0"] and "Done: w1.0." in page
    assert "## 1. w2.8" in page and "91.37" not in page
    wide = read_recipe(find_recipe("gns-w2.8-cifar10"), ["--train.seed=4"])
    append_record(row_of(wide, 90.0), results / "cpu.jsonl")
    assert "Nothing waits." in write(results)[1]


def test_a_check_writes_nothing(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(results.parent)
    assert write(results, check=True)[0]["changed"] and not (results / "queue.md").exists()
    assert main(["queue", "--check"]) == 3
    assert main(["queue"]) == 0
    assert main(["queue", "--check"]) == 0
    append_record(row_of(asked(1), 90.0), results / "cpu.jsonl")
    assert main(["queue", "--check"]) == 3


def test_rows_of_another_recipe_set_or_study_do_not_count() -> None:
    wanted = [Training(asked(seed)) for seed in (0, 1)]
    assert missing_of(wanted, [row_of(asked(0), 90.0)]) == wanted[1:]
    # Any seeds do, as long as they are as many.
    assert missing_of(wanted, [row_of(asked(seed), 90.0) for seed in (7, 8)]) == []
    assert missing_of(wanted, [row_of(asked(7), 90.0)]) == wanted[:1]
    other = read_recipe(find_recipe("gns-w1.0-cifar10"), ["--train.seed=0"])
    assert missing_of(wanted, [row_of(other, 90.0)]) == wanted
    assert missing_of(wanted, [row_of(asked(0, source="fashion_mnist"), 90.0)]) == wanted
    study = {"name": "a study", "run": "kd-s0"}
    in_study = Training(asked(0), "a study", "kd-s0")
    assert missing_of([in_study], [row_of(asked(0), 90.0)]) == [in_study]
    assert missing_of([in_study], [row_of(asked(0), 90.0, study=study)]) == []
    assert missing_of(wanted, [row_of(asked(0), 90.0, study=study)]) == wanted


def test_a_row_of_before_a_setting_counts() -> None:
    """Records hold the settings of their time; what came later has no say where it is unused."""
    old = row_of(asked(0), 90.0)
    del old["recipe"]["distill"], old["recipe"]["augment"]["mixup"]
    assert missing_of([Training(asked(0))], [old]) == []
    assert resolve_recipe(old["recipe"]).hash() == asked(0).hash()


def test_the_committed_page_is_what_the_command_makes() -> None:
    results = ROOT / "results"
    value = write_queue(results / "queue.yaml", results, results / "queue.md", check=True)
    assert not value["changed"], "write it again with: python tools/maintain.py queue"
    for block in blocks("results/queue.md"):
        for command in block.commands() if block.language == "sh" else []:
            parsed(shlex.split(command)[1:])
