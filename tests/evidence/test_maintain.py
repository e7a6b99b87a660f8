"""The program for this repository's records: its commands, from a run to a document."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ghostnet_small.recipe.recipe import read_recipe
from ghostnet_small.run.run_folder import RunFolder
from maintain import COMMANDS, main
from small_run import train


def test_record_and_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, results, weights = (tmp_path / name for name in ("run", "results", "weights"))
    assert train(run) == 0
    file = results / "cifar10-cpu.jsonl"
    capsys.readouterr()
    assert main(["record", str(run), str(file), "--weights-to", str(weights), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["records"] == 1
    assert sorted(p.name for p in weights.iterdir()) == ["config.json", "model.safetensors"]
    same = (weights / "model.safetensors").read_bytes()
    assert same == (run / "last" / "model.safetensors").read_bytes()
    document = tmp_path / "README.md"
    document.write_text("<!-- table: cifar10-cpu -->\n<!-- end table -->\n")
    words = ["tables", str(document), "--results", str(results)]
    assert main([*words, "--check"]) == 3
    said = capsys.readouterr().err
    assert f"python tools/maintain.py tables {document}" in said
    assert main(words) == 0
    assert main([*words, "--check"]) == 0
    assert "n = 1" in document.read_text()


def test_a_record_of_a_run_that_has_not_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    RunFolder(run).create(read_recipe())
    for folder, said in ((run, f"train --resume {run}"), (tmp_path, "no run's folder")):
        assert main(["record", str(folder), str(tmp_path / "results.jsonl")]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "results.jsonl").exists()


def test_a_document_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tables", "nowhere.md"]) == 2
    said = capsys.readouterr().err
    assert "nowhere.md" in said and "Markdown" in said


def test_its_commands_explain_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    for name in COMMANDS:
        assert f"  {name} " in listed
        assert main([name, "--help"]) == 0
        assert f"usage: python tools/maintain.py {name}" in capsys.readouterr().out
