"""The network as C: it agrees, it compiles without a warning, and it answers alike everywhere."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from c_kit import answers, compile_object, deployable, pictures
from ghostnet_small.benchmark import emulator
from ghostnet_small.data.dataset import normalize
from ghostnet_small.deploy import c_file
from ghostnet_small.deploy.c import compiled
from ghostnet_small.deploy.c.grids import picture_grid
from ghostnet_small.deploy.c.plan import plan_of
from ghostnet_small.deploy.c.quantize import quantize
from ghostnet_small.deploy.c.source import read_tag
from ghostnet_small.deploy.deployable import Deployable
from ghostnet_small.deploy.description import Description
from ghostnet_small.deploy.formats import open_file
from ghostnet_small.deploy.session import relative_error
from ghostnet_small.errors import InputError
from ghostnet_small.models.registry import create_model
from ghostnet_small.models.weights import load
from ghostnet_small.nn.fold import reparameterize

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "results" / "weights" / "ghostnetv3_small_w1.0_cifar10"
MACS = 8_962_176  # of the shipped weights
WORKSPACE = 80_000
QUICK = ("-std=c99", "-O1", "-fPIC", "-shared")
AVX2 = "avx2" in Path("/proc/cpuinfo").read_text() if sys.platform == "linux" else False
needs_cifar = pytest.mark.skipif(
    "GHOSTNET_CIFAR10" not in os.environ, reason="set GHOSTNET_CIFAR10 to CIFAR-10"
)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled files of these tests stay among these tests."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("GHOSTNET_CACHE", str(folder))
        yield


@pytest.mark.parametrize(
    "kind",
    [
        {"width": 1.0},
        {"width": 1.6, "shallow": True},
        {"channels": 1, "size": (28, 28), "shallow": True},
        {"size": (9, 13), "pixels": True, "shallow": True},
        # Down to maps of one pixel.
        {"width": 0.5, "size": (8, 8)},
        {"name": "ghostnetv3", "width": 0.3, "size": (16, 16)},
        {"width": 0.5, "head": 9, "size": (8, 8), "shallow": True},
    ],
    ids=["w1.0", "w1.6", "grey-28", "odd-pixels", "smallest", "ghostnetv3", "head-9"],
)
def test_float32_agrees_with_the_network(
    kind: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind != {"width": 1.0}:
        # The compiler takes a third of the time, and the code is the same.
        monkeypatch.setattr(compiled, "FLAGS", QUICK)
    network, description = deployable(**kind)
    c_file.export(network, description, tmp_path / "model.c")
    session = open_file(tmp_path / "model.c")
    assert session.description == description
    shown = pictures(description, 3)
    assert relative_error(session(shown), answers(network, shown)) < 1e-5


@pytest.mark.parametrize(
    "kind",
    [
        # The whole of GhostNetV3-Small is that of the shipped weights, below.
        {"width": 1.3, "size": (16, 16), "shallow": True},
        {"channels": 1, "size": (28, 28), "pixels": True, "shallow": True},
        {"size": (9, 13), "shallow": True},
        {"name": "ghostnetv3", "width": 0.3, "size": (16, 16)},
        {"head": 9, "size": (16, 16), "shallow": True},
        {"head": 256, "size": (16, 16), "shallow": True},
        {"head": 9, "head_bits": 4, "size": (16, 16), "shallow": True},
    ],
    ids=["w1.3", "grey-28-pixels", "odd", "ghostnetv3", "head-9", "head-256", "head-4-bits"],
)
def test_int8_is_near_the_network_and_the_same_without_vectors(
    kind: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, description = deployable(int8=True, **kind)
    shown = pictures(description, 32)
    path = tmp_path / "model.int8.c"
    c_file.quantize(network, description, shown, path)
    monkeypatch.setattr(compiled, "FLAGS", QUICK)
    found = open_file(path)(shown)
    exact = answers(network, shown)
    assert rms(found, exact) < 0.2
    monkeypatch.setattr(compiled, "FLAGS", (*QUICK, "-DGNS_PLAIN"))
    plain = open_file(path)(shown)
    if AVX2:
        monkeypatch.setattr(compiled, "FLAGS", QUICK)
        monkeypatch.setattr(compiled, "CHOICES", (("-march=haswell",),))
        assert np.array_equal(open_file(path)(shown), found)
    # The probabilities' exponential is the mathematics library's, in both the same one.
    assert np.array_equal(plain, found)


def rms(found: np.ndarray, exact: np.ndarray) -> float:
    """The mean squared difference's root in units of that of ``exact`` itself."""
    return float(np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact**2)))


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """The shipped weights in 8 bits, calibrated on random pictures, and such pictures."""
    model, info = load(WEIGHTS)
    description = Description(
        architecture="ghostnetv3_small",
        width=1.0,
        classes=info.classes,
        size=info.size,
        mean=info.mean,
        std=info.std,
        precision="int8",
        input="normalized",
        data={},
    )
    shown = pictures(description, 64)
    path = tmp_path_factory.mktemp("int8") / "model.int8.c"
    network = Deployable(reparameterize(model), description).eval()
    c_file.quantize(network, description, shown, path)
    return path, shown


