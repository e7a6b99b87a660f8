from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import ghostnet_small as gns
import maintain
import small_run
from ghostnet_small import cli
from ghostnet_small.models import shipped_weights
from ghostnet_small.publish.card import facts_of, model_card, runs_of
from ghostnet_small.publish.weight_records import list_shipped, shipped_facts
from ghostnet_small.run.records import read_records
from ghostnet_small.run.run_folder import RunFolder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the digits."""
    run = tmp_path_factory.mktemp("finished") / "run"
    assert small_run.train(run) == 0
    # The checkout of who runs this test may have changes, and weights of such are not shipped.
    _change(run, commit="c" * 40, dirty=False)
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    copy = tmp_path / "run"
    copy.mkdir()
    for file in finished.rglob("*"):
        if file.is_file():
            target = copy / file.relative_to(finished)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(file.read_bytes())
    return copy


def _change(run: Path, **values: Any) -> None:
    folder = RunFolder.open(run)
    summary = folder.summary()
    assert summary is not None
    folder.save_summary({**summary, **values})


def _ship(run: Path, *more: str) -> tuple[int, Path, Path]:
    to, results = run.parent / "weights", run.parent / "digits.jsonl"
    # ``write_bundle`` has tests of its own, and takes its time.
    status = maintain.main(["ship", str(run), str(results), "--to", str(to), "--no-demo", *more])
    return status, to, results


def test_what_strangers_call_things_stays_text_in_a_card(run: Path) -> None:
    """No link, no picture, no markup, and nothing ends the block of the recipe."""
    name = "a|![b](http://e.example/c.png)<img src=x>\n# d www.e.example ```` e"
    shown = r"a\|!\[b\](http\://e.example/c.png)&lt;img src=x&gt; # d www\.e.example \`\`\`\` e"
    model, info = gns.load(run)
    recipe = {**info.recipe, "name": name}
    recipe["data"] = {**recipe["data"], "source": name, "root": f"/home/{name}"}
    info = dataclasses.replace(info, classes=(name, *info.classes[1:]), recipe=recipe)
    record = RunFolder.open(run).finished()
    record["recipe"]["name"] = record["device"]["name"] = record["libraries"]["torch"] = name
    record["data"]["fingerprint"] = record["commit"] = "```` |"
    found = {key.removeprefix("test_"): value for key, value in record["last"].items()}
    per_class = [{"class": name, "precision": 1.0, "recall": 1.0, "pictures": 1}]
    evaluation = {**found, "split": name, "per_class": per_class}
    card = model_card("title", model.config, info, facts_of(record, [record], evaluation))
    matter, _, rest = card.removeprefix("---\n").partition("---\n")
    text, fence, block = rest.partition("\n`````yaml\n")
    block, _, text_after = block.partition("\n`````\n")
    assert fence and yaml.safe_load(block)["name"] == name and yaml.safe_load(matter)
    for part in ("http:", "www.", "![b", "<img", "\n# d"):
        assert part not in text + text_after
    # Class (twice), recipe, split (twice), device and version; of the folder its last name.
    assert text.count(shown) == 7 and text.count("| ````` ```` \\| ````` |") == 2


def test_weights_ship_under_a_name_that_everything_takes(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, to, results = _ship(run)
    assert status == 0
    name = "ghostnetv3_small_w0.05_digits"
    assert [path.name for path in to.iterdir()] == [name]
    (record,) = read_records(results)
    assert record["commit"] == "c" * 40
    monkeypatch.setattr(shipped_weights, "FOLDERS", (to,))
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()

    assert gns.list_weights() == [name]
    model, _ = gns.load(name)
    trained, _ = gns.load(run)
    for key, value in trained.state_dict().items():
        assert torch.equal(model.state_dict()[key], value), key
    assert not cli.main(["evaluate", name, "--json"])
    assert json.loads(capsys.readouterr().out)["correct"] == record["last"]["test_correct"]
    assert not cli.main(["export", name, "--formats", "torch"])
    assert (tmp_path / "export" / name / "model.pt2").is_file()
    capsys.readouterr()
    assert not cli.main(["info", name, "--json"])
    params = json.loads(capsys.readouterr().out)["params"]
    assert not cli.main(["models", "--json"])
    (listed,) = json.loads(capsys.readouterr().out)
    assert listed["params"] == params
    assert (listed["name"], listed["correct"]) == (name, record["last"]["test_correct"])
    assert [one["seed"] for one in listed["runs"]] == [0]
    assert listed["size_bytes"] == (to / name / "model.safetensors").stat().st_size


def test_a_card_shows_the_record(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, to, results = _ship(run)
    (folder,) = to.iterdir()
    assert "confusion" not in json.loads((folder / "record.json").read_text())["evaluation"]
    card = (folder / "README.md").read_text()
    _, front, text = card.split("---\n", 2)
    matter = yaml.safe_load(front)
    (record,) = read_records(results)
    last = record["last"]
    (metric,) = matter["model-index"][0]["results"][0]["metrics"]
    assert metric["value"] == last["test_top1"]
    assert f"{last['test_top1']:.2f} % ({last['test_correct']} of {last['test_total']})" in text
    assert f"n = 1: {last['test_top1']:.2f}" in text
    assert f"{record['model']['params']['deployed']:,}" in text
    # The recipe that it prints is the recipe.
    block = text.split("```yaml\n")[1].split("```")[0]
    assert yaml.safe_load(block)["train"]["epochs"] == record["recipe"]["train"]["epochs"]


def test_nothing_that_ships_names_a_place(run: Path) -> None:
    place = str(run.parent)
    _, to, _ = _ship(run, "--data.root", "null")
    folder = RunFolder.open(run)
    summary = folder.summary()
    assert summary is not None
    summary["recipe"]["data"]["root"] = place
    summary["recipe"]["distill"] = {"teachers": [place]}
    folder.save_summary(summary)
    (run.parent / "digits.jsonl").unlink()
    status, to, _ = _ship(run, "--force", "--data.root", "null")
    assert status == 0
    for file in to.rglob("*"):
        assert file.is_dir() or place.encode() not in file.read_bytes(), file.name


def test_other_seeds_of_the_recipe_are_counted(run: Path) -> None:
    _, _, results = _ship(run)
    (record,) = read_records(results)
    recipe = record["recipe"]
    other = {**record, "seed": 1, "recipe": {**recipe, "train": {**recipe["train"], "seed": 1}}}
    longer = {**record, "recipe": {**recipe, "train": {**recipe["train"], "epochs": 3}}}
    assert [one["seed"] for one in runs_of(record, [other, longer, record])] == [0, 1]


def test_weights_that_do_not_give_their_record_are_not_shipped(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = RunFolder.open(run).summary()
    assert summary is not None
    last = {**summary["last"], "test_correct": summary["last"]["test_correct"] + 100}
    _change(run, last=last)
    status, to, results = _ship(run)
    assert status == 3
    assert "they are not shipped" in capsys.readouterr().err
    assert not to.exists() or not list(to.iterdir())
    assert not results.exists()


@pytest.mark.parametrize(
    ("change", "words", "said"),
    [
        ({"dirty": True}, (), "no commit holds"),
        ({"commit": None}, (), "no commit holds"),
        ({}, ("--name", "Über"), "cannot be the name"),
        ({}, ("--name", "../up"), "cannot be the name"),
        ({}, ("--name", "ghostnetv3_small"), "cannot be the name"),
    ],
)
def test_what_may_not_ship_is_refused(
    change: dict[str, Any],
    words: tuple[str, ...],
    said: str,
    run: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _change(run, **change)
    status, to, results = _ship(run, *words)
    assert status == 2
    assert said in capsys.readouterr().err
    assert not to.exists() and not results.exists()


def test_a_second_time_needs_force_and_records_nothing_twice(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _ship(run)[0] == 0
    status, _, results = _ship(run)
    assert status == 2
    assert "--force" in capsys.readouterr().err
    assert _ship(run, "--force")[0] == 0
    assert len(read_records(results)) == 1


def test_weights_without_a_run_need_their_record(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _ship(run)[0] == 0
    words = ["ship", str(run / "last"), str(tmp_path / "digits.jsonl"), "--no-demo", "--to"]
    assert maintain.main([*words, str(tmp_path / "again")]) == 0
    (one,), (two,) = (tmp_path / "weights").iterdir(), (tmp_path / "again").iterdir()
    assert (one / "record.json").read_text() == (two / "record.json").read_text()
    (tmp_path / "digits.jsonl").unlink()
    assert maintain.main([*words, str(tmp_path / "third")]) == 2
    assert "holds 0 runs of the recipe" in capsys.readouterr().err


def test_a_damaged_record_is_told(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, to, _ = _ship(run)
    monkeypatch.setattr(shipped_weights, "FOLDERS", (to,))
    (folder,) = to.iterdir()
    text = (folder / "record.json").read_text()
    (folder / "record.json").write_text(text.replace('"seed": 0', '"seed": 1'))
    with pytest.raises(gns.InputError, match="is damaged"):
        list_shipped()
    (folder / "record.json").unlink()
    assert shipped_facts(folder) is None
    with pytest.raises(gns.InputError, match=r"has no record\.json"):
        list_shipped()


def test_an_unknown_name_is_told_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "ghostnetv3_small_w1.0_cifar"]) == 2
    assert "nearest is ghostnetv3_small_w1.0_cifar10" in capsys.readouterr().err
    assert cli.main(["predict", "ghostnetv3_small_w1.0_cifar", "x.png"]) == 2
    assert "the nearest is ghostnetv3_small_w1.0_cifar10" in capsys.readouterr().err


def test_a_folder_of_ones_own_goes_before_a_name(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name, *_) = gns.list_weights()
    (run / "last").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    _, info = gns.load(name)
    assert info.recipe["data"]["source"] == "digits"
