"""A study's file and the plan of its runs: names, whom each needs, precedence, every refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ghostnet_small.errors import InputError
from ghostnet_small.models.weights import CONFIG
from ghostnet_small.recipe.shipped_recipes import find_study, shipped_studies
from ghostnet_small.study.growth import differences
from ghostnet_small.study.planning import plan_study
from ghostnet_small.study.study_plan import Study, read_study, write_study

WHOLE = """
name: strategies on digits
about: Who learns from whom.
recipe: quickstart-digits
settings:
  train: {epochs: 20, threads: 1}
runs:
  teacher-a: {settings: {model: {width: 1.6}, train: {seed: 100}}}
  assistant: {settings: {model: {width: 1.3}}, teachers: [teacher-a], seeds: [0, 1]}
students:
  widths: [1, 2.8]
  seeds: [0, 1]
  baseline: plain
  strategies:
    self: {teachers: ["plain-w{width}-s{seed}"]}
    plain: {}
    kd: {teachers: [teacher-a], settings: {distill: {temperature: 2}, train: {epochs: 30}}}
    chain: {teachers: ["assistant-s{seed}"], widths: null}
    other: {recipe: gns-w1.0-cifar10-8ep, seeds: [7]}
published:
  source: a paper
  top1: {plain: {1.0: 91.37}, kd: {2.8: 90}}
