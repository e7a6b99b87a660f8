"""The gradient of a loss in the parameters of a network, replayed where it can be."""

from __future__ import annotations

import os
from collections.abc import Callable

from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from torch import Tensor, nn

from ghostnet_small.fast.cpu.network import ReplayedNetwork, replayed
from ghostnet_small.files import OFF
from ghostnet_small.train.recorded_steps import SWITCH
from ghostnet_small.train.wrap import wrap


class Gradients:
    """The passes forward and back of ``model`` in training.

    On a CPU the passes for batches of ``pictures`` images are listed once and replayed by one call
    of C each (see ``fast.cpu.recording``), with the same results bit for bit. That needs a network
    that the kernels compute as a whole, in float32, and gradients that nothing but this step
    gives: ``alone`` says so. ``GHOSTNET_GRAPHS=off`` turns it off.
    """

    def __init__(
        self, model: nn.Module, accelerator: Accelerator, *, pictures: int, alone: bool = True
    ) -> None:
        self.model, self.accelerator, self.pictures = model, accelerator, pictures
        self.module = wrap(model, accelerator)
        self.forward: Callable[[Tensor], Tensor] = self.module
        self.replays = (
            alone
            and accelerator.device.type == "cpu"
            and accelerator.mixed_precision == "no"
            and os.environ.get(SWITCH) != OFF
        )
        self._made: ReplayedNetwork | None = None
        self._last: ReplayedNetwork | None = None

    def __call__(
        self, x: Tensor, loss_of: Callable[[Tensor], Tensor], share: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Add the gradient of a ``share`` of the loss of images ``(N, C, H, W)``.

        Returns the loss and the logits, detached.
        """
        replay = self._replay(x)
        if replay is None and self._last is not None:
            self.model.zero_grad()
        self._last = replay
        logits = self.forward(x) if replay is None else replay.run(x).requires_grad_()
        loss = loss_of(logits)
        whole = loss * share if share != 1 else loss
        if replay is None:
            self.accelerator.backward(whole)
        else:
            # Accelerate would have nothing to add, and its checks take longer than the loss.
            whole.backward()
            assert logits.grad is not None
            replay.run_back(logits.grad)
        return loss.detach(), logits.detach()

    @property
    def replay_bytes(self) -> int:
        """The bytes that a replay keeps for its passes, 0 where there is none."""
        return 0 if self._made is None else self._made.out.untyped_storage().nbytes()

    def apply(self, stepper: AcceleratedOptimizer) -> None:
        """Take a step of the optimiser, and drop the gradients of all that it moves.

        Those of a replay stay where there are no others: the next one overwrites them.
        """
        if self._last is None:
            stepper.step()
            stepper.zero_grad()
            return
        optimizer = stepper.optimizer
        optimizer.step()
        if len(self._last.parameters) < sum(len(g["params"]) for g in optimizer.param_groups):
            optimizer.zero_grad()

    def _replay(self, x: Tensor) -> ReplayedNetwork | None:
        if not self.replays or len(x) != self.pictures:
            return None
        if self._made is None or not self._made.fits(x):
            self._made = replayed(self.model, x)
        return self._made
