"""One step of the optimiser: forward, loss, backward, and the update of the weights."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ghostnet_small.data.dataset import ImageData, normalize
from ghostnet_small.train.feed import Step
from ghostnet_small.train.gradients import Gradients
from ghostnet_small.train.objective import Batch, Objective
from ghostnet_small.train.optim import SHARE
from ghostnet_small.train.processes import Processes
from ghostnet_small.train.recorded_steps import Found, RecordedStep, Recorder
from ghostnet_small.train.settings import TrainSettings


class Learner:
    """The optimisation of ``trained``: the ``model`` and modules that learn with it.

    With a ``recorder`` steps of the usual size are recorded once and replayed.
    """

    def __init__(
        self,
        model: nn.Module,
        trained: nn.Module,
        optimizer: torch.optim.Optimizer,
        objective: Objective,
        data: ImageData,
        *,
        settings: TrainSettings,
        accelerator: Accelerator,
        processes: Processes,
        recorder: Recorder | None,
    ) -> None:
        self.trained, self.optimizer, self.objective = trained, optimizer, objective
        self.mean, self.std = data.mean, data.std
        self.settings, self.accelerator, self.processes = settings, accelerator, processes
        self.memory_format = settings.memory_format
        self.gradients = Gradients(
            model,
            accelerator,
            pictures=settings.batch_size,
            alone=settings.accumulate == 1 and processes.count == 1,
        )
        self.forward = self.gradients.module
        self.stepper = accelerator.prepare_optimizer(optimizer)
        self.recorded: RecordedStep | None = None
        if recorder is not None:
            pictures, device = settings.batch_size, accelerator.device
            self.recorded = RecordedStep(
                self.whole_step, recorder, optimizer, pictures=pictures, device=device
            )

    def __call__(self, step: Step, rate: float) -> list[tuple[Tensor, Tensor, int]]:
        """Run a step at the learning ``rate``.

        Returns, for each part, the loss in nats and the numbers of correct predictions and images.
        """
        first = step.parts[0]
        if self.recorded is not None and self.recorded.takes(first):
            return [(*self.recorded(first, rate), len(first.targets))]
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get(SHARE, 1.0)
        found = []
        for batch in step.parts:
            # The gradient is averaged over all processes together with the last part.
            last = batch is step.parts[-1]
            with nullcontext() if last else self.accelerator.no_sync(self.forward):
                share = self.processes.count * len(batch.targets) / step.pictures
                found.append((*self._learn(batch, share), len(batch.targets)))
        if self.settings.clip_norm is not None:
            self.accelerator.clip_grad_norm_(self.trained.parameters(), self.settings.clip_norm)
        self.gradients.apply(self.stepper)
        return found

    def whole_step(self, batch: Batch) -> Found:
        """Run a step of one part, at the rate that the optimiser has."""
        found = self._learn(batch, 1.0)
        self.gradients.apply(self.stepper)
        return found

    def _learn(self, batch: Batch, share: float) -> Found:
        """Add the gradient of a ``share`` of the batch's loss."""
        x = normalize(batch.views, self.mean, self.std)
        x = x.contiguous(memory_format=self.memory_format)
        loss, logits = self.gradients(x, lambda logits: self.objective(logits, batch), share)
        return loss, (logits.argmax(1) == batch.targets).sum()