"""


def planned(text: str, tmp_path: Path, *overrides: str) -> Study:
    file = tmp_path / "file.yaml"
    file.write_text(text)
    return plan_study(file, overrides, tmp_path / "out")


def refused(text: str, tmp_path: Path, *overrides: str) -> str:
    with pytest.raises(InputError) as raised:
        planned(text, tmp_path, *overrides)
    return str(raised.value)


# What is planned ------------------------------------------------------------------------------


def test_the_runs_of_a_whole_study(tmp_path: Path) -> None:
    study = planned(WHOLE, tmp_path)
    assert (study.name, study.about, study.baseline) == (
        *("strategies on digits", "Who learns from whom."),
        "plain",
    )
    assert study.strategies == ["plain", "self", "kd", "chain", "other"]
    assert study.published is not None and study.published.source == "a paper"
    assert study.published.top1 == {"plain": {1.0: 91.37}, "kd": {2.8: 90.0}}
    runs = {run.name: run for run in study.runs}
    expected = ["teacher-a", "assistant-s0", "assistant-s1"]
    # Teachers come first, whatever the file's order.
    for name in ("w1.0-s0", "w1.0-s1", "w2.8-s0", "w2.8-s1"):
        expected += [f"plain-{name}", f"self-{name}"]
    expected += [f"kd-{name}" for name in ("w1.0-s0", "w1.0-s1", "w2.8-s0", "w2.8-s1")]
    expected += ["chain-s0", "chain-s1", "other-w1.0-s7", "other-w2.8-s7"]
    assert list(runs) == expected
    teacher = runs["teacher-a"]
    assert (teacher.strategy, teacher.width, teacher.seed) == (None, 1.6, 100)
    assert teacher.needs == teacher.teachers == teacher.recipe.distill.teachers == ()
    wide = runs["self-w2.8-s1"]
    assert (wide.strategy, wide.width, wide.seed) == ("self", 2.8, 1)
    assert wide.needs == wide.teachers == ("plain-w2.8-s1",)
    folder = tmp_path / "out" / "runs" / "plain-w2.8-s1"
    assert wide.recipe.distill.teachers == (str(folder),)
    assert runs["chain-s1"].needs == ("assistant-s1",)
    jobs = {job.name: job for job in study.jobs(tmp_path / "out")}
    assert jobs[wide.name].folder == tmp_path / "out" / "runs" / "self-w2.8-s1"
    assert jobs[wide.name].recipe == wide.recipe


def test_what_is_nearer_to_the_run_counts(tmp_path: Path) -> None:
    runs = {run.name: run.recipe for run in planned(WHOLE, tmp_path).runs}
    # recipe < settings < those of the strategy < width and seed
    assert runs["plain-w1.0-s0"].data.source == "digits"
    assert runs["plain-w1.0-s0"].train.batch_size == 64
    assert runs["plain-w1.0-s0"].train.epochs == 20
    assert runs["kd-w1.0-s0"].train.epochs == 30 and runs["kd-w1.0-s0"].distill.temperature == 2
    assert runs["kd-w1.0-s0"].train.threads == 1
    assert runs["kd-w2.8-s1"].model.width == 2.8 and runs["kd-w2.8-s1"].train.seed == 1
    assert runs["chain-s0"].model.width == 1.0
    # a recipe of its own in the place of the study's, with the study's settings over it
    other = runs["other-w1.0-s7"]
    assert other.data.source == "cifar10" and other.train.epochs == 20 and other.train.seed == 7
    # < the command line
    words = ("--train.epochs=2", "--data.root=here")
    for run in planned(WHOLE, tmp_path, *words).runs:
        assert run.recipe.train.epochs == 2 and run.recipe.data.root == "here"


def test_a_teacher_is_a_run_of_the_study_or_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("a", "b/c/last"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / CONFIG).write_text("{}")
    text = "runs: {a: , x: {teachers: [a, b/c, ./a]}}"
    run = planned(text, tmp_path).runs[1]
    assert run.recipe.distill.teachers == (str(tmp_path / "out" / "runs" / "a"), "b/c", "a")
    assert run.teachers == ("a", "b/c", "./a") and run.needs == ("a",)


def test_a_study_of_little(tmp_path: Path) -> None:
    study = planned("students: {strategies: {b: , a: {}}}", tmp_path)
    assert (study.name, study.about, study.published) == ("file", "", None)
    assert [run.name for run in study.runs] == ["b", "a"] and study.baseline == "b"
    study = planned("runs: {only: {seeds: [3]}}", tmp_path)
    assert [run.name for run in study.runs] == ["only-s3"] and study.baseline is None


def test_the_plan_is_kept_in_a_file(tmp_path: Path) -> None:
    study = planned(WHOLE, tmp_path)
    assert read_study(tmp_path) is None
    write_study(study, tmp_path)
    assert read_study(tmp_path) == study
    file = tmp_path / "study.yaml"
    file.write_text(file.read_text().replace("epochs: 20", "epochs: 21"))
    with pytest.raises(InputError, match=r"study .*study.yaml was changed since it was written"):
        read_study(tmp_path)
    file.write_text("name: by hand\n")
    with pytest.raises(InputError, match="no study that this program wrote"):
        read_study(tmp_path)


CHANGES = {
    "nothing": ("", "", []),
    "another name": ("name: strategies", "name: tactics", ["name 'strategies on"]),
    "other words": ("about: Who learns", "about: Who learns what", []),
    "an epoch": ("epochs: 30", "epochs: 31", ["kd-w1.0-s0: train.epochs 30 -> 31"] * 4),
    "a seed": ("seeds: [7]", "seeds: [8]", ["other-w1.0-s7 is in the old one only"] * 2),
    "one seed more": ("seeds: [7]", "seeds: [7, 8]", []),
    "a teacher": ("[teacher-a], seeds", "[], seeds", ["teachers teacher-a -> "] * 2),
    "the place": ("threads: 1", "threads: 3", []),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_makes_another_study(case: str, tmp_path: Path) -> None:
    old, new, expected = CHANGES[case]
    assert old in WHOLE
    found = differences(
        planned(WHOLE, tmp_path), planned(WHOLE.replace(old, new, 1), tmp_path), tmp_path
    )
    assert len(found) == len(expected)
    if expected:
        assert expected[0] in found[0]


def test_shipped_studies_can_be_planned(tmp_path: Path) -> None:
    for name, file in shipped_studies().items():
        # This one is taught by the runs of another, which need not be there where it only waits.
        elsewhere = name == "paper-gnd"
        planned = plan_study(file, [], tmp_path, outside=elsewhere)
        teachers = [folder for run in planned.runs for folder in run.recipe.distill.teachers]
        assert ("results/paper/runs/resnet50" in teachers) == elsewhere
        for words in (name, f"{name}.yaml", f"recipes/studies/{name}.yaml"):
            assert find_study(words).resolve() == file
    with pytest.raises(InputError, match=r"study quickstart-digit is not .*quickstart-digits"):
        find_study("quickstart-digit")


# What is refused ------------------------------------------------------------------------------

ONE = "runs: {a: }\n"
STUDENTS = "students: {seeds: [0], strategies: {plain: , kd: {}}}\n"
REFUSED: dict[str, tuple[str, tuple[Any, ...]]] = {
    "no mapping": ("- a", ("study", "is no mapping", "students:")),
    "no file": ("runs: [", ("is no YAML",)),
    "key": ("run: {a: }", ("key 'run' in the study", "the nearest is runs")),
    "a recipe": ("train: {epochs: 3}", ("key 'train'", "nearest")),
    "key of students": (
        "students: {strategy: {a: }}",
        ("'strategy' in students of", "the nearest is strategies"),
    ),
    "key of a run": ("runs: {a: {teacher: [b]}}", ("'teacher' in runs.a", "is teachers")),
    "key of settings": (
        "runs: {a: {settings: {train: {epoch: 3}}}}",
        ("'train.epoch' in runs.a", "train.epochs"),
    ),
    "key of all settings": (ONE + "settings: {model: {widht: 3}}", ("model.width",)),
    "key of published": (
        STUDENTS + "published: {source: x, top: {}}",
        ("'top' in published", "top1"),
    ),
    "empty": ("name: x", ("has no run", "give it runs, or students")),
    "students without strategies": ("students: {seeds: [0]}", ("has no run",)),
    "circle": (
        "runs: {a: {teachers: [b]}, b: {teachers: [c]}, c: {teachers: [a]}}",
        ("a -> b -> c -> a", "take"),
    ),
    "itself": ("runs: {x: {teachers: [a]}, a: {teachers: [a]}}", ("circle: a -> a ",)),
    "unknown teacher": (
        "runs: {teacher-a: , b: {teachers: [teacher-b]}}",
        ("run b", "the teacher teacher-b does not exist", "nearest is teacher-a", "folder"),
    ),
    "unknown seed": (
        "runs: {wide: {seeds: [0]}, b: {seeds: [1], teachers: ['wide-s{seed}']}}",
        ("run b-s1", "wide-s1 does not exist", "nearest is wide-s0"),
    ),
    "no weights": ("runs: {a: {teachers: ['.']}}", ("the teacher . holds no weights",)),
    "unknown braces": (
        "runs: {a: {teachers: ['x-{sed}']}}",
        ("{sed} in the teacher 'x-{sed}'", "{seed} and {width} are"),
    ),
    "teacher twice": ("runs: {a: , b: {teachers: [a, a]}}", ("run b", "twice")),
    "teachers no list": ("runs: {a: , b: {teachers: a}}", ("teachers of runs.b", "'a'", "[")),
    "two of one name": (
        "runs: {plain-s0: }\n" + STUDENTS,
        ("two runs called plain-s0", "another name"),
    ),
    "a key twice": ("runs: {a: {seeds: [0]}, a: }", ("the key 'a' comes twice",)),
    "name with a slash": ("runs: {a/b: }", ("'a/b'", "letters, digits")),
    "hidden name": ("runs: {.a: }", ("'.a'",)),
    "no text": ("runs: {1: }", ("the name 1 in", "quotes")),
    "long name": (f"runs: {{{'a' * 101}: }}", ("longer than 100",)),
    "run no mapping": ("runs: {a: 3}", ("runs.a", "is 3", "teachers")),
    "runs no mapping": ("runs: [a]", ("runs of", "['a']", "key: value")),
    "seeds no list": ("runs: {a: {seeds: 3}}", ("seeds of runs.a", "is 3", "[0, 1, 2]")),
    "no seed": ("runs: {a: {seeds: []}}", ("seeds of runs.a", "is []", "[0, 1, 2]")),
    "half a seed": ("runs: {a: {seeds: [0.5]}}", ("seeds of runs.a", "[0.5]")),
    "seed twice": (
        "students: {seeds: [1, 1], strategies: {a: }}",
        ("seeds of students", "gives 1 twice"),
    ),
    "width twice": ("runs: {a: {widths: [1, 1.0]}}", ("widths of runs.a", "1.0 twice")),
    "widths of text": ("runs: {a: {widths: [wide]}}", ("widths of runs.a", "'wide'")),
    "baseline": (
        "students: {baseline: plian, strategies: {plain: }}",
        ("baseline", "plian, which is no strategy", "nearest is plain"),
    ),
    "seed in settings": (
        "students: {seeds: [0], strategies: {kd: {settings: {train: {seed: 3}}}}}",
        ("train.seed", "strategies.kd", "seeds: null"),
    ),
    "width in settings": (
        "runs: {a: {widths: [1.0], settings: {model: {width: 3}}}}",
        ("model.width", "runs.a", "widths: null"),
    ),
    "teachers in settings": (
        "runs: {a: , b: {settings: {distill: {teachers: [a]}}}}",
        ("runs.b", "distill.teachers to ['a']", "key teachers"),
    ),
    "teachers in all settings": (
        ONE + "settings: {distill: {teachers: [a]}}",
        ("distill.teachers", "key teachers"),
    ),
    "recipe": (ONE + "recipe: quickstart-digit", ("quickstart-digit is not there", "nearest")),
    "recipe of a run": ("runs: {a: {recipe: 3}}", ("recipe of runs.a", "is 3", "text")),
    "value": (
        "runs: {good: , bad: {settings: {train: {epochs: 0}}}}",
        ("run bad", "epochs 0"),
    ),
    "type": ("runs: {bad: {settings: {train: {epochs: x}}}}", ("run bad", "'x'", "whole number")),
    "model": (
        "runs: {bad: {settings: {model: {name: ghost}}}}",
        ("run bad", "'ghost'", "nearest is ghostnetv3, of"),
    ),
    "width": ("runs: {bad: {widths: [1.0, -1]}}", ("run bad-w-1.0", "width is -1.0")),
    "share": (
        "runs: {a: , bad: {teachers: [a], settings: {distill: {teacher_shares: [1, 2]}}}}",
        ("run bad", "teacher_shares has 2 numbers"),
    ),
    "no source": (STUDENTS + "published: {top1: {kd: {1.0: 9}}}", ("no source",)),
    "published strategy": (
        STUDENTS + "published: {source: x, top1: {dk: {1.0: 9}}}",
        ("dk, which is no strategy", "kd"),
    ),
    "published width": (
        STUDENTS + "published: {source: x, top1: {kd: {2.8: 9}}}",
        ("top1.kd", "width 2.8", "are 1.0"),
    ),
    "published value": (
        STUDENTS + "published: {source: x, top1: {kd: {1.0: 913}}}",
        ("top1.kd", "913", "0 to 100"),
    ),
    "published row": (STUDENTS + "published: {source: x, top1: {kd: 91}}", ("is 91", "{1.0:")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_planned(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text, words = REFUSED[case]
    said = refused(text, tmp_path)
    for word in words:
        assert word in said
    assert [path.name for path in tmp_path.iterdir()] == ["file.yaml"]


def test_a_file_of_pretrained_weights_is_for_the_runs_that_start_from_such(tmp_path: Path) -> None:
    text = """
