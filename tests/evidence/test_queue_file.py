from __future__ import annotations

from pathlib import Path

import pytest

from evidence.queue_file import Entry, read_queue, trainings
from evidence.recipe_facts import read_facts
from evidence_kit import write_facts
from ghostnet_small.errors import InputError

QUEUE = """
runs:
  w1.0:
    question: Does it reach {gns-1.0}?
    decides: Whether {goal} is near.
    recipe: gns-w1.0-cifar10
    seeds: [0, 1]
    settings: {train: {epochs: 3}, augment: {views: 20}}
    teachers: [runs/a, runs/b c]
    out: runs/w1.0
  paper:
    question: Why?
    decides: That.
    study: paper-gnd
    out: results/paper-gnd
"""


def read(tmp_path: Path, text: str = QUEUE) -> list[Entry]:
    write_facts(tmp_path)
    file = tmp_path / "queue.yaml"
    file.write_text(text)
    return read_queue(file, read_facts(tmp_path))


def test_entries_have_commands_and_figures(tmp_path: Path) -> None:
    recipe, study = read(tmp_path)
    assert (
        recipe.question == "Does it reach 91.37 %?" and recipe.decides == "Whether 94.0 % is near."
    )
    assert recipe.command == (
        "ghostnet-small distill recipes/gns-w1.0-cifar10.yaml --data.root DIR --train.epochs 3 "
        "--augment.views 20 --teachers runs/a 'runs/b c' --seeds 0,1 --out runs/w1.0"
    )
    assert study.command == (
        "ghostnet-small study recipes/studies/paper-gnd.yaml --data.root DIR "
        "--out results/paper-gnd"
    )


def test_an_entry_means_trainings(tmp_path: Path) -> None:
    recipe, study = read(tmp_path)
    made = trainings(recipe)
    assert [one.recipe.train.seed for one in made] == [0, 1]
    assert {one.recipe.train.epochs for one in made} == {3}
    assert made[0].recipe.distill.teachers == ("runs/a", "runs/b c") and made[0].study is None
    # Its teachers, of another study, need not be there yet.
    planned = trainings(study)
    assert [one.run for one in planned][:2] == ["baseline-w1.0", "kd-resnet50-w1.0"]
    assert {one.study for one in planned} == {"The paper's study, GN-D"}
    assert planned[1].recipe.distill.teachers == ("results/paper/runs/resnet50",)


@pytest.mark.parametrize(
    ("was", "now", "why"),
    [
        ("{goal}", "{gaol}", "{gaol} in w1.0 .* choose one of gns-1.0, resnet-20, goal"),
        ("    question: Why?\n", "", "paper of .* has no question"),
        ("    study: paper-gnd\n", "", "must have a recipe or a study"),
        ("    study: paper-gnd\n", "    study: x\n    recipe: y\n", "a recipe or a study"),
        ("    study: paper-gnd\n", "    study: x\n    seeds: [0]\n", "in its own file"),
        ("seeds: [0, 1]", "seeds: [0, -1]", "seeds of w1.0 .* give whole numbers"),
        ("seeds: [0, 1]", "seeds: []", "seeds of w1.0 .* give whole numbers"),
        ("teachers: [runs/a, runs/b c]", "teachers: runs/a", "teachers of w1.0 .* list"),
        ("{epochs: 3}", "{epochz: 3}", "epochz"),
        ("decides: That.", "decidez: That.", "decidez"),
        ("recipe: gns-w1.0-cifar10", "recipe: gns-w9", "gns-w9"),
    ],
)
def test_a_bad_entry_is_named(was: str, now: str, why: str, tmp_path: Path) -> None:
    assert was in QUEUE
    with pytest.raises(InputError, match=why):
        trainings(read(tmp_path, QUEUE.replace(was, now))[0])
