"""How long a training is, in what batches and in what arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from ghostnet_small.errors import InputError

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class TrainSettings:
    """The length, batches and arithmetic of a training.

    Args:
        epochs: passes over the training split.
        batch_size: pictures a step of the optimiser.
        accumulate: micro-batches that a step is cut into, to save memory.
        shuffle: a new order each epoch; false keeps the source's order.
        drop_last: leave out an epoch's last, smaller batch.
        label_smoothing: share of each target spread over all classes.
        clip_norm: largest norm of a step's gradient; null: any.
        ema_decay: of the average of weights that is evaluated and kept; null: no average.
        precision: "fp32", or autocast to "bf16" or "fp16".
        channels_last: memory format of the model and its pictures.
        seed: of the weights and the order of pictures; views have a seed of their own.
        device: "auto", "cpu", "cuda", "mps" or "xpu".
        threads: CPU threads; null: PyTorch's choice.
        checkpoint_seconds: longest time between two saves of the state.
        monitor_test: evaluate the test split every epoch and report its best, as the paper does;
            that figure is chosen on the test split and called so.
    """

    epochs: int = 30
    batch_size: int = 128
    accumulate: int = 1
    shuffle: bool = True
    drop_last: bool = True
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    ema_decay: float | None = None
    precision: Precision = "fp32"
    channels_last: bool = True
    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    checkpoint_seconds: float = 60.0
    monitor_test: bool = False

    def __post_init__(self) -> None:
        """Raises ``InputError`` for a value outside its range."""
        for name in ("epochs", "batch_size", "accumulate"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)!r} is not allowed; give at least 1")
        if self.batch_size % self.accumulate:
            raise InputError(
                f"batch_size {self.batch_size} cannot be cut into accumulate={self.accumulate} "
                "equal parts; choose a divisor of the batch size"
            )
        if not 0 <= self.label_smoothing < 1:
            raise InputError(
                f"label_smoothing {self.label_smoothing!r} is not allowed; give 0 up to below 1"
            )
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise InputError(
                f"clip_norm {self.clip_norm!r} is not allowed; give a number above 0, or null"
            )
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise InputError(
                f"ema_decay {self.ema_decay!r} is not allowed; give 0 < ema_decay < 1, or null"
            )
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed {self.seed!r} is not allowed; give 0 up to 2^63 - 1")
        if self.threads is not None and self.threads < 1:
            raise InputError(f"threads {self.threads!r} is not allowed; give at least 1, or null")
        if not self.checkpoint_seconds >= 0:
            raise InputError(
                f"checkpoint_seconds {self.checkpoint_seconds!r} is not allowed; give at least 0"
            )


def check_parts(model: nn.Module, pictures: int, settings: TrainSettings) -> None:
    """Raises ``InputError`` where batch norm would have to do with one picture."""
    if not any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        return
    sizes = [settings.batch_size]
    if not settings.drop_last and pictures % settings.batch_size:
        sizes.append(pictures % settings.batch_size)
    for size in sizes:
        part = -(-size // settings.accumulate)
        if (size - 1) % part == 0:
            raise InputError(
                f"train.batch_size {settings.batch_size} in {settings.accumulate} part(s) leaves a "
                f"single picture of {pictures} to batch norm, which needs two; give another "
                "train.batch_size, a smaller train.accumulate or train.drop_last true"
            )
