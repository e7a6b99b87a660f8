"""Two processes, started as a user starts them; all that needs two runs in one start of them."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine_kit import Linear, MemoryStore, Silent, made_data, make_training, without_times
from ghostnet_small.cli import main
from ghostnet_small.data.dataset import normalize
from ghostnet_small.errors import InputError
from ghostnet_small.launcher import Launch, launched
from ghostnet_small.recipe.recipe import read_recipe
from ghostnet_small.run import start as study
from ghostnet_small.tensorfile import read_tensors
from ghostnet_small.train.device import make_accelerator
from ghostnet_small.train.interfaces import Interrupted
from ghostnet_small.train.processes import ALONE, joined
from ghostnet_small.train.settings import TrainSettings, check_parts
from two_processes import CLI, EQUAL, Double, equal, one_step

LAUNCH = [*(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")]
WORKER = Path(__file__).parent.parent / "two_processes.py"


class Found:
    """What the two processes wrote."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def said(self, part: str) -> list[Any]:
        """By rank."""
        return [json.loads((self.folder / f"{part}.{rank}.json").read_text()) for rank in (0, 1)]

    def kept(self, part: str, rank: int = 0) -> dict[str, Tensor]:
        return read_tensors(self.folder / f"{part}.{rank}.safetensors")[0]

    def printed(self, part: str) -> tuple[list[str], list[str]]:
        """Standard output and standard error, by rank."""
        out, err = (
            [(self.folder / f"{part}.{rank}.{kind}").read_text() for rank in (0, 1)]
            for kind in ("out", "err")
        )
        return out, err


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("two")
    with pytest.raises(Interrupted):
        recipe = read_recipe(None, CLI)
        study.start(recipe, folder / "alone", watcher=Silent(), stop_signal=lambda: 15)
    done = subprocess.run(
        [*LAUNCH, str(WORKER), str(folder)], capture_output=True, text=True, timeout=300
    )
    # The last that it does is to lose a process.
    assert (folder / "lost.0.json").is_file(), done.stderr
    assert "Warning" not in done.stderr and "exitcode  : 9" in done.stderr
    return Found(folder)


def assert_close(found: dict[str, Tensor], wanted: dict[str, Tensor], bound: float) -> None:
    """Within ``bound`` of the largest value of each tensor, or of 1e-3 where that is less."""
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        scale = max(float(value.abs().max()), 1e-3)
        difference = float((found[name] - value).abs().max())
        assert difference <= bound * scale, (name, difference / scale)


def assert_equal(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if not torch.equal(found[name], wanted[name])] == []


def by_part(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name: value for name, value in tensors.items() if name.startswith(part)}


@pytest.mark.parametrize("kind", EQUAL)
def test_one_process_with_as_many_parts_ends_the_same(found: Found, kind: str) -> None:
    alone = equal(kind, ALONE)
    assert_close(found.kept(kind), alone.states[-1][0], 1e-12)
    (states, rows), (others_states, others_rows) = found.said(kind)
    for row, wanted in zip(without_times(rows), without_times(alone.rows), strict=True):
        assert row == pytest.approx(wanted, rel=1e-12)
    # Only one of them keeps anything.
    assert states == len(alone.states) and (others_states, others_rows) == (0, [])


@pytest.mark.parametrize(("precision", "bound"), [("float64", 1e-12), ("float32", 1e-6)])
def test_the_gradient_is_that_of_one_process_that_accumulates(
    found: Found, precision: str, bound: float
) -> None:
    # Made in float32 and widened, so that both begin with the same weights.
    model = Double() if precision == "float64" else Double().model.float()
    alone = one_step(model, ALONE)
    kept = found.kept(precision)
    assert_close(by_part(kept, "gradient"), by_part(alone, "gradient"), bound)
    assert_equal(found.kept(precision, 1), kept)