def test_whole_numbers_are_what_calibration_rounds_to(int8: tuple[Path, np.ndarray]) -> None:
    path, shown = int8
    model, info = load(WEIGHTS)
    plan = plan_of(reparameterize(model), info.size)
    grid = picture_grid(info.mean, info.std)
    _, simulated = quantize(plan, torch.from_numpy(shown), grid)
    assert rms(open_file(path)(shown), simulated.numpy()) < 0.02


def core(name: str) -> emulator.Core:
    found = emulator.CORES[name]
    if missing := emulator.missing(*found.compilers, found.emulator):
        pytest.skip(f"{', '.join(missing)} is not installed")
    return found


@pytest.mark.parametrize(
    ("name", "flag", "most_per_mac"),
    [
        ("cortex-m4", "-O2", 2.1),
        ("cortex-m4", "-Os", 3),
        ("cortex-m55", "-O2", 1.05),
        ("aarch64", "-O2", 1.2),
        ("aarch64-dotprod", "-O2", 1.1),
    ],
)
def test_emulated_arm_gives_the_same_bits(
    name: str, flag: str, most_per_mac: float, int8: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    path, shown = int8
    made = emulator.emulate(path, shown[:1], core(name), [flag], tmp_path)
    assert np.array_equal(made.answers, open_file(path)(shown[:1]))
    assert made.stack < 2048
    # Counts of emulated instructions are the same on every machine, and so is that of a loop.
    assert abs(made.loop - emulator.LOOP_INSTRUCTIONS) < 200
    assert made.instructions[0] / MACS < most_per_mac


def test_a_timer_that_has_gone_round_goes_on_counting(
    int8: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    """The M4's timer has 24 bits, which 671 million instructions fill."""
    path, shown = int8
    pictures = np.repeat(shown[:1], 45, axis=0)
    counts = emulator.emulate(path, pictures, core("cortex-m4"), ["-O2"], tmp_path).instructions
    assert sum(counts) > 40 * 2**24
    assert max(counts) - min(counts) < 1000


def test_a_microcontroller_has_room_for_it(int8: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    path, _ = int8
    copy = tmp_path / path.name
    shutil.copy(path, copy)
    made = emulator.compile_object(copy, core("cortex-m4"), ["-Os"])
    used = emulator.sections(made, core("cortex-m4"))
    assert used["code"] <= 40_000
    assert used["code"] + used["tables"] <= 450_000
    assert used["data"] == 0
    workspace = re.search(r"GHOSTNET_WORKSPACE (\d+)", path.with_suffix(".h").read_text())
    assert workspace is not None
    assert int(workspace[1]) <= WORKSPACE


@pytest.mark.parametrize("cpu", ["cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55", "aarch64"])
def test_compilers_for_small_cores_have_nothing_to_say(cpu: str, tmp_path: Path) -> None:
    network, description = deployable(width=0.5, size=(9, 13), int8=True, shallow=True)
    path = tmp_path / "model.c"
    c_file.quantize(network, description, pictures(description, 8), path)
    for flags in (["-Os", "-Wshadow"], ["-O0"], ["-O1", "-DGNS_PLAIN"]):
        emulator.compile_object(path, core(cpu), flags)


@pytest.mark.parametrize(
    "name", ["cortex-m4", "cortex-m33", "cortex-m55", "aarch64", "aarch64-dotprod"]
)
def test_kernels_of_other_cores_know_odd_sizes(name: str, tmp_path: Path) -> None:
    kind = {"width": 0.5, "size": (9, 13), "int8": True, "shallow": True, "head_bits": 4}
    network, description = deployable(**kind)
    path, shown = tmp_path / "model.c", pictures(description, 8)
    c_file.quantize(network, description, shown, path)
    made = emulator.emulate(path, shown[:2], core(name), ["-O1"], tmp_path / name)
    assert np.array_equal(made.answers, open_file(path)(shown[:2]))


@pytest.mark.parametrize("pixels", [False, True])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_compilers_have_nothing_to_say(precision: str, pixels: bool, tmp_path: Path) -> None:
    network, description = deployable(
        width=0.5, pixels=pixels, size=(16, 16), int8=precision == "int8", shallow=True
    )
    path = tmp_path / "model.c"
    if precision == "int8":
        c_file.quantize(network, description, pictures(description, 8), path)
    else:
        c_file.export(network, description, path)
    for flags in (["-O1", "-march=native"], ["-O0"], ["-O0", "-DGNS_PLAIN"]):
        compile_object(path, *flags, "-Wshadow", "-Wstrict-prototypes", "-Wmissing-prototypes")
    user = tmp_path / "user.c"
    user.write_text(
        '#include "model.c"\n#include "model.h"\n'
        "int main(void) { return sizeof ghostnet_classes[GHOSTNET_CLASSES - 1] == 0; }\n"
    )
    compile_object(user, "-O0")


def test_threads_and_batches_change_nothing(tmp_path: Path) -> None:
    network, description = deployable(width=0.5, size=(16, 16), shallow=True)
    path = tmp_path / "model.c"
    c_file.export(network, description, path)
    shown = pictures(description, 5)
    alone = np.concatenate([open_file(path)(shown[k : k + 1]) for k in range(5)])
    for threads in (1, 2, 7):
        assert np.array_equal(open_file(path, threads)(shown), alone)
    assert open_file(path)(shown[:0]).shape == (0, 7)


def test_names_of_classes_survive(tmp_path: Path) -> None:
    network, description = deployable(width=0.3, size=(8, 8), shallow=True)
    names = ('*/ "quoted" \\', "/* open", "what??/", "Zürich\n", "%d", "1", "ghostnet_small: {")
    odd = replace(description, classes=names)
    path = tmp_path / "model.c"
    c_file.export(network, odd, path)
    compile_object(path, "-O0")
    assert open_file(path).description == odd


def test_a_damaged_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, description = deployable(width=0.3, size=(8, 8), shallow=True)
    path = tmp_path / "model.c"
    c_file.export(network, description, path)
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    with pytest.raises(
        InputError, match=r"model\.c is not what export .* writes .*; export the run again"
    ):
        open_file(path)
    path.write_text("int main(void) { return 0; }\n")
    with pytest.raises(InputError, match="not written by ghostnet-small export"):
        open_file(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="no text"):
        open_file(path)
    tag = next(line for line in text.splitlines() if read_tag(line))
    path.write_text(f"{tag}\nint ghostnet_workspace = 4;\n")
    with pytest.raises(InputError, match=r"is too short .*; export the run again"):
        open_file(path)
    path.write_text(text)
    monkeypatch.delenv("CC", raising=False)
    assert compiled.compiler_version().startswith(("cc: ", "gcc: ", "clang: "))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="no C compiler"):
        open_file(path)
    monkeypatch.setenv("CC", "nocc -m64")
    with pytest.raises(InputError, match="no compiler 'nocc', which CC names"):
        open_file(path)


def test_c_runs_without_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, description = deployable(size=(8, 8))
    path = tmp_path / "model.c"
    c_file.export(network, description, path)
    (tmp_path / "a file").touch()
    monkeypatch.setenv("GHOSTNET_CACHE", str(tmp_path / "a file"))
    open_file(path)
    # A compiler without room says so, and the network is not to blame.
    (tmp_path / "full").write_text("#!/bin/sh\necho 'out: No space left on device' >&2; exit 1\n")
    (tmp_path / "full").chmod(0o755)
    monkeypatch.setenv("CC", str(tmp_path / "full"))
    with pytest.raises(InputError, match=r"has no room; .*TMPDIR"):
        open_file(path)


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    network, description = deployable(size=(8, 8), int8=True)
    path = tmp_path / "model.c"
    with pytest.raises(InputError, match="images to calibrate on"):
        c_file.quantize(network, description, pictures(description, 0), path)
    with pytest.raises(InputError, match="stem"):
        c_file.quantize(network, description, pictures(description, 2), path, ["stem"])
    other = Deployable(torch.nn.Flatten(), description)
    with pytest.raises(InputError, match="choose another format"):
        c_file.export(other, description, path)
    teacher = Deployable(create_model("ghostnetv3_small").eval(), description)
    with pytest.raises(InputError, match="not folded"):
        c_file.export(teacher, description, path)
    assert not path.exists()


@needs_cifar
def test_int8_on_cifar10(tmp_path: Path) -> None:
    from ghostnet_small.data.sources import load_data
    from ghostnet_small.use.training_data import recipe_of

    model, info = load(WEIGHTS)
    data = load_data(recipe_of(info, WEIGHTS, ["--data.root", os.environ["GHOSTNET_CIFAR10"]]).data)
    description = Description(
        architecture="ghostnetv3_small",
        width=1.0,
        classes=info.classes,
        size=info.size,
        mean=info.mean,
        std=info.std,
        precision="int8",
        input="normalized",
        data={},
    )
    network = Deployable(reparameterize(model), description).eval()
    rows = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))[:256]
    calibration = normalize(data.train.images[rows], info.mean, info.std).numpy()
    path = tmp_path / "model.int8.c"
    c_file.quantize(network, description, calibration, path)
    test = data.split("test")
    shown, labels = normalize(test.images[:5000], info.mean, info.std), test.labels[:5000]
    found = torch.from_numpy(open_file(path, 2)(shown.numpy())).argmax(1)
    c_file.export(network, replace(description, precision="float32"), tmp_path / "model.c")
    # Which agrees with the network, as tested above, and takes a tenth of the time.
    exact = torch.from_numpy(open_file(tmp_path / "model.c", 2)(shown.numpy())).argmax(1)
    assert (found == exact)[:1000].sum() >= 990
    lost = (exact == labels).sum() - (found == labels).sum()
    assert lost <= 15  # of 5,000: 0.3 points
