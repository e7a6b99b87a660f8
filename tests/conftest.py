"""What every test runs under: one thread, no network, a cache of its own."""

from __future__ import annotations

import ctypes
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Set before torch and datasets are imported, and inherited by every command that a test starts.
# One thread: the pictures are so small that more threads only wait for one another. Where a test
# asks for more, they sleep while they wait: spinning ones would keep the other tests from working.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "passive"
os.environ["HF_HUB_OFFLINE"] = "1"
_CACHE = tempfile.TemporaryDirectory(prefix="ghostnet-small-tests-")
os.environ["HF_HOME"] = _CACHE.name
os.environ["GHOSTNET_CACHE"] = os.path.join(_CACHE.name, "ghostnet-small")
from ghostnet_small.files import OFF, only_ours, private_folder, write_atomic  # noqa: E402

# The compiled kernels take the compiler half a minute, so all workers of pytest-xdist share them,
# and later runs of the tests too: their names change with source, compiler and processor.
_SHARED = Path(__file__).parents[1] / "build" / "test-kernels"
try:
    private_folder(_SHARED)
    if not only_ours(_SHARED):
        raise PermissionError
except OSError:
    # Inherited by the workers.
    own = os.path.join(_CACHE.name, "shared")
    _SHARED = Path(os.environ.setdefault("GHOSTNET_TESTS_SHARED", own))
    _SHARED.mkdir(exist_ok=True)
_KERNELS = Path(os.environ["GHOSTNET_CACHE"]) / "kernels"
_KERNELS.parent.mkdir(exist_ok=True)
_KERNELS.symlink_to(_SHARED, target_is_directory=True)

import pytest  # noqa: E402
import torch  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from ghostnet_small.fast.cpu.kernels import library as native  # noqa: E402

_HERE = Path(__file__).parent
# The files whose tests take longest (three seconds and more), the longest first. They begin first,
# so that all workers end together, and `make check` leaves them out. `--durations=0` measures them.
SLOW = tuple((_HERE / "slow.txt").read_text().split())
assert all((_HERE / name).is_file() for name in SLOW)


def _place(path: Path) -> int:
    """The place of a file among ``SLOW``, or behind them."""
    name = path.relative_to(_HERE).as_posix()
    return SLOW.index(name) if name in SLOW else len(SLOW)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Whole files are slow, and what they import takes its time too."""
    fast = config.getoption("markexpr") == "not slow"
    return True if fast and _place(collection_path) < len(SLOW) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _place(item.path) < len(SLOW):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: _place(item.path))


_load = native._load


def _load_in_turn(real: str) -> ctypes.CDLL:
    """One worker compiles; another that needs the same meanwhile waits for it."""
    with (_SHARED / f"{real}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _load(real)


native._load = _load_in_turn


def pytest_unconfigure() -> None:
    _CACHE.cleanup()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """One torch thread, given back where a test changed it."""
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(1)


@pytest.fixture
def quick_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs keep pictures that are empty: to draw them takes half of the time of a small one."""

    def save(figure: Figure, path: Path) -> None:
        write_atomic(path, b"\x89PNG")

    monkeypatch.setattr("ghostnet_small.run.run_plots.save_png", save)


@pytest.fixture(scope="module")
def no_pictures() -> Iterator[None]:
    """Runs have none: drawing them takes longer than all else of a small one."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("draw_curves", "draw_confusion", "draw_mistakes"):
            patch.setattr(f"ghostnet_small.run.finish.{name}", lambda *drawn: None)
        yield


@pytest.fixture(scope="session")
def kernels() -> None:
    """The C kernels, without which tests of them would compare PyTorch with itself."""
    if os.environ.get(native.SWITCH) == OFF:
        pytest.skip(f"{native.SWITCH}={OFF} is set, and this is a test of the C kernels")
    for dtype in (torch.float32, torch.float64):
        assert native.library(dtype) is not None, (
            f"no C kernels for {dtype} here: see the warning above"
        )


@pytest.fixture(scope="session")
def cifar10_root() -> Path:
    """The directory of CIFAR-10 in Hugging Face layout that ``GHOSTNET_CIFAR10`` names.

    Unset, the test is skipped, but in CI it fails: there the data is always at hand, and a
    skip would hide that the committed weights were never checked.
    """
    named = os.environ.get("GHOSTNET_CIFAR10")
    if not named:
        if os.environ.get("CI"):
            pytest.fail("CI is set but GHOSTNET_CIFAR10 is not; start the tests with .ci/run")
        pytest.skip("set GHOSTNET_CIFAR10 to a directory that holds CIFAR-10 as parquet")
    root = Path(named)
    if not root.is_dir():
        pytest.fail(f"GHOSTNET_CIFAR10 names {named!r}, which is not a directory")
    return root
