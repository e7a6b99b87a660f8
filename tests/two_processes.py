"""What each of two processes does that ``train/test_processes.py`` starts, all of it in one start.

``torchrun --nproc_per_node 2 tests/two_processes.py FOLDER``: every part writes what it found into
FOLDER, under its own name and the process's rank.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine_kit import CLASSES, Linear, MemoryStore, made_data, made_split, make_training
from ghostnet_small.cli import main
from ghostnet_small.data.augment import Augmentation
from ghostnet_small.errors import InputError
from ghostnet_small.models.registry import create_model
from ghostnet_small.run import start
from ghostnet_small.tensorfile import write_tensors
from ghostnet_small.train import evaluate as evaluation
from ghostnet_small.train.evaluate import evaluate
from ghostnet_small.train.interfaces import Interrupted, NotFinite
from ghostnet_small.train.objective import Batch, class_weights, cross_entropy
from ghostnet_small.train.optim import OptimizerSettings
from ghostnet_small.train.processes import ALONE, Processes, joined
from ghostnet_small.train.progress import TrainingProgress
from ghostnet_small.train.schedule import ScheduleSettings

CLI = [
    *("--model.width", "0.25", "--data.limit", "60", "--data.validation", "0.2"),
    *("--train.epochs", "2", "--train.batch_size", "16", "--train.ema_decay", "0.9"),
    *("--train.device", "cpu", "--augment.crop_padding", "1", "--optimizer.learning_rate", "0.01"),
]
# The networks without batch norm: one process that cuts a step into as many parts ends the same.
EQUAL: dict[str, dict[str, Any]] = {
    # 27 = 3 * 8 + 3, and 3 pictures in two parts are 2 and 1.
    "a part each": {"drop_last": False, "clip_norm": 0.5, "ema_decay": 0.9, "parts": 1},
    "two parts each": {"clip_norm": 0.5, "optimizer": OptimizerSettings(name="adamw"), "parts": 2},
    "mixed and balanced": {
        "sampler": "balanced",
        "augment": Augmentation(mixup=0.4, cutmix=1.0, crop_padding=1, flip="random"),
        "label_smoothing": 0.1,
        "parts": 1,
    },
    "weighted classes": {"weights": (1.0, 2.0, 3.0, 4.0), "parts": 1},
}
# Those that are stopped; with batch norm.
STOPPED: dict[str, Any] = {
    "ema_decay": 0.9,
    "monitor_test": True,
    "augment": Augmentation(crop_padding=1, mixup=0.4),
    "optimizer": OptimizerSettings(learning_rate=0.01),
}


# The poll of a process that is told to stop: after the second step, and before the validation.
STOPS = {"step": {1: 1}, "evaluation": {0: 3, 1: 8}}


class Double(nn.Module):
    """GN-S in float64."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = create_model("ghostnetv3_small", width=0.25, num_classes=CLASSES).double()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.model(x.double())
        return out


def equal(kind: str, processes: Processes) -> MemoryStore:
    """A training of ``EQUAL`` in these processes, of parts of the same size in any number."""
    options = dict(EQUAL[kind])
    data = made_data(train=27)
    weights = class_weights(data.train.labels, data.classes, options.pop("weights", "none"))
    parts = options.pop("parts") * 2 // processes.count
    store = MemoryStore()
    make_training(
        store,
        model=Linear(),
        data=data,
        accumulate=parts,
        objective=cross_entropy(options.get("label_smoothing", 0.0), weights),
        processes=processes,
        **options,
    ).run()
    return store


