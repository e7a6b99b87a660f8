"""Time a step of distillation, with cached and live targets, against one of plain training."""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from ghostnet_small.benchmark import train_speed, train_variants
from ghostnet_small.benchmark.noise_data import CHANNELS, CLASSES, SIDE, Nowhere, made_up_data
from ghostnet_small.benchmark.train_speed import enough_memory, waiting_for
from ghostnet_small.data.dataset import ImageData, normalize
from ghostnet_small.distill.settings import DistillSettings
from ghostnet_small.errors import InputError
from ghostnet_small.models.registry import check_model, create_model
from ghostnet_small.models.weights import ModelInfo, save_model
from ghostnet_small.provenance import describe_device, provenance_row
from ghostnet_small.recipe.recipe import Recipe
from ghostnet_small.run.build_network import network_of
from ghostnet_small.run.build_training import put_together
from ghostnet_small.train.device import keep_freed_memory, make_accelerator
from ghostnet_small.train.interfaces import Interrupted
from ghostnet_small.train.timing import STANDING, in_turn

# Images of noise, so many batches an epoch: ends of epochs fall into all turns alike.
BATCHES = 30
WARM_UP = 2
# Its augmentation, average of weights and batch size are those that are timed.
RECIPE = "gns-w1.0-cifar10-16ep"
SETTINGS = ("model.rep_conv", *train_speed.SETTINGS)

# Random weights: the teacher of cached targets makes no difference to the time.
TEACHERS = {
    "first": ("ghostnetv3_small", 0.25),
    "second": ("ghostnetv3_small", 0.25),
    "third": ("ghostnetv3_small", 0.25),
    "gns_1.6": ("ghostnetv3_small", 1.6),
    "gns_2.8": ("ghostnetv3_small", 2.8),
    "resnet18": ("resnet18", 1.0),
}
BASELINE = "plain"
VARIANTS = {
    BASELINE: DistillSettings(),
    "cached_kd": DistillSettings(("first",)),
    "cached_dkd": DistillSettings(("first",), loss="dkd"),
    "cached_dist": DistillSettings(("first",), loss="dist"),
    "cached_standardized": DistillSettings(("first",), loss="logit_standardized"),
    "cached_ensemble": DistillSettings(("first", "second", "third")),
    "live_gns_1.6": DistillSettings(("gns_1.6",), targets="live"),
    "live_gns_2.8": DistillSettings(("gns_2.8",), targets="live"),
    "live_resnet18": DistillSettings(("resnet18",), targets="live"),
}


def chosen_variants(words: str | None) -> list[str]:
    """Return the variants of comma-separated names, each once, after ``plain``; None: all.

    Raises ``InputError`` at a name that is not known, with the nearest.
    """
    names = train_variants.chosen_variants(words, VARIANTS, VARIANTS)
    return list(dict.fromkeys((BASELINE, *names)))


