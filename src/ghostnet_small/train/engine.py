"""The training engine: a loop over steps that can stop and go on anywhere, bit for bit.

Everything random is a function of a seed and a count (the order of an epoch, a picture's view),
so a checkpoint holds tensors and counters only.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ghostnet_small.data.augment import Augmentation
from ghostnet_small.data.counter_rng import philox
from ghostnet_small.data.dataset import ImageData, Split, normalize
from ghostnet_small.errors import InputError
from ghostnet_small.train.checkpoint import Counters, optimizer_tensors, restore_optimizer
from ghostnet_small.train.device import Trained
from ghostnet_small.train.ema import EMA
from ghostnet_small.train.evaluate import Evaluation, evaluate
from ghostnet_small.train.interfaces import Interrupted, NotFinite, Store, Watcher
from ghostnet_small.train.objective import Batch, Objective
from ghostnet_small.train.optim import OptimizerSettings, build_optimizer
from ghostnet_small.train.schedule import ScheduleSettings, learning_rate
from ghostnet_small.train.settings import TrainSettings, check_parts

# The order of an epoch draws from the augmentation's generator, far from the streams of that.
ORDER_STREAM = 1 << 16
# Losses stay on the device for this many steps; on a GPU each look at one would stall it.
STEPS_BETWEEN_LOOKS = 20


class Training:
    """A model on its way through ``data``; ``run`` takes it to the end or to an interruption.

    Raises ``InputError`` where the batch is larger than the training split or leaves a single
    picture to batch norm, or where a picture does not suit the augmentation.
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
    ) -> None:
        if settings.batch_size > len(data.train):
            raise InputError(
                f"train.batch_size {settings.batch_size} is larger than the training split of "
                f"{len(data.train)} pictures; give at most {len(data.train)}"
            )
        check_parts(model, len(data.train), settings)
        augment.check(*data.size)
        self.settings, self.schedule, self.augment = settings, schedule, augment
        self.peak = optimizer.learning_rate
        self.objective, self.accelerator = objective, accelerator
        self.store, self.watcher, self.stop_signal = store, watcher, stop_signal
        self.memory_format = (
            torch.channels_last if settings.channels_last else torch.contiguous_format
        )
        self.data = data
        self.train_split = data.train.to(accelerator.device)
        self.fill = tuple(round(255 * m) for m in data.mean)
        batches = len(data.train) / settings.batch_size
        self.steps_per_epoch = math.floor(batches) if settings.drop_last else math.ceil(batches)
        self.steps = self.steps_per_epoch * settings.epochs

        self.model = model.to(accelerator.device).to(memory_format=self.memory_format)
        self.ema = EMA(self.model, settings.ema_decay) if settings.ema_decay else None
        self.optimizer = build_optimizer(self.model, optimizer)
        # Wrapped for several devices and mixed precision; the parameters are the same ones.
        self.forward = accelerator.prepare_model(Trained(self.model))
        self.stepper = accelerator.prepare_optimizer(self.optimizer)

        self.counters = Counters()
        self.pending: list[tuple[int, float, int, Tensor, Tensor]] = []
        self.saved_at = self.clock = time.monotonic()
        self.saved_step = 0

    @property
    def averaged(self) -> nn.Module:
        """The model to evaluate and keep: the average of weights where there is one."""
        return self.ema.model if self.ema else self.model

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that ``restore`` needs: named tensors and plain values."""
        tensors = {f"model.{name}": t for name, t in self.model.state_dict().items()}
        if self.ema:
            tensors |= {f"ema.{name}": t for name, t in self.ema.model.state_dict().items()}
        tensors |= {f"optimizer.{n}": t for n, t in optimizer_tensors(self.optimizer).items()}
        scaler = self.accelerator.scaler
        return tensors, {
            "counters": vars(self.counters),
            "scaler": scaler.state_dict() if scaler is not None else None,
        }

    def restore(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Go on from what ``state`` gave."""
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "ema": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            part, rest = name.split(".", 1)
            parts[part][rest] = tensor
        self.model.load_state_dict(parts["model"])
        if self.ema:
            self.ema.model.load_state_dict(parts["ema"])
        restore_optimizer(self.optimizer, parts["optimizer"])
        if self.accelerator.scaler is not None and values["scaler"]:
            self.accelerator.scaler.load_state_dict(values["scaler"])
        self.counters = Counters(**values["counters"])
        self.saved_step = self.counters.step

    def run(self) -> None:
        """Train to the last epoch.

        Raises ``Interrupted`` once the state is saved where ``stop_signal`` gives a number, and
        ``NotFinite`` where the loss is not a finite number.
        """
        while len(self.counters.rows) < self.settings.epochs:
            self._train_epoch(len(self.counters.rows))
            self._finish_epoch()

    def _train_epoch(self, epoch: int) -> None:
        first = self.counters.step - epoch * self.steps_per_epoch
        if first == self.steps_per_epoch:
            return
        order = self._order(epoch)
        view = self.augment.view_of_epoch(epoch)
        self.forward.train()
        started = time.monotonic() - self.counters.epoch_seconds
        for number in range(first, self.steps_per_epoch):
            rows = order[number * self.settings.batch_size :][: self.settings.batch_size]
            self._step(self.train_split.take(rows), view)
            self.counters.epoch_seconds = time.monotonic() - started
            on_cpu = self.accelerator.device.type == "cpu"
            if on_cpu or len(self.pending) >= STEPS_BETWEEN_LOOKS:
                self._look()
                self.watcher.step(
                    epoch,
                    number + 1,
                    self.steps_per_epoch,
                    self.counters.loss_sum / self.counters.seen,
                    100 * self.counters.correct / self.counters.seen,
                )
            self._stop_or_save()
        self._look()

    def _order(self, epoch: int) -> Tensor:
        """The rows of the training split in the order of ``epoch``, int64 on the device."""
        rows = torch.arange(len(self.train_split), device=self.accelerator.device)
        if not self.settings.shuffle:
            return rows
        words = philox(rows, epoch, ORDER_STREAM, self.settings.seed)
        return torch.argsort((words[:, 0] << 31) | (words[:, 1] >> 1), stable=True)

    def _step(self, pictures: Split, view: int) -> None:
        rate = self._rate(self.counters.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        views = self.augment(pictures.images, pictures.index, view, self.fill)
        size = -(-len(pictures) // self.settings.accumulate)
        for start in range(0, len(pictures), size):
            part = slice(start, start + size)
            batch = Batch(views[part], pictures.labels[part], pictures.index[part], view)
            x = normalize(batch.views, self.data.mean, self.data.std)
            logits = self.forward(x.contiguous(memory_format=self.memory_format))
            loss = self.objective(logits, batch)
            share = len(batch.targets) / len(pictures)
            self.accelerator.backward(loss * share if share != 1 else loss)
            correct = (logits.detach().argmax(1) == batch.targets).sum()
            self.pending.append(
                (self.counters.step, rate, len(batch.targets), loss.detach(), correct)
            )
        if self.settings.clip_norm is not None:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self.stepper.step()
        self.stepper.zero_grad()
        if self.ema:
            self.ema.update(self.model, self.counters.step)
        self.counters.step += 1

    def _rate(self, step: int) -> float:
        return learning_rate(step, self.steps, self.peak, self.schedule)

    def _look(self) -> None:
        """Add the pending losses to the epoch's sums; stop at one that is not finite."""
        for step, rate, count, loss, correct in self.pending:
            value = loss.item()
            if not math.isfinite(value):
                raise NotFinite(
                    f"the loss is {value} at step {step + 1} of {self.steps}, learning rate "
                    f"{rate:.3g}; {self._cure()}"
                )
            self.counters.loss_sum += value * count
            self.counters.correct += int(correct.item())
            self.counters.seen += count
        self.pending.clear()

    def _check_weights(self) -> None:
        """Stop at weights that are not finite: no loss has told of them yet."""
        largest = torch.stack([p.detach().abs().amax() for p in self.model.parameters()])
        if not largest.isfinite().all():
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

    def _stop_or_save(self) -> None:
        signal_number = self.stop_signal()
        late = time.monotonic() - self.saved_at >= self.settings.checkpoint_seconds
        if signal_number is None and not late:
            return
        self._save_state()
        if signal_number is not None:
            raise Interrupted(signal_number)

    def _save_state(self) -> None:
        # A state behind a loss that is not finite must not replace a good one.
        self._look()
        self._check_weights()
        now = time.monotonic()
        self.counters.wall_seconds += now - self.clock
        self.clock = now
        self.store.save_state(*self.state())
        self.saved_at, self.saved_step = time.monotonic(), self.counters.step

    def _finish_epoch(self) -> None:
        self._check_weights()
        row: dict[str, Any] = {
            "epoch": len(self.counters.rows) + 1,
            "step": self.counters.step,
            "learning_rate": self._rate(self.counters.step - 1),
            "train_loss": self.counters.loss_sum / self.counters.seen,
            "train_top1": 100 * self.counters.correct / self.counters.seen,
        }
        if self.data.validation is not None:
            found = self.evaluate(self.data.validation)
            row |= {"validation_loss": found.loss, "validation_top1": found.top1}
        if self.settings.monitor_test and self.data.test is not None:
            found = self.evaluate(self.data.test)
            row |= {"test_loss": found.loss, "test_top1": found.top1}
        row["seconds"] = self.counters.epoch_seconds
        row["images_per_s"] = self.counters.seen / self.counters.epoch_seconds
        if "validation_top1" in row and (
            self.counters.best is None
            or row["validation_top1"] > self.counters.best["validation_top1"]
        ):
            self.counters.best = {k: row[k] for k in ("epoch", "validation_top1")}
            self.store.save_weights("best", self.averaged)
        self.store.save_weights("last", self.averaged)
        rows = [*self.counters.rows, row]
        self.counters = Counters(
            step=self.counters.step,
            wall_seconds=self.counters.wall_seconds,
            rows=rows,
            best=self.counters.best,
        )
        self.store.save_metrics(rows)
        self._save_state()
        self.watcher.epoch(row)

    def evaluate(self, split: Split) -> Evaluation:
        """``split`` under the weights to keep; the state is saved first if a signal interrupts."""

        def between() -> None:
            if self.stop_signal() is not None:
                self._stop_or_save()

        model = self.averaged
        was_training = model.training
        try:
            return evaluate(
                model.eval(),
                split,
                mean=self.data.mean,
                std=self.data.std,
                memory_format=self.memory_format,
                between=between,
            )
        finally:
            model.train(was_training)
