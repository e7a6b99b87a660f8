"""Estimate the cost of trainings from the images a second of recorded ones."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from evidence.rows import processes_of, width_of
from ghostnet_small.errors import InputError
from ghostnet_small.recipe.recipe import Recipe
from ghostnet_small.report.words import counted
from ghostnet_small.run.records import Record, number, text
from ghostnet_small.use.describe_model import describe_model


@dataclass(frozen=True)
class Pictures:
    """A set's training images, those held out for validation included, and their shape."""

    count: int
    channels: int
    size: int


SETS = {
    "cifar10": Pictures(50_000, 3, 32),
    "cifar100": Pictures(50_000, 3, 32),
    "fashion_mnist": Pictures(60_000, 1, 28),
    "mnist": Pictures(60_000, 1, 28),
}


@dataclass(frozen=True)
class Place:
    """A machine for trainings, whose own records count."""

    name: str
    kind: str
    called: str = ""
    threads: int | None = None

    def made(self, row: Record) -> bool:
        """Return whether ``row`` is of a training by one process on such a machine."""
        device = row["device"]
        if device["kind"] != self.kind or self.called not in device["name"]:
            return False
        return processes_of(row) == 1 and self.threads in (None, device["threads"])


PLACES = (
    Place("2 CPU cores", "cpu", threads=2),
    Place("an H100", "cuda", called="H100"),
)


@dataclass(frozen=True)
class Speed:
    """A measured training: ``images_per_s`` of a network with ``macs`` in training."""

    network: str
    width: float
    macs: float
    images_per_s: float


@dataclass(frozen=True)
class Cost:
    """Hours of trainings one after another, without ``unmeasured`` ones.

    ``scaled`` tells that for some of the others the speed of another width was used.
    """

    hours: float
    scaled: bool
    unmeasured: int
    runs: int

    def __str__(self) -> str:
        if self.unmeasured == self.runs:
            return "not measured"
        hours = f"{max(self.hours, 0.1):.1f}" if self.hours < 10 else f"{self.hours:,.0f}"
        known = f"{'about ' if self.scaled else ''}{hours} h"
        if not self.unmeasured:
            return known
        return f"{known} and {counted(self.unmeasured, 'run')} not measured"


def measured(rows: Sequence[Record], place: Place) -> list[Speed]:
    """The fastest epoch of each network and size of image on ``place``: a machine that does
    other work at the same time, such as other trainings, only gets slower.
    """
    best: dict[tuple[str, float, float], Speed] = {}
    for row in rows:
        network, width = text(row, "recipe", "model", "name"), width_of(row)
        macs = number(row, "model", "macs", "training")
        if network is None or width is None or macs is None or not place.made(row):
            continue
        speed = Speed(network, width, macs, _fastest_epoch(row))
        key = (network, width, macs)
        if key not in best or best[key].images_per_s < speed.images_per_s:
            best[key] = speed
    return sorted(best.values(), key=lambda one: (one.network, one.macs))


def _fastest_epoch(row: Record) -> float:
    epochs = (number(epoch, "images_per_s") for epoch in row["epochs"])
    return max([row["images_per_s"], *(speed for speed in epochs if speed is not None)])


def cost_of(recipes: Sequence[Recipe], speeds: Sequence[Speed]) -> Cost:
    """Return the cost of training ``recipes`` where ``speeds`` were measured."""
    hours, scaled, unmeasured = 0.0, False, 0
    for recipe in recipes:
        near = [speed for speed in speeds if speed.network == recipe.model.name]
        if not near:
            unmeasured += 1
            continue
        pictures = pictures_of(recipe)
        macs = macs_of(recipe.model.name, recipe.model.width, pictures)
        nearest = min(near, key=lambda speed: abs(math.log(speed.macs / macs)))
        scaled = scaled or nearest.macs != macs
        per_s = nearest.images_per_s * nearest.macs / macs
        hours += recipe.train.epochs * train_images(recipe) / per_s / 3600
    return Cost(hours, scaled, unmeasured, len(recipes))


def train_images(recipe: Recipe) -> int:
    """Return the images of an epoch."""
    count = pictures_of(recipe).count
    if recipe.data.limit is not None:
        count = min(count, recipe.data.limit)
    return count - round(count * recipe.data.validation)


def pictures_of(recipe: Recipe) -> Pictures:
    """The recipe's set; raises ``InputError`` where its size is not known here."""
    source = recipe.data.source
    if source not in SETS:
        raise InputError(
            f"it is not known how many images {source} has; choose one of {', '.join(SETS)}"
        )
    return SETS[source]


@functools.cache
def macs_of(network: str, width: float, pictures: Pictures, form: str = "training") -> int:
    """Return the multiply-accumulates of one image in the training form, or in the deployed one."""
    about = describe_model(network, width=width, channels=pictures.channels, size=pictures.size)
    return int(about["macs"][form])
