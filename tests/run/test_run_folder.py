from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import torch

import ghostnet_small as gns
from ghostnet_small.cli import main
from ghostnet_small.errors import InputError
from ghostnet_small.recipe.recipe import Recipe, read_recipe
from ghostnet_small.run.run_folder import RunFolder
from ghostnet_small.run.start import resume
from small_run import WORDS

RECIPE = read_recipe(None, ["--name", "tiny", "--train.epochs", "2"])


def made(path: Path) -> RunFolder:
    folder = RunFolder(path)
    folder.create(RECIPE)
    return folder


def test_a_new_folder_holds_its_recipe_and_nothing_else(tmp_path: Path) -> None:
    made(tmp_path / "deep" / "run")
    folder = RunFolder.open(tmp_path / "deep" / "run")
    assert folder.recipe() == RECIPE
    assert folder.summary() is None and folder.state() is None
    assert [file.name for file in folder.path.iterdir()] == ["recipe.yaml"]
    assert [file.name for file in folder.path.parent.iterdir()] == ["run"]


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    """Killed between making the folder and naming it, a run does not exist yet."""
    partial = tmp_path / ".run.partial"
    partial.mkdir()
    (partial / "junk").write_text("x")
    folder = made(tmp_path / "run")
    assert not partial.exists() and not (folder.path / "junk").exists()


def test_a_folder_that_exists_is_never_written_into(tmp_path: Path) -> None:
    made(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for name, said in (("run", "--resume"), ("empty", "exists"), ("file", "exists")):
        with pytest.raises(InputError, match=said):
            RunFolder(tmp_path / name).check_free()
        with pytest.raises(InputError, match=said):
            made(tmp_path / name)
    with pytest.raises(InputError, match="folder"):
        RunFolder(tmp_path / "file" / "run").check_free()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["empty", "file", "run"]


def test_a_link_in_a_strangers_run_is_refused_before_it_goes_on(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes").write_text("old")
    folder = made(tmp_path / "run")
    for name in ("last", "pictures", "metrics.jsonl", "state.safetensors", "place.json"):
        link = folder.path / name
        link.symlink_to(mine if "." not in name else mine / "notes")
        with pytest.raises(InputError, match=f"{name} is a link to {mine}"):
            resume(folder.path, [], watcher=None, stop_signal=lambda: None)  # type: ignore[arg-type]
        link.unlink()
    assert [file.read_text() for file in mine.iterdir()] == ["old"]
    # The folder itself may be a link, which the user typed.
    (tmp_path / "link").symlink_to(folder.path)
    with closing(RunFolder.open(tmp_path / "link")) as typed:
        typed.lock()


def test_what_is_no_run(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError) as raised:
            RunFolder.open(path)
        assert str(path) in str(raised.value)


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    folder = made(tmp_path / "run")
    folder.extra = {"fingerprint": "f"}
    folder.save_state({"a.b": torch.arange(3)}, {"counters": {"step": 3, "loss_sum": 0.1}})
    state = folder.state()
    assert state is not None
    assert torch.equal(state[0]["a.b"], torch.arange(3))
    assert state[1] == {"counters": {"step": 3, "loss_sum": 0.1}, "fingerprint": "f"}

    rows = [{"epoch": 1, "train_loss": 0.5}, {"epoch": 2, "train_loss": 0.25}]
    folder.save_metrics(rows)
    lines = (folder.path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == rows

    folder.save_summary({"last": 1})
    assert folder.summary() == {"last": 1}

    folder.info = gns.ModelInfo(("a", "b"), (8, 8), (0.5,), (0.2,), Recipe().as_dict())
    model = gns.create_model("ghostnetv3_small", width=0.25, num_classes=2, in_channels=1)
    folder.save_weights("last", model)
    _, info = gns.load(folder.path)
    assert info == folder.info


def test_damage_is_told_with_its_file(tmp_path: Path) -> None:
    folder = made(tmp_path / "run")
    (folder.path / "summary.json").write_text('{"a": ')
    with pytest.raises(InputError, match=r"summary\.json"):
        folder.summary()
    (folder.path / "state.safetensors").write_bytes(b"\x07" * 40)
    with pytest.raises(InputError, match=r"state\.safetensors"):
        folder.state()


HOLDER = (
    "import sys\nfrom pathlib import Path\nfrom ghostnet_small.files import lock_folder\n"
    "lock_folder(Path(sys.argv[1]))\nprint('held', flush=True)\nsys.stdin.read()\n"
)


def test_two_at_work_in_one_run_are_one_too_many(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create(Recipe())
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match=r"run is being trained by another process.*--out"):
            folder.lock()
        holder.stdin.close()
        # One that was killed may take a moment to let go.
        folder.lock(patience=20)
    other = RunFolder(folder.path)
    with pytest.raises(InputError, match="another process"):
        other.lock()
    folder.close()
    other.lock()
    other.close()


def test_a_run_that_another_process_trains_is_not_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create(read_recipe(None, WORDS))
    with closing(folder):
        folder.lock()
        assert main(["train", "--resume", str(folder.path)]) == 2
        assert "being trained by another process" in capsys.readouterr().err
    assert {path.name for path in folder.path.iterdir()} == {"recipe.yaml"}
    assert main(["train", "--resume", str(folder.path)]) == 0
    # Both hands are off it now.
    folder.lock()
    folder.close()
