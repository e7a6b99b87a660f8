from __future__ import annotations

import pytest

from evidence.cost_tables import (
    PLACES,
    SETS,
    cost_of,
    macs_of,
    measured,
    train_images,
)
from evidence_kit import CPU, H100, MACS, row
from ghostnet_small.errors import InputError
from ghostnet_small.recipe.recipe import Recipe, resolve_recipe

CORES, GPU = PLACES


def recipe(**rooms: dict[str, object]) -> Recipe:
    written: dict[str, object] = {"data": {"source": "cifar10"}, "train": {"epochs": 10}}
    return resolve_recipe({**written, **rooms})


def test_pictures_of_an_epoch() -> None:
    assert train_images(recipe()) == 45_000
    assert train_images(recipe(data={"source": "cifar10", "validation": 0.0})) == 50_000
    assert train_images(recipe(data={"source": "cifar10", "limit": 10_000})) == 9_000
    assert train_images(recipe(data={"source": "fashion_mnist"})) == 54_000
    with pytest.raises(InputError, match="not known how many images digits has"):
        train_images(recipe(data={"source": "digits"}))


def test_macs_are_those_of_the_rows() -> None:
    assert macs_of("ghostnetv3_small", 1.0, SETS["cifar10"]) == MACS["training"]
    assert macs_of("ghostnetv3_small", 1.0, SETS["cifar10"], "deployed") == MACS["deployed"]


def test_the_fastest_training_on_such_a_machine_counts() -> None:
    one_thread = {**CPU, "threads": 1}
    rows = [
        row(0, images_per_s=100.0),
        row(1, images_per_s=125.0),
        row(2, images_per_s=900.0, device=one_thread),
        row(3, images_per_s=950.0, processes=2),
        row(4, images_per_s=20_000.0, device=H100),
        row(5, images_per_s=10.0, device={**H100, "name": "NVIDIA A100"}),
    ]
    (slow,), (fast,) = measured(rows, CORES), measured(rows, GPU)
    assert (slow.images_per_s, fast.images_per_s) == (125.0, 20_000.0)
    cost = cost_of([recipe()] * 3, [slow])
    assert cost.hours == pytest.approx(3 * 10 * 45_000 / 125 / 3600)
    assert str(cost) == "3.0 h"


def test_runs_that_shared_a_machine_count_by_the_epoch_that_did_not() -> None:
    shared = row(0, images_per_s=100.0)
    for epoch, speed in zip(shared["epochs"], (60.0, 240.0), strict=True):
        epoch["images_per_s"] = speed
    (found,) = measured([shared], CORES)
    assert found.images_per_s == 240.0


def test_another_width_is_scaled_and_marked() -> None:
    wide = row(0, settings={"model": {"width": 2.0}}, images_per_s=50.0)
    wide["model"] = {"macs": {"training": 4 * MACS["training"]}}
    speeds = measured([row(0, images_per_s=125.0), wide], CORES)
    near = recipe(model={"name": "ghostnetv3_small", "width": 1.3})
    macs = macs_of("ghostnetv3_small", 1.3, SETS["cifar10"])
    cost = cost_of([near], speeds)
    # From width 1.0, the nearer of the two.
    expected = 10 * 45_000 / (125 * MACS["training"] / macs) / 3600
    assert cost.hours == pytest.approx(expected) and str(cost) == f"about {expected:.1f} h"


def test_what_was_not_measured_is_said() -> None:
    speeds = measured([row(0, images_per_s=125.0)], CORES)
    other = recipe(model={"name": "resnet18"})
    assert str(cost_of([other], speeds)) == str(cost_of([recipe()], [])) == "not measured"
    mixed = str(cost_of([recipe(), other, other], speeds))
    assert mixed == "1.0 h and 2 runs not measured"
    long = recipe(train={"epochs": 20_000})
    assert str(cost_of([long], speeds)) == "2,000 h"