def compare_distillation(
    recipe: Recipe,
    *,
    variants: Sequence[str] = tuple(VARIANTS),
    repetitions: int = 7,
    steps: int = 20,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Time a step of each of ``variants``, ``plain`` among them, and its ratio to ``plain``'s.

    Each is a training run of its own by the ``recipe``, of one student from one seed, that runs on
    for ``steps`` steps in each of its turns. Targets are filled before, and that is not timed. A
    variant whose teacher cannot be built here, for want of timm, is left out with the reason.

    Raises ``InputError`` where the recipe's network, batch, device or precision is impossible, or
    memory does not hold them.
    """
    check_model(recipe.model.name, recipe.model.width)
    batch = recipe.train.batch_size
    accelerator = make_accelerator(recipe.train.device, recipe.train.precision)
    device = accelerator.device
    if recipe.train.threads is not None:
        torch.set_num_threads(recipe.train.threads)
    keep_freed_memory()
    shown = WARM_UP + 1 + repetitions * (steps + 1)
    recipe = _standing(recipe, epochs=math.ceil(shown / BATCHES))
    with (
        enough_memory(f"{batch} images of {SIDE}x{SIDE}, width {recipe.model.width:g}"),
        tempfile.TemporaryDirectory(prefix="ghostnet-small-") as folder,
    ):
        data = made_up_data(BATCHES * batch, recipe.train.seed)
        left_out = save_teachers(variants, data, Path(folder))
        turns = {
            name: Turns(recipe, VARIANTS[name], data, accelerator, Path(folder), clock)
            for name in variants
            if name not in left_out
        }
        for turn in turns.values():
            turn(WARM_UP)
        works = {name: partial(turn, steps) for name, turn in turns.items()}
        measured = figures(in_turn(works, repetitions), steps=steps)
    origin = provenance_row()
    if device.type != "cpu":
        origin["device"] = describe_device(device)["name"]
    for name, found in measured.items():
        found |= _about(VARIANTS[name])
    return {
        "model": recipe.model.name,
        "width": recipe.model.width,
        "batch_size": batch,
        "picture": [CHANNELS, SIDE, SIDE],
        "pictures": f"{len(data.train)}, made up",
        "classes": CLASSES,
        "precision": recipe.train.precision,
        "seed": recipe.train.seed,
        "kind": device.type,
        "threads": torch.get_num_threads(),
        "repetitions": repetitions,
        "steps": steps,
        "variants": measured,
        "left_out": left_out,
        "torch": str(torch.__version__),
        **origin,
    }


def figures(seconds: Mapping[str, Sequence[float]], *, steps: int) -> dict[str, dict[str, Any]]:
    """Return each variant's time of a step, and its ratio to ``plain`` within a repetition, from
    the seconds of its turns of so many ``steps``."""
    found = {}
    for name, times in seconds.items():
        ratios = [own / plain for own, plain in zip(times, seconds[BASELINE], strict=True)]
        found[name] = {
            **_spread("ratio_to_plain", ratios),
            **_spread("ms_per_step", [1000 * taken / steps for taken in times]),
            "n": len(times),
        }
    return found


class Turns:
    """A training run that continues for some steps at each call, and returns their seconds.

    The run asks its stop signal after each step: there the clock is read, and the turn ends.
    A turn begins with a step that is not counted, as those of ``seconds_in_turn`` do.
    """

    def __init__(
        self,
        recipe: Recipe,
        settings: DistillSettings,
        data: ImageData,
        accelerator: Accelerator,
        folder: Path,
        clock: Callable[[], float],
    ) -> None:
        self.clock, self.finish = clock, waiting_for(accelerator.device)
        self.taken = self.steps = 0
        self.started = self.seconds = 0.0
        torch.manual_seed(recipe.train.seed)
        teachers = tuple(str(folder / name) for name in settings.teachers)
        taught = replace(settings, teachers=teachers, cache=str(folder / "targets"))
        recipe = replace(recipe, distill=taught)
        prepared = put_together(
            recipe,
            data,
            network_of(recipe, data, fetch=False),
            accelerator,
            store=Nowhere(),
            watcher=Nowhere(),
            stop_signal=self._look,
        )
        self.training, self.teaching = prepared.training, prepared.teaching
        # Work that is done ahead would not be timed.
        self.training.feed.ahead = 1
        if self.teaching is not None:
            self.teaching.fill(self.training, Nowhere().preparing, lambda: None)

    def __call__(self, steps: int) -> float:
        """Return the seconds of ``steps`` steps, after one more."""
        self.taken, self.steps = 0, steps
        with suppress(Interrupted):
            self.training.run()
        assert self.taken == steps + 1
        return self.seconds

    def _look(self) -> int | None:
        self.taken += 1
        if self.taken == 1:
            self.finish()
            self.started = self.clock()
        if self.taken <= self.steps:
            return None
        self.finish()
        self.seconds = self.clock() - self.started
        return 1  # any signal stops


def save_teachers(variants: Sequence[str], data: ImageData, folder: Path) -> dict[str, str]:
    """Put the teachers of ``variants`` into ``folder``; return why some are missing, by variant."""
    info = ModelInfo(data.classes, data.size, data.mean, data.std, {})
    some = normalize(
        data.train.take(torch.arange(32) % len(data.train)).images, data.mean, data.std
    )
    left_out = {}
    for variant in variants:
        for name in VARIANTS[variant].teachers:
            if (folder / name).exists():
                continue
            architecture, width = TEACHERS[name]
            torch.manual_seed(list(TEACHERS).index(name))
            try:
                network = create_model(
                    architecture, width=width, num_classes=CLASSES, in_channels=CHANNELS
                )
            except InputError as error:
                left_out[variant] = str(error)
                continue
            # With the statistics of a fresh network its logits would be beyond any type's range.
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.momentum = 1.0
            with torch.no_grad():
                network.train()(some)
            save_model(network.eval(), info, folder / name)
    return left_out


def _standing(recipe: Recipe, *, epochs: int) -> Recipe:
    """Return the recipe with weights that do not change in training and are never saved."""
    rate = STANDING.learning_rate
    return replace(
        recipe,
        optimizer=replace(recipe.optimizer, learning_rate=rate),
        train=replace(recipe.train, epochs=epochs, checkpoint_seconds=math.inf),
    )


def _spread(name: str, values: Sequence[float]) -> dict[str, float]:
    return {name: statistics.median(values), f"{name}_min": min(values), f"{name}_max": max(values)}


def _about(settings: DistillSettings) -> dict[str, Any]:
    if not settings.teachers:
        return {"teachers": []}
    teachers = [f"{name} {width:g}" for name, width in map(TEACHERS.__getitem__, settings.teachers)]
    return {"teachers": teachers, "targets": settings.targets, "loss": settings.loss}