def one_step(model: nn.Module, processes: Processes) -> dict[str, Tensor]:
    """The gradients of a step of 8 pictures, and the running statistics after it."""
    training = make_training(
        model=model,
        data=made_data(train=8, validation=0),
        epochs=1,
        accumulate=2 // processes.count,
        optimizer=OptimizerSettings(learning_rate=1e-9, momentum=0.0, nesterov=False),
        schedule=ScheduleSettings(warmup=0.0, decay="constant"),
        processes=processes,
    )
    training.learner.stepper.zero_grad = lambda: None
    training.run()
    found = {f"gradient.{name}": p.grad for name, p in model.named_parameters()}
    return found | {f"statistic.{name}": b for name, b in model.named_buffers()}  # type: ignore[dict-item]


def small_model() -> nn.Module:
    """A network with batch norm that takes no time."""
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES)),
    )


def stopped(processes: Processes, at: dict[int, int]) -> tuple[int, MemoryStore, dict[str, Tensor]]:
    """Stopped before the poll ``at[rank]`` of that process; the step, the store and all tensors."""
    store, polls = MemoryStore(), iter(range(at.get(processes.rank, 10**9)))
    training = make_training(
        store,
        model=small_model(),
        processes=processes,
        stop_signal=lambda: 15 if next(polls, None) is None else None,
        **STOPPED,
    )
    try:
        training.run()
    except Interrupted as error:
        assert error.signal_number == 15
    return training.counters.step, store, training.state()[0]


class Parts:
    """The parts of this file, for one process."""

    def __init__(self, folder: Path, processes: Processes) -> None:
        self.folder, self.processes = folder, processes

    def say(self, part: str, value: Any) -> None:
        path = self.folder / f"{part}.{self.processes.rank}.json"
        path.write_text(json.dumps(value))

    def keep(self, part: str, tensors: dict[str, Tensor]) -> None:
        path = self.folder / f"{part}.{self.processes.rank}.safetensors"
        write_tensors(path, tensors, {})

    def equal(self) -> None:
        for kind in EQUAL:
            store = equal(kind, self.processes)
            # The store of the other process is never asked to keep anything.
            self.say(kind, [len(store.states), store.rows])
            if self.processes.is_main:
                self.keep(kind, store.states[-1][0])

    def one_step(self) -> None:
        self.keep("float64", one_step(Double(), self.processes))
        torch.manual_seed(0)
        model = create_model("ghostnetv3_small", width=0.25, num_classes=CLASSES)
        self.keep("float32", one_step(model, self.processes))

    def stopped(self) -> None:
        step, store, tensors = stopped(self.processes, {})
        self.say("undisturbed", [step, store.rows])
        self.keep("undisturbed", tensors)
        for name, at in STOPS.items():
            step, store, _ = stopped(self.processes, at)
            kept: list[Any] = [None]
            if self.processes.is_main:
                kept = [store.states[-1]]
            torch.distributed.broadcast_object_list(kept)
            model = small_model()
            # Nothing may be left of what a new process starts with.
            nn.init.ones_(model.get_parameter("0.weight"))
            training = make_training(store, model=model, processes=self.processes, **STOPPED)
            training.restore(*kept[0])
            training.run()
            self.say(f"stopped at {name}", [step, store.rows])
            self.keep(f"stopped at {name}", training.state()[0])

    def evaluated(self) -> None:
        torch.manual_seed(0)
        model = create_model("ghostnetv3_small", width=0.25, num_classes=CLASSES).eval()
        evaluation.BATCH = 4
        for count in (1, 11, 12):
            polls: list[int] = []
            found, whole = (
                evaluate(
                    model,
                    made_split(count, seed=4),
                    mean=(0.5,) * 3,
                    std=(0.2,) * 3,
                    between=partial(polls.append, 1),
                    processes=processes,
                )
                for processes in (self.processes, ALONE)
            )
            self.say(
                f"evaluated {count}",
                {
                    "same": [found.correct == whole.correct, found.total == whole.total],
                    "loss": abs(found.loss - whole.loss),
                    "logits": float((found.logits - whole.logits).abs().max()),
                    "polls": len(polls),
                },
            )
        evaluation.BATCH = 500

    def failures(self) -> None:
        """What happens in one process is known in both."""

        def refuse(*_: Any) -> None:
            raise OSError(28, "No space left on device", "/runs/state")

        def poisoned(logits: Tensor, batch: Batch) -> Tensor:
            loss = cross_entropy()(logits, batch)
            return loss * float("nan") if self.processes.rank == 1 else loss

        store = MemoryStore()
        store.save_state = refuse  # type: ignore[method-assign]
        self.say("disk full", message(lambda: self.train(store=store)))
        self.say("not finite", message(lambda: self.train(objective=poisoned)))
        torch.manual_seed(self.processes.rank)
        training = make_training(model=Linear(), processes=self.processes)
        with torch.no_grad():
            training.model.get_parameter("linear.bias").add_(1e-7 * self.processes.rank)
        self.say("other weights", message(training.run))
        for name, options in (
            ("odd batch", {"batch_size": 9}),
            # 27 = 3 * 8 + 3, and there are four parts.
            ("short batch", {"accumulate": 2, "drop_last": False, "data": made_data(train=27)}),
        ):
            self.say(name, message(lambda options=options: self.train(**options)))  # type: ignore[misc]

    def train(self, **options: Any) -> None:
        make_training(model=Linear(), processes=self.processes, **options).run()