def test_the_running_statistics_are_the_mean_of_both_halves(found: Found) -> None:
    data = made_data(train=8, validation=0)
    # The order of the first epoch: the training's own, by hand.
    training = make_training(model=Linear(), data=data, epochs=1)
    (step,) = training.feed.epoch(0, 0)
    views = normalize(step.parts[0].views, data.mean, data.std)
    halves = []
    for part in views.split(4):
        model = Double().train()
        model(part)
        halves.append(dict(model.named_buffers()))
    kept = found.kept("float64")
    for name, first in halves[0].items():
        second = halves[1][name]
        wanted = (first + second) / 2 if first.is_floating_point() else first
        assert torch.allclose(kept[f"statistic.{name}"], wanted, rtol=1e-10, atol=1e-12), name


def test_both_hold_the_same_model_average_and_optimizer(found: Found) -> None:
    kept = found.kept("undisturbed")
    assert {name.split(".")[0] for name in kept} == {"model", "ema", "optimizer"}
    assert_equal(found.kept("undisturbed", 1), kept)


@pytest.mark.parametrize(("name", "step"), [("step", 2), ("evaluation", 3)])
def test_stopped_by_a_signal_at_one_they_end_the_same(found: Found, name: str, step: int) -> None:
    (stopped, rows), (others, _) = found.said(f"stopped at {name}")
    assert stopped == others == step
    assert without_times(rows) == without_times(found.said("undisturbed")[0][1])
    for rank in (0, 1):
        assert_equal(found.kept(f"stopped at {name}", rank), found.kept("undisturbed"))


@pytest.mark.parametrize("count", [1, 11, 12])
def test_evaluation_is_shared_out(found: Found, count: int) -> None:
    for said in found.said(f"evaluated {count}"):
        assert said["same"] == [True, True]
        assert said["loss"] < 1e-6 and said["logits"] < 1e-5
        # In batches of 4: of its half, and of all when alone.
        assert said["polls"] == math.ceil(math.ceil(count / 2) / 4) + math.ceil(count / 4)


@pytest.mark.parametrize(
    ("part", "kind", "words"),
    [
        ("disk full", "_Agreed", "/runs/state: No space left on device"),
        ("not finite", "NotFinite", "the loss is nan at step 1 of 6"),
        ("other weights", "_Agreed", "their weights after step 0"),
        (
            "odd batch",
            "InputError",
            "batch_size 9 cannot be cut into 1 equal part(s) for each of 2",
        ),
        ("short batch", "InputError", "the last batch of an epoch has 3 of 27 images"),
    ],
)
def test_what_goes_wrong_in_one_is_raised_in_both(
    found: Found, part: str, kind: str, words: str
) -> None:
    said = found.said(part)
    assert said[0] == said[1] and said[0][0] == kind and words in said[0][1]


def test_a_command_in_two_processes_is_one_command(found: Found) -> None:
    assert found.said("whole") == [0, 0]
    out, err = found.printed("whole")
    summary = json.loads(out[0])
    assert summary["processes"] == 2 and summary["data"]["train_images"] == 48
    assert [row["epoch"] for row in summary["epochs"]] == [1, 2]
    assert err[0].count("epoch 1/2") == 1 and out[1] == err[1] == ""
    made = sorted(path.name for path in (found.folder / "run").iterdir())
    assert {"recipe.yaml", "summary.json", "last", "best", "pictures"} <= set(made)
    assert not any("partial" in name for name in made)