recipe: quickstart-digits
runs:
  teacher: {settings: {model: {name: timm/test_efficientnet, pretrained: true}}}
students:
  strategies: {kd: {teachers: [teacher]}}
"""
    study = planned(text, tmp_path, "--model.pretrained=w.pth")
    assert [run.recipe.model.pretrained for run in study.runs] == ["w.pth", False]
    # Where they lie makes no other study.
    assert differences(planned(text, tmp_path), study, tmp_path / "out") == []


def test_a_recipe_with_teachers_of_its_own(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("distill: {teachers: [x]}")
    said = refused(f"recipe: {recipe}\n{ONE}", tmp_path)
    assert f"recipe {recipe} sets distill.teachers to ['x']" in said
    recipe.write_text("trian: {epochs: 3}")
    assert f"'trian.epochs' in recipe {recipe}" in refused(f"recipe: {recipe}\n{ONE}", tmp_path)


def test_settings_of_the_command_that_the_file_says(tmp_path: Path) -> None:
    said = refused(STUDENTS, tmp_path, "--train.seed=3")
    assert "--train.seed says what seeds says" in said
    said = refused("runs: {a: {widths: [1.0]}}", tmp_path, "--model.width=3")
    assert "--model.width says what widths says for runs.a" in said
    said = refused(ONE, tmp_path, '--distill.teachers=["a"]')
    assert "the teachers of a study stand in its file" in said
    assert planned(ONE, tmp_path, "--model.width=3", "--train.seed=4").runs[0].width == 3
