"""The training engine: a loop over steps that can stop and resume anywhere, bit for bit.

Everything random is a function of a seed and a count (the order of an epoch, an image's view),
so a checkpoint holds only tensors and counters.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ghostnet_small.data.augment import Augmentation
from ghostnet_small.data.counter_rng import step_seed
from ghostnet_small.data.dataset import ImageData, Split
from ghostnet_small.errors import InputError
from ghostnet_small.train.checkpoint import Counters, by_part, optimizer_tensors, restore_optimizer
from ghostnet_small.train.delayed_saves import Shelf
from ghostnet_small.train.early_statistics import EarlyStatistics
from ghostnet_small.train.ema import EMA
from ghostnet_small.train.evaluate import Evaluation, evaluate
from ghostnet_small.train.feed import Feed, Step
from ghostnet_small.train.interfaces import Interrupted, NotFinite, Store, Watcher
from ghostnet_small.train.learner import Learner
from ghostnet_small.train.objective import Batch, Objective
from ghostnet_small.train.optim import OptimizerSettings, backbone_of, build_optimizer, freeze
from ghostnet_small.train.pending import Pending
from ghostnet_small.train.processes import ALONE, MainStore, Processes, digest
from ghostnet_small.train.recorded_steps import recorder_for
from ghostnet_small.train.schedule import ScheduleSettings, learning_rate
from ghostnet_small.train.settings import TrainSettings, check_parts

# On a GPU an epoch may take less time than writing its files: epochs save at most this often.
SECONDS_BETWEEN_SAVES = {"cuda": 5.0}


class Training:
    """The training of a model on ``data``; ``run`` continues it to the end or to an interruption.

    In several ``processes`` each takes its part of every step. The gradient of the whole step
    is the same in all, and so are weights and average; running statistics are averaged over the
    processes after each step. All stop at the same step, and only one saves.

    ``for_evaluation`` returns a copy that computes the same faster. A ``companion`` holds an
    objective's own parameters: it is trained with the model and saved in the state, not in the
    weights. ``ask`` returns the teachers' logits that a batch holds where steps are recorded.

    Raises ``InputError`` where the batch is larger than the training split or leaves a single
    image to batch norm, or where an image does not suit the augmentation.
    """

    def __init__(
        self,
        model: nn.Module,
        data: ImageData,
        *,
        objective: Objective,
        augment: Augmentation,
        optimizer: OptimizerSettings,
        schedule: ScheduleSettings,
        settings: TrainSettings,
        accelerator: Accelerator,
        store: Store,
        watcher: Watcher,
        stop_signal: Callable[[], int | None] = lambda: None,
        processes: Processes = ALONE,
        for_evaluation: Callable[[nn.Module], nn.Module] | None = None,
        companion: nn.Module | None = None,
        ask: Callable[[Batch], Tensor] | None = None,
    ) -> None:
        if settings.batch_size > len(data.train):
            raise InputError(
                f"train.batch_size {settings.batch_size} is larger than the training split of "
                f"{len(data.train)} images; give at most {len(data.train)}"
            )
        check_parts(model, len(data.train), settings, processes.count)
        augment.check(*data.size)
        self.settings, self.schedule = settings, schedule
        self.peak = optimizer.learning_rate
        self.accelerator = accelerator
        self.store, self.processes = MainStore(store, processes), processes
        device = accelerator.device
        seconds = min(SECONDS_BETWEEN_SAVES.get(device.type, 0.0), settings.checkpoint_seconds)
        self.shelf = Shelf(self.store, seconds=seconds)
        self.watcher, self.stop_signal = watcher, stop_signal
        self.for_evaluation = for_evaluation
        judged = ("validation", "test") if settings.monitor_test else ("validation",)
        self.data = data.on(device, *judged)
        recorder, self.draws = None, getattr(model, "draws", False)
        if companion is None and not self.draws:
            recorder = recorder_for(settings, accelerator, processes)
        self.feed = Feed(data, augment, settings, device, processes, ask if recorder else None)
        self.steps_per_epoch = self.feed.steps
        self.steps = self.steps_per_epoch * settings.epochs

        self.model = model.to(device).to(memory_format=settings.memory_format)
        self.ema = EMA(self.model, settings.ema_decay) if settings.ema_decay else None
        self.early = EarlyStatistics(data.train, data.mean, data.std, settings.memory_format)
        self.companion = companion if companion is None else companion.to(device)
        trained = nn.ModuleList([self.model, *([companion] if companion is not None else [])])
        backbone = backbone_of(model) if optimizer.backbone_rate != 1 else []
        self.frozen = freeze(model, backbone) if optimizer.backbone_rate == 0 else []
        self.optimizer = build_optimizer(trained, optimizer, backbone)
        self.learner = Learner(
            self.model,
            trained,
            self.optimizer,
            objective,
            data,
            settings=settings,
            accelerator=accelerator,
            processes=processes,
            recorder=recorder,
        )

        self.counters = Counters()
        self.pending = Pending()
        self.saved_at = self.clock = time.monotonic()
        self.saved_step = 0

    @property
    def averaged(self) -> nn.Module:
        """Return the model to evaluate and keep: the average of weights where there is one."""
        model = self.ema.model if self.ema else self.model
        # Frozen statistics stay: the layers after them are adapted to them.
        return model if self.frozen else self.early.fitted(model, self.counters.step)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all that ``restore`` needs: named tensors and plain values."""
        tensors = {f"model.{name}": t for name, t in self.model.state_dict().items()}
        if self.ema:
            tensors |= {f"ema.{name}": t for name, t in self.ema.model.state_dict().items()}
        if self.companion is not None:
            tensors |= {f"companion.{n}": t for n, t in self.companion.state_dict().items()}
        tensors |= {f"optimizer.{n}": t for n, t in optimizer_tensors(self.optimizer).items()}
        scaler = self.accelerator.scaler
        return tensors, {
            "counters": vars(self.counters),
            "scaler": scaler.state_dict() if scaler is not None else None,
            "processes": self.processes.count,
        }

    def restore(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Continue from what ``state`` returned."""
        parts = by_part(tensors, ("model", "ema", "companion", "optimizer"))
        self.model.load_state_dict(parts["model"])
        if self.ema:
            self.ema.model.load_state_dict(parts["ema"])
        if self.companion is not None:
            self.companion.load_state_dict(parts["companion"])
        restore_optimizer(self.optimizer, parts["optimizer"])
        if self.accelerator.scaler is not None and values["scaler"]:
            self.accelerator.scaler.load_state_dict(values["scaler"])
        self.counters = Counters(**values["counters"])
        self.saved_step = self.counters.step
        if self.learner.recorded is not None:
            self.learner.recorded.begin()

    def run(self) -> None:
        """Train to the last epoch.

        Raises ``Interrupted``, after the state is saved, where ``stop_signal`` returns a number,
        and ``NotFinite`` where the loss is not a finite number.
        """
        self._check_same()
        while len(self.counters.rows) < self.settings.epochs:
            self._train_epoch(len(self.counters.rows))
            self._finish_epoch()

    def _train_epoch(self, epoch: int) -> None:
        first = self.counters.step - epoch * self.steps_per_epoch
        if first == self.steps_per_epoch:
            return
        self.learner.forward.train()
        for module in self.frozen:
            module.eval()
        started = time.monotonic() - self.counters.epoch_seconds
        for number, step in enumerate(self.feed.epoch(epoch, first), first + 1):
            self._step(step)
            self.counters.epoch_seconds = time.monotonic() - started
            on_cpu = self.accelerator.device.type == "cpu"
            if on_cpu or self.pending.due():
                self._look()
                so_far = self.counters.loss, self.counters.top1
                self.watcher.step(epoch, number, self.steps_per_epoch, *so_far)
            now = time.monotonic()
            self._stop_or_save(late=now - self.saved_at >= self.settings.checkpoint_seconds)
        self._look()
        # By now the device has finished its work.
        self.counters.epoch_seconds = time.monotonic() - started

    def _step(self, step: Step) -> None:
        rate = self._rate(self.counters.step)
        if self.draws:
            # It does not depend on earlier steps, so a resumed run draws the same numbers.
            seed = step_seed(self.settings.seed, self.counters.step, self.processes.rank)
            torch.manual_seed(seed)
        for loss, correct, pictures in self.learner(step, rate):
            self.pending.add(self.counters.step, rate, loss, correct, pictures)
        self.processes.average_statistics(self.model)
        if self.ema:
            self.ema.update(self.counters.step)
        self.counters.step += 1

    def _rate(self, step: int) -> float:
        return learning_rate(step, self.steps, self.peak, self.schedule)

    def _look(self) -> None:
        """Add the pending losses to the epoch's sums; stop at one that is not finite."""
        for found in self.pending.take(self.processes):
            if not math.isfinite(found.loss):
                raise NotFinite(
                    f"the loss is {found.loss} at step {found.step + 1} of {self.steps}, learning "
                    f"rate {found.learning_rate:.3g}; {self._cure()}"
                )
            self.counters.add(found.loss, found.correct, found.pictures)

    def _check_same(self) -> None:
        what = f"their weights after step {self.counters.step}"
        self.processes.check_same(lambda: digest(self.state()[0]), what)

    def _check_weights(self) -> None:
        """Stop at weights that are not finite: no loss has shown them yet."""
        weights = [parameter.detach() for parameter in self.model.parameters()]
        if not torch.stack(torch._foreach_norm(weights, math.inf)).isfinite().all():
            step = self.counters.step
            raise NotFinite(
                f"the weights are not finite after step {step} of {self.steps}, learning rate "
                f"{self._rate(step - 1):.3g}; {self._cure()}"
            )

    def _cure(self) -> str:
        saved = (
            f"that of step {self.saved_step}" if self.saved_step else "the start, none was saved"
        )
        return (
            f"the last good checkpoint is {saved}. Lower "
            "optimizer.learning_rate, lengthen schedule.warmup or set train.clip_norm"
        )

    def _stop_or_save(self, late: bool) -> None:
        """Save where a process is ``late`` or got a signal; stop at a signal."""
        number, save = self.processes.agree(self.stop_signal() or 0, int(late))
        if number or save:
            self._save_state()
        if number:
            raise Interrupted(number)

    def _save_state(self) -> None:
        # A state after a loss that is not finite must not replace a good one.
        self._look()
        self._check_weights()
        self.shelf.write()
        now = time.monotonic()
        self.counters.wall_seconds += now - self.clock
        self.clock = now
        self.store.save_state(*self.state())
        self.saved_at, self.saved_step = time.monotonic(), self.counters.step

    def _finish_epoch(self) -> None:
        self._check_weights()
        self._check_same()
        row: dict[str, Any] = {
            "epoch": len(self.counters.rows) + 1,
            "step": self.counters.step,
            "learning_rate": self._rate(self.counters.step - 1),
            "train_loss": self.counters.loss,
            "train_top1": self.counters.top1,
        }
        if self.data.validation is not None:
            found = self.evaluate(self.data.validation)
            row |= {"validation_loss": found.loss, "validation_top1": found.top1}
        if self.settings.monitor_test and self.data.test is not None:
            found = self.evaluate(self.data.test)
            row |= {"test_loss": found.loss, "test_top1": found.top1}
        row["seconds"] = self.counters.epoch_seconds
        row["images_per_s"] = self.counters.seen / self.counters.epoch_seconds
        if self.counters.improves(row):
            self.counters.best = {k: row[k] for k in ("epoch", "validation_top1")}
            self.shelf.put_weights("best", self.averaged)
        self.shelf.put_weights("last", self.averaged)
        self.counters = self.counters.after(row)
        self.shelf.put_rows(self.counters.rows)
        late = time.monotonic() - self.saved_at >= self.shelf.seconds
        if len(self.counters.rows) == self.settings.epochs or self.processes.agree(int(late))[0]:
            self._save_state()
        self.watcher.epoch(row)

    def evaluate(self, split: Split, mirrored: bool = False) -> Evaluation:
        """Evaluate the kept weights on ``split``; at a signal, the state is saved first."""
        model = self.averaged
        was_training = model.training
        try:
            model.eval()
            judged = model if self.for_evaluation is None else self.for_evaluation(model)
            if judged is not model:
                judged.to(memory_format=self.settings.memory_format)
            return evaluate(
                judged,
                split,
                mean=self.data.mean,
                std=self.data.std,
                memory_format=self.settings.memory_format,
                between=partial(self._stop_or_save, late=False),
                processes=self.processes,
                mirrored=mirrored,
            )
        finally:
            model.train(was_training)
