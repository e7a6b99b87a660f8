"""Settings of a training: its length, its batches and its arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn

from ghostnet_small.data.sampling import Sampler
from ghostnet_small.errors import InputError
from ghostnet_small.fields import LATER, PLACE

Precision = Literal["fp32", "bf16", "fp16"]
ClassWeights = Literal["none", "balanced"]
LOGGER_NAMES = ("tensorboard", "trackio")


@dataclass(frozen=True)
class TrainSettings:
    """The length, batches and arithmetic of a training.

    Args:
        epochs: passes over the training split.
        batch_size: images a step of the optimiser, in all processes together.
        accumulate: micro-batches that a step, or its part in each of several processes, is cut
            into, to save memory.
        shuffle: a new order each epoch; false keeps the source's order.
        drop_last: leave out an epoch's last, smaller batch.
        sampler: "all" shows every image once an epoch; "balanced" every class equally often, so
            many images in all, those of small classes several times. Partners that mixing adds
            come from all images alike; with it, class_weights even out more.
        class_weights: of the classes in the loss: "none", "balanced" (one over a class's number
            of images), or a positive number for each class; their mean over the images is
            made 1.
        label_smoothing: share of each target spread over all classes.
        clip_norm: largest norm of a step's gradient; null: any.
        ema_decay: of the average of weights that is evaluated and kept; null: no average.
        precision: "fp32", or autocast to "bf16" or "fp16".
        channels_last: memory format of the model and its images.
        seed: of the weights and the order of images; views have a seed of their own.
        device: "auto", "cpu", "cuda", "mps" or "xpu".
        threads: CPU threads of each process; null: PyTorch's choice.
        checkpoint_seconds: longest time between two saves of the state.
        monitor_test: evaluate the test split every epoch and report its best, as the paper does;
            that figure is chosen on the test split and called so.
        log: experiment loggers that get the figures of each epoch: "tensorboard", "trackio".
    """

    epochs: int = 30
    batch_size: int = 128
    accumulate: int = 1
    shuffle: bool = True
    drop_last: bool = True
    sampler: Sampler = field(default="all", metadata=LATER)
    class_weights: ClassWeights | tuple[float, ...] = field(default="none", metadata=LATER)
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    ema_decay: float | None = None
    precision: Precision = "fp32"
    channels_last: bool = True
    seed: int = 0
    device: str = field(default="auto", metadata=PLACE)
    threads: int | None = field(default=None, metadata=PLACE)
    checkpoint_seconds: float = field(default=60.0, metadata=PLACE)
    monitor_test: bool = False
    log: tuple[str, ...] = field(default=(), metadata=PLACE)

    @property
    def memory_format(self) -> torch.memory_format:
        """The memory format of the model and its images."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

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
        if self.sampler == "balanced" and not self.shuffle:
            raise InputError(
                "sampler 'balanced' draws an order of its own; give shuffle true, or sampler all"
            )
        if self.sampler == "balanced" and self.class_weights == "balanced":
            raise InputError(
                "class_weights 'balanced' would make up for small classes a second time, after "
                "sampler balanced; give one of the two"
            )
        if not isinstance(self.class_weights, str):
            for weight in self.class_weights:
                if not 0 < weight < math.inf:
                    raise InputError(
                        f"class_weights {weight!r} is not allowed; give numbers above 0, or none "
                        "or balanced"
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
        for name in self.log:
            if name not in LOGGER_NAMES:
                raise InputError(
                    f"log {name!r} is not allowed; give a list of {', '.join(LOGGER_NAMES)}"
                )
        if len(set(self.log)) < len(self.log):
            raise InputError(f"log {list(self.log)} names a logger twice; give each once")


def check_parts(model: nn.Module, pictures: int, settings: TrainSettings, processes: int) -> None:
    """Raises ``InputError`` where a step cannot be shared by ``processes``, or where batch norm
    would have to do with one image."""
    parts = processes * settings.accumulate
    if settings.batch_size % parts:
        raise InputError(
            f"train.batch_size {settings.batch_size} cannot be cut into {settings.accumulate} "
            f"equal part(s) for each of {processes} processes; start another number of them "
            f"(torchrun --nproc_per_node), or give a batch size that {parts} divides"
        )
    sizes = [settings.batch_size]
    rest = pictures % settings.batch_size
    if not settings.drop_last and rest:
        sizes.append(rest)
        if processes > 1 and -(-rest // -(-rest // parts)) < parts:
            raise InputError(
                f"the last batch of an epoch has {rest} of {pictures} images, too few for "
                f"{settings.accumulate} part(s) in each of {processes} processes; give "
                "train.drop_last true, another train.batch_size or fewer processes"
            )
    if not any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        return
    for size in sizes:
        part = -(-size // parts)
        if (size - 1) % part == 0:
            raise InputError(
                f"train.batch_size {settings.batch_size} in {parts} part(s) leaves a "
                f"single image of {pictures} to batch norm, which needs two; give another "
                "train.batch_size, a smaller train.accumulate or train.drop_last true"
            )
