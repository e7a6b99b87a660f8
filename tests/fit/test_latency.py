"""The latency of networks that are not trained yet: counted, timed, and as a limit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ghostnet_small.benchmark.emulator import CORES, emulate, missing
from ghostnet_small.deploy import c_file
from ghostnet_small.deploy.deployable import Deployable
from ghostnet_small.errors import InputError
from ghostnet_small.fit import fit_images, latency, needs
from ghostnet_small.fit.device_limits import targets, words_of
from ghostnet_small.fit.fit_folder import FitFolder
from ghostnet_small.fit.fit_images import planned
from ghostnet_small.fit.latency import HERE, Latency, LatencyLimit, latency_limit, latency_of
from ghostnet_small.fit.needs import Needs, Shape, widest
from ghostnet_small.fit.speed import Speed
from ghostnet_small.models.registry import create_from
from ghostnet_small.nn.fold import reparameterize
from ghostnet_small.use.budget import Limits

SHAPE = Shape(1.0, None, 10, 3, (32, 32))
SMALL = Shape(0.1, None, 2, 1, (16, 16))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A counter by which width 1 takes 10 ms and 400 kB; the list of the widths that it counted."""
    widths: list[float] = []

    def count(shape: Shape, target: str | None) -> Latency:
        widths.append(shape.width)
        return Latency(10 * shape.width, "made up")

    monkeypatch.setattr(latency, "latency_of", count)
    monkeypatch.setattr(needs, "needs_of", lambda one: Needs(int(400_000 * one.width), 1000))
    monkeypatch.setattr(fit_images, "needs_of", needs.needs_of)
    return widths


@pytest.mark.parametrize(
    ("flash", "most", "width"), [(None, 6.5, 0.6), (200_000, 6.5, 0.5), (None, 1.0, 0.1)]
)
def test_the_widest_network_keeps_all_limits(
    flash: int | None, most: float, width: float, counted: list[float]
) -> None:
    assert widest(Limits(flash, None), SHAPE, LatencyLimit(most, None).past) == width


def test_nothing_more_is_counted_where_the_widest_in_flash_is_fast_enough(
    counted: list[float],
) -> None:
    assert widest(Limits(200_000, None), SHAPE, LatencyLimit(5.0, None).past) == 0.5
    assert counted == [0.5]


def test_a_limit_below_the_smallest_network_says_what_that_takes(counted: list[float]) -> None:
    for flash in (None, 40_000):
        with pytest.raises(InputError, match=r"smallest.* 0\.1, takes 1\.00 ms \(made up\), and"):
            widest(Limits(flash, None), SHAPE, LatencyLimit(0.9, None).past)


def test_a_plan_keeps_the_limit_and_says_so(
    counted: list[float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fit_images, "measure", lambda *_: Speed(500.0, 3000.0))
    folder = FitFolder(tmp_path / "mine")

    def plan(most: float) -> dict[str, Any]:
        limit = LatencyLimit(most, "rp2350")
        words = ["--data.source=digits"]
        return planned(words, folder, Limits(), 20, latency=limit, say=lambda _: None)

    row = plan(6.0)
    assert row["asked"]["latency_ms"] == 6.0
    assert row["network"][0] == 0.6
    assert ["latency", "6.00 ms", "made up"] in row["reasons"]
    assert "within 6 ms" in row["title"]
    folder.begin(row)
    assert plan(6.0) == row
    # Another limit that leads to the same network: what is trained is kept.
    other = plan(6.9)
    assert other["asked"]["latency_ms"] == 6.9
    assert other["student"] == row["student"] and other["reasons"] == row["reasons"]


def test_limits_in_words() -> None:
    assert words_of(Limits(450_000, None), 2.5) == "450 kB of flash, 2.5 ms"


def test_each_device_says_how_its_latency_is_found() -> None:
    for chip in targets().values():
        where = chip["latency"]
        assert where in (None, HERE) or (where in CORES and chip["mhz"] > 0)


def image(shape: Shape) -> np.ndarray:
    random = np.random.default_rng(2)
    return random.standard_normal((8, shape.channels, *shape.size)).astype(np.float32)


def test_a_count_is_that_of_a_network_with_weights(tmp_path: Path) -> None:
    core = CORES["cortex-m4"]
    if lacking := missing(*core.compilers, core.emulator):
        pytest.skip(f"{', '.join(lacking)} is not installed")
    found = latency_of(SMALL, "arduino-nano-33-ble")
    network = reparameterize(create_from(SMALL.config).eval())
    file, shown = tmp_path / "model.c", image(SMALL)
    c_file.quantize(Deployable(network, SMALL.description), SMALL.description, shown, file)
    (count,) = emulate(file, shown[:1], core, ["-Os"], tmp_path / "emulated").instructions
    assert found.milliseconds == pytest.approx(count / 64_000, rel=0.01)
    assert "at one instruction a cycle of 64 MHz; a count" in found.how


def test_time_on_this_machine() -> None:
    found = latency_of(SMALL, None)
    assert found.milliseconds > 0
    assert found.how.startswith("median of ") and "this machine, one thread" in found.how


@pytest.mark.parametrize("most", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_time_is_refused(most: float) -> None:
    with pytest.raises(InputError, match=f"--latency-ms {most:g} is not allowed; give"):
        latency_limit(most, None)


@pytest.mark.parametrize("target", ["esp32-s3", "rp2040"])
def test_a_device_that_nothing_counts_for_is_refused_with_those_that_can(target: str) -> None:
    with pytest.raises(InputError, match=f"for {target}: no emulator.*arduino-nano-33-ble, ") as e:
        latency_limit(5, target)
    assert "stm32h743" in str(e.value) and "of arduino" in str(e.value)


def test_programs_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match=r"needs arm-none-eabi-gcc, .*qemu-system-arm.*; install "):
        latency_limit(5, "stm32h743")
    for here in (None, "browser"):
        assert latency_limit(5, here) == LatencyLimit(5.0, here)
    assert latency_limit(None, "rp2040") is None