def message(work: Callable[[], None]) -> list[str]:
    """The kind and the words of what ``work`` raises."""
    try:
        work()
    except (InputError, NotFinite, OSError) as error:
        return [type(error).__name__, str(error)]
    return []


def commands(folder: Path, rank: int) -> None:
    """Whole commands, each of which joins the processes anew."""

    def command(part: str, *words: str) -> None:
        out, err = ((folder / f"{part}.{rank}.{kind}").open("w") for kind in ("out", "err"))
        with out, err, redirect_stdout(out), redirect_stderr(err):
            status = main(words)
        (folder / f"{part}.{rank}.json").write_text(json.dumps(status))

    command("whole", "train", *CLI, "--out", str(folder / "run"), "--json")
    steps = TrainingProgress.step
    seen = iter(range(4))

    def killed_by_itself(self: TrainingProgress, *state: Any) -> None:
        steps(self, *state)
        if rank == 1 and next(seen, None) is None:
            os.kill(os.getpid(), signal.SIGTERM)

    TrainingProgress.step = killed_by_itself  # type: ignore[method-assign]
    command("terminated", "train", *CLI, "--out", str(folder / "stopped"))
    TrainingProgress.step = steps  # type: ignore[method-assign]
    command("resumed", "train", "--resume", str(folder / "stopped"))
    command("finished", "train", "--resume", str(folder / "stopped"), "--json")
    command("of one process", "train", "--resume", str(folder / "alone"))
    command("refused", "train", *CLI, "--train.batch_size", "15", "--out", str(folder / "none"))
    command("unknown", "train", *CLI, "--train.batch_sizes", "15", "--out", str(folder / "none"))
    command("evaluate", "evaluate", str(folder / "run"))

    read, leave = start.load_data, rank == 1

    def unreadable(*_: Any) -> Any:
        raise InputError("this picture is damaged; copy it again")

    start.load_data = unreadable if leave else read
    command("unreadable", "train", *CLI, "--out", str(folder / "none"))
    start.load_data = read

    def lost(self: TrainingProgress, *state: Any) -> None:
        if leave:
            os._exit(9)

    TrainingProgress.step = lost  # type: ignore[method-assign]
    # The launcher now asks the other one to end, which may come when it is done.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    command("lost", "train", *CLI, "--out", str(folder / "lost"))


def work(folder: Path) -> None:
    """All parts."""
    torch.set_num_threads(1)
    with joined() as processes:
        rank = processes.rank
        parts = Parts(folder, processes)
        parts.equal()
        parts.one_step()
        parts.stopped()
        parts.evaluated()
        parts.failures()
    commands(folder, rank)


if __name__ == "__main__":
    work(Path(sys.argv[1]))