def test_terminated_and_resumed_it_ends_the_same(found: Found) -> None:
    assert found.said("terminated") == [143, 143]
    _, err = found.printed("terminated")
    path = found.folder / "stopped"
    cure = f"torchrun --nproc_per_node 2 -m ghostnet_small train --resume {path}"
    assert err[0].count(f"stopped by SIGTERM, all is saved; go on with: {cure}") == 1
    assert err[1] == ""
    assert found.said("resumed") == [0, 0]
    ends = [read_tensors(found.folder / run / "state.safetensors") for run in ("run", "stopped")]
    assert_equal(ends[1][0], ends[0][0])
    assert ends[0][1]["processes"] == 2
    assert [session["from_step"] for session in ends[1][1]["sessions"]] == [0, 5]
    # A finished run gives its summary in both and prints it in one.
    assert found.said("finished") == [0, 0]
    assert json.loads(found.printed("finished")[0][0])["processes"] == 2


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("refused", "train.batch_size 15 cannot be cut into"),
        ("unknown", "--train.batch_sizes"),
        ("unreadable", "process 1: this picture is damaged; copy it again"),
        ("of one process", "was trained in 1 process(es), not in 2: batch norm"),
        ("evaluate", "evaluate runs in one process, and the launcher started 2"),
    ],
)
def test_a_mistake_is_told_once_and_ends_both(found: Found, part: str, words: str) -> None:
    assert found.said(part) == [2, 2]
    out, err = found.printed(part)
    assert err[0].count("error: ") == 1 and words in err[0] and len(err[0].splitlines()) == 1
    assert err[1] == "" and out == ["", ""]
    assert not (found.folder / "none").exists()


def test_one_whose_companion_died_says_so(found: Found) -> None:
    assert json.loads((found.folder / "lost.0.json").read_text()) == 2
    err = (found.folder / "lost.0.err").read_text()
    assert err.count("process 0 stops because another one ended or no longer answers") == 1
    assert "Traceback" not in err


def test_ctrl_c_at_the_launcher_saves_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    command = [*LAUNCH, "-m", "ghostnet_small", "train", *CLI, "--train.epochs", "1000"]
    with (tmp_path / "err").open("w") as err:
        launcher = subprocess.Popen([*command, "--out", str(out)], stderr=err)
        try:
            until = time.monotonic() + 120
            while not (out / "metrics.jsonl").exists() and time.monotonic() < until:
                assert launcher.poll() is None, (tmp_path / "err").read_text()
                time.sleep(0.1)
            launcher.send_signal(signal.SIGINT)
            assert launcher.wait(120) != 0
        finally:
            launcher.kill()
    assert (tmp_path / "err").read_text().count("stopped by SIGINT, all is saved; go on with") == 1
    values = read_tensors(out / "state.safetensors")[1]
    assert values["processes"] == 2 and values["counters"]["step"] >= 3
    # One process cannot go on with it, and is told who can.
    assert main(["train", "--resume", str(out)]) == 2
    said = capsys.readouterr().err
    assert "was trained in 2 process(es), not in 1: batch norm" in said
    assert f"torchrun --nproc_per_node 2 -m ghostnet_small train --resume {out}" in said


@pytest.mark.parametrize(
    ("settings", "processes", "said"),
    [
        ({"batch_size": 8}, 3, "for each of 3 processes"),
        ({"batch_size": 8, "accumulate": 4}, 4, "4 equal part"),
        ({"batch_size": 8, "accumulate": 2}, 4, "single image"),
        # 27 = 3 * 8 + 3, in parts of 2 and 1.
        ({"batch_size": 8, "drop_last": False}, 2, "single image"),
        ({"batch_size": 24, "drop_last": False}, 4, "too few for 1 part"),
    ],
)
def test_batches_that_cannot_be_shared(settings: dict[str, Any], processes: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_parts(nn.BatchNorm2d(3), 27, TrainSettings(**settings), processes)


def test_a_launcher_of_one_process_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with joined() as processes:
        assert processes is ALONE and launched() == Launch()
    accelerator = make_accelerator("cpu")
    assert not accelerator.use_distributed and os.environ["LOCAL_RANK"] == "0"
    assert not torch.distributed.is_initialized()
    store = MemoryStore()
    make_training(store, model=Linear(), epochs=1).run()
    assert len(store.rows) == 1


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is 2, but RANK, LOCAL_RANK, .* is not set"),
        ({"WORLD_SIZE": "many"}, "WORLD_SIZE is 'many', not a whole number"),
    ],
)
def test_half_a_launcher_is_told(
    environment: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=said):
        launched()
