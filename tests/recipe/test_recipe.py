from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ghostnet_small.errors import InputError
from ghostnet_small.recipe.recipe import (
    LATER,
    PLACE,
    Recipe,
    flatten,
    known_keys,
    read_recipe,
    resolve_recipe,
)

ROOT = Path(__file__).parents[2]
RECIPES = sorted(
    file for file in (ROOT / "recipes").rglob("*.yaml") if file.parent.name != "studies"
)
RECORDS = [
    pytest.param(record["recipe"], record["recipe_hash"], id=f"{file.stem}-{number}")
    for file in sorted((ROOT / "results").glob("*.jsonl"))
    for number, record in enumerate(map(json.loads, file.read_text().splitlines()))
    if "recipe_hash" in record
]


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


def test_no_file_is_the_defaults() -> None:
    assert read_recipe() == Recipe()


def test_a_file_and_overrides_of_it(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
name: mine
optimizer: {name: adamw, learning_rate: 1e-3, betas: [0.8, 0.9]}
data: {mean: [0.5, 0.4, 0.3], limit: null, root: /somewhere}
train:
schedule: {decay: linear}
""",
    )
    recipe = read_recipe(path, ["--train.epochs", "3", "--data.limit=7", "--schedule.warmup", "0"])
    assert (recipe.name, recipe.train.epochs, recipe.data.limit) == ("mine", 3, 7)
    assert (recipe.optimizer.learning_rate, recipe.optimizer.betas) == (1e-3, (0.8, 0.9))
    assert recipe.data.mean == (0.5, 0.4, 0.3) and recipe.data.root == "/somewhere"
    assert (recipe.schedule.decay, recipe.schedule.warmup) == ("linear", 0)
    # What nobody named is as it was.
    assert recipe.train == replace(Recipe().train, epochs=3)
    assert recipe.augment == Recipe().augment


def test_an_override_wins_and_can_be_null(tmp_path: Path) -> None:
    path = written(tmp_path, "train: {clip_norm: 1.0, shuffle: true}")
    recipe = read_recipe(path, ["--train.clip_norm", "null", "--train.shuffle", "false"])
    assert recipe.train.clip_norm is None and recipe.train.shuffle is False


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_what_is_written_back_is_the_same_recipe(file: Path, tmp_path: Path) -> None:
    recipe = read_recipe(file)
    again = read_recipe(written(tmp_path, yaml.safe_dump(recipe.as_dict(), sort_keys=False)))
    assert again == recipe and again.hash() == recipe.hash()


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_every_recipe_says_its_command_cost_and_result_on_top(file: Path) -> None:
    head = "".join(line for line in file.read_text().splitlines(True) if line.startswith("#"))
    assert file.read_text().startswith(head)
    for word in ("Command:", "Cost:", "Expected:", file.relative_to(ROOT).as_posix()):
        assert word in head


def test_the_papers_recipe_is_the_papers() -> None:
    """SPEC, section 2."""
    recipe = read_recipe(next(file for file in RECIPES if file.stem == "gns-w1.0-cifar10-paper"))
    expected = {
        "model.name": "ghostnetv3_small",
        "model.width": 1.0,
        "data.validation": 0,
        "data.limit": None,
        "data.mean": [0.4914, 0.4822, 0.4465],
        "data.std": [0.2471, 0.2435, 0.2616],
        "augment.crop_padding": 4,
        "augment.padding_mode": "zero",
        "augment.flip": "random",
        "augment.cutout": 0,
        "augment.policy": "none",
        "augment.views": None,
        "optimizer.name": "sgd",
        "optimizer.learning_rate": 0.01,
        "optimizer.momentum": 0.9,
        "optimizer.nesterov": True,
        "optimizer.weight_decay": 0.01,
        "optimizer.decay_norm_and_bias": True,
        "schedule.warmup": 0.3,
        "schedule.warmup_start": 1e-8,
        "schedule.decay": "cosine",
        "schedule.final": 1e-8,
        "train.epochs": 200,
        "train.batch_size": 256,
        "train.accumulate": 1,
        "train.shuffle": False,
        "train.drop_last": False,
        "train.label_smoothing": 0,
        "train.clip_norm": None,
        "train.ema_decay": None,
        "train.precision": "fp32",
        "train.seed": 0,
        "train.monitor_test": True,
    }
    flat = flatten(recipe.as_dict())
    assert {key: flat[key] for key in expected} == expected


def other_value(value: Any) -> str:
    """Some other allowed value of most settings, as one writes it."""
    if isinstance(value, bool):
        return str(not value).lower()
    return str((value or 1) / 2 if isinstance(value, float) else value + 1)


@pytest.mark.parametrize(
    "key",
    [
        k
        for k, v in flatten(Recipe().as_dict()).items()
        if isinstance(v, bool | int | float) and v != 1.0
    ],
)
def test_the_hash_tells_the_experiment_and_not_the_place(key: str) -> None:
    value = flatten(Recipe().as_dict())[key]
    taught = ["--distill.teachers=[a]"] if key.startswith("distill.") else []
    before = read_recipe(None, taught)
    changed = read_recipe(None, [*taught, f"--{key}={other_value(value)}"])
    assert flatten(changed.as_dict())[key] != value
    assert (changed.hash() == before.hash()) is (key in PLACE)


@pytest.mark.parametrize(
    ("written_as", "value"),
    [("none", "none"), ("balanced", "balanced"), ("[1, 2e-1, 3]", (1.0, 0.2, 3.0))],
)
def test_class_weights_are_a_word_or_numbers(written_as: str, value: Any, tmp_path: Path) -> None:
    from_file = read_recipe(written(tmp_path, f"train: {{class_weights: {written_as}}}"))
    from_words = read_recipe(None, ["--train.class_weights", written_as])
    assert from_file.train.class_weights == from_words.train.class_weights == value
    again = read_recipe(written(tmp_path, yaml.safe_dump(from_file.as_dict())))
    assert again == from_file and again.hash() == from_file.hash()
    assert (from_file.hash() == Recipe().hash()) is (value == "none")


@pytest.mark.parametrize("key", LATER)
def test_what_came_later_counts_where_it_is_used(key: str) -> None:
    flat = flatten(Recipe().as_dict())
    assert key in flat
    # The digest is that of the settings that the first records had, and of no other.
    came_later = {k for k in flat if k in LATER or k.startswith("distill.")}
    first = {k: v for k, v in flat.items() if k not in PLACE and k not in came_later}
    assert hashlib.sha256(json.dumps(first, sort_keys=True).encode()).hexdigest() == Recipe().hash()


def test_distillation_counts_where_there_are_teachers() -> None:
    warm = read_recipe(None, ["--distill.temperature", "2"])
    assert warm.hash() == Recipe().hash()
    taught = [read_recipe(None, [f"--distill.teachers=[{runs}]"]) for runs in ("a", "b", "a,b")]
    warmer = read_recipe(None, ["--distill.teachers=[a]", "--distill.temperature", "2"])
    # Which teacher it is, its fingerprint says.
    assert taught[0].hash() == taught[1].hash()
    assert len({r.hash() for r in (Recipe(), taught[0], taught[2], warmer)}) == 4


@pytest.mark.parametrize(("recipe", "digest"), RECORDS)
def test_recorded_recipes_keep_their_hashes(recipe: dict[str, Any], digest: str) -> None:
    assert resolve_recipe(recipe).hash() == digest


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        (
            "gns-w1.0-cifar10-paper",
            "0fc3766cc5ba4239719547a5a3c156c1b7d09bbc8310a613d2aebce1af4720c2",
        ),
        ("quickstart-digits", "dc02c2c8e950c1e98dfee39134b8563dcd4ef95735e4e6ee69e1e8ee594bde60"),
    ],
)
def test_shipped_recipes_keep_their_hashes(name: str, digest: str) -> None:
    assert read_recipe(ROOT / "recipes" / f"{name}.yaml").hash() == digest


def test_lists_from_python_may_be_tuples() -> None:
    written = {"data": {"mean": (0.5, 1), "class_names": ("no", "1")}}
    recipe = resolve_recipe(written)
    assert recipe.data.mean == (0.5, 1.0) and recipe.data.class_names == ("no", "1")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.epochs", 1.0),
        ("train.epochs", True),
        ("train.epochs", "1.0"),
        ("train.epochs", "yes"),
        ("train.shuffle", 1),
        ("train.seed", 10**400),
        ("model.width", True),
        ("model.width", 10**400),
        ("model.pretrained", 1),
        ("data.root", 1),
        ("data.mean", 0.5),
        ("data.mean", [[0.5]]),
        ("data.mean", {"a": 0.5}),
        ("distill.teachers", [1]),
        ("distill.teachers", "a"),
        ("name", ["a"]),
    ],
)
def test_no_value_is_bent_to_fit(key: str, value: Any) -> None:
    room, _, name = key.rpartition(".")
    with pytest.raises(InputError, match=rf"^{key} is .*; it must be "):
        resolve_recipe({room: {name: value}} if room else {name: value})


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("train.shuffle", "no", False),
        ("train.shuffle", "True", True),
        ("model.width", "1e-1", 0.1),
        ("model.width", "2", 2.0),
        ("train.seed", "010", 10),
        ("train.seed", "0x10", 16),
        ("data.limit", "null", None),
        ("data.limit", "~", None),
        ("data.root", "~", "~"),
        ("data.root", "true", "true"),
        ("data.root", "a\udcff", "a\udcff"),
        ("data.mean", "[0.5, '1e-1']", (0.5, 0.1)),
        ("model.pretrained", "true", True),
        ("model.pretrained", "1e3", "1e3"),
        ("model.pretrained", "'true'", "'true'"),
        ("name", "null ", "null "),
    ],
)
def test_text_is_read_by_the_settings_type(key: str, text: str, value: Any) -> None:
    found = flatten(read_recipe(None, [f"--{key}={text}"]).as_dict())[key]
    assert (tuple(found) if isinstance(found, list) else found) == value
    assert type(found) is type(value) or isinstance(found, list)


def test_there_are_recorded_recipes() -> None:
    assert len(RECORDS) >= 6


def test_the_place_is_known_by_its_keys() -> None:
    assert set(PLACE) <= set(known_keys())
    here = read_recipe(None, ["--data.root", "/a", "--train.device", "cpu", "--train.threads", "2"])
    assert here.hash() == Recipe().hash()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train: {epoch: 3}", "train.epochs"),
        ("train: {learning_rate: 3}", "optimizer.learning_rate"),
        ("trian: {epochs: 3}", "train.epochs"),
        ("traim:", "train"),
        ("train: 3", "train"),
        ("train: {epochs: many}", "epochs"),
        ("train: {epochs: 1.5}", "epochs"),
        ("train: {epochs: true}", "epochs"),
        ("train: {shuffle: perhaps}", "shuffle"),
        ("train: {precision: fp8}", "precision"),
        ("train: {epochs: 0}", "epochs"),
        ("optimizer: {betas: [0.9]}", "betas"),
        ("data: {mean: [a, b]}", "mean"),
        ("model: {width: wide}", "width"),
        ("augment: {flip: sometimes}", "flip"),
        ("- a\n- b", "mapping"),
        ("", "mapping"),
        ("train: {epochs: 3", "YAML"),
        ("1: {epochs: 3}", "1"),
    ],
)
def test_what_cannot_be_meant(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError) as raised:
        read_recipe(written(tmp_path, text))
    assert said in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--train.epoch", "3"], "--train.epochs"),
        (["--train.epochs", "x"], "epochs"),
        (["--train.epochs=0"], "epochs"),
        (["--train.epochs"], "epochs"),
        (["--model", "x.yaml"], "--model"),
        (["stray"], "stray"),
    ],
)
def test_options_that_cannot_be_meant(words: list[str], said: str) -> None:
    with pytest.raises(InputError) as raised:
        read_recipe(None, words)
    assert said in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("[no,yes]", ("no", "yes")),
        ("[01, 010, 1e3]", ("01", "010", "1e3")),
        ("[null, ~, '']", ("null", "~", "")),
        ("""["no", 'it''s']""", ("no", "it's")),
        ("null", None),
    ],
)
def test_names_on_the_command_line_are_taken_as_they_are_written(
    word: str, names: tuple[str, ...] | None
) -> None:
    assert read_recipe(None, [f"--data.class_names={word}"]).data.class_names == names


def test_names_that_yaml_takes_for_something_else(tmp_path: Path) -> None:
    for text in ("[no, yes]", "[0, 1]"):
        with pytest.raises(InputError, match="quote each name that YAML takes for something else"):
            read_recipe(written(tmp_path, f"data: {{class_names: {text}}}"))
    quoted = written(tmp_path, "data: {class_names: ['no', 'yes']}")
    assert read_recipe(quoted).data.class_names == ("no", "yes")
    with pytest.raises(InputError, match=r"'\[a: b\]'; it must be a list of names"):
        read_recipe(None, ["--data.class_names", "[a: b]"])


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(InputError) as raised:
            read_recipe(path)
        assert str(path) in str(raised.value)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match=r"binary\.yaml"):
        read_recipe(tmp_path / "binary.yaml")
