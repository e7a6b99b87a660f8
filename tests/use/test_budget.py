"""Flash and working memory of exported files: counted, and held to limits."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from c_kit import deployable, pictures
from ghostnet_small.deploy import c_file
from ghostnet_small.deploy.c import footprint
from ghostnet_small.deploy.c.footprint import CODE, COMPILERS, expected_bytes, flash_of
from ghostnet_small.errors import InputError
from ghostnet_small.models.registry import create_model
from ghostnet_small.use.budget import Limits, advice, limits_of

SMALL = {"width": 0.2, "channels": 1, "size": (8, 8)}


@pytest.mark.parametrize(
    ("given", "size"),
    [
        *((450_000, 450_000), ("450000", 450_000), ("450000B", 450_000), ("450kB", 450_000)),
        *(("450 kB", 450_000), ("128KiB", 131_072), ("1.5MB", 1_500_000), ("0.5MiB", 524_288)),
    ],
)
def test_sizes(given: int | str, size: int) -> None:
    assert limits_of(given, None) == Limits(size, None)
    assert limits_of(None, given) == Limits(None, size)


@pytest.mark.parametrize(
    "given",
    ["", "450k", "450KB", "450kb", "-1", -1, 0, "0kB", "0.4", "1e6", "\u0661kB", True, "9" * 99],
)
def test_sizes_that_are_none(given: int | str) -> None:
    with pytest.raises(InputError) as refused:
        limits_of(None, given)
    said = str(refused.value)
    assert said.startswith(f"--ram {str(given)!r:.40} is no size; give bytes, or a number with kB")
    assert said.endswith("such as 450kB")


def test_limits_are_the_most_that_is_allowed() -> None:
    found = {"flash_bytes": 1000, "flash_counted": "the file", "ram_bytes": 64}
    assert Limits().past(found) is None and Limits(1000, 64).past(found) is None
    assert Limits(999).past(found) == (
        "needs 1,000 bytes of flash (the file), and --flash allows 999"
    )
    both = Limits(999, 63).past(found)
    assert both is not None and both.endswith("and needs 64 bytes of RAM, and --ram allows 63")
    assert Limits(ram=1).past({**found, "ram_bytes": None}) is None


def test_what_is_counted_is_what_is_written(tmp_path: Path) -> None:
    """The tables of a network are those counted without its weights, within one percent."""
    network, description = deployable(int8=True, **SMALL)
    path = tmp_path / "model.c"
    c_file.quantize(network, description, pictures(description, 8), path)
    config = {
        **{"architecture": "ghostnetv3_small", "width": 0.2},
        **{"num_classes": len(description.classes), "in_channels": 1},
    }
    flash, ram = expected_bytes(config, description)
    assert ram == c_file.working_memory(path)
    written = footprint.table_bytes(path.read_text())
    assert flash - CODE == pytest.approx(written, rel=0.01)
    _, more = expected_bytes(config, replace(description, size=(16, 16)))
    assert more > ram


@pytest.mark.parametrize("number", range(len(COMPILERS)))
def test_flash_is_tables_and_code(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, description = deployable(int8=True, shallow=True, size=(16, 16))
    path = tmp_path / "model.c"
    c_file.quantize(network, description, pictures(description, 8), path)
    tables = int(re.findall(r"tables: (\d+) bytes", path.read_text())[0])
    footprint.flash_of.cache_clear()
    monkeypatch.setattr(footprint, "COMPILERS", COMPILERS[number : number + 1])
    compiler, _, _, counted = COMPILERS[number]
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    found, how = c_file.flash(path)
    assert how == counted and tables < found
    if "Cortex" in counted:
        assert found <= tables + CODE
    # Without a compiler, and with one that fails.
    for compilers in ((), (("false", "size", (), "compiled"),)):
        footprint.flash_of.cache_clear()
        monkeypatch.setattr(footprint, "COMPILERS", compilers)
        assert flash_of(path.read_text()) == (tables, "tables only, without the code")
    footprint.flash_of.cache_clear()


def test_the_width_that_fits_is_named() -> None:
    model = create_model("ghostnetv3_small", width=0.2, in_channels=1, num_classes=7)
    _, description = deployable(**SMALL)
    smallest = expected_bytes({**model.config, "width": 0.01}, description)
    said = advice(model, description, Limits(*smallest))
    found = re.match(r"ghostnetv3_small of width ([\d.]+) fits as int8 C, which takes ", said)
    assert found is not None and 0.01 <= float(found[1]) < 0.2
    whole = expected_bytes(model.config, description)
    assert "of width 0.2 fits as int8 C" in advice(model, description, Limits(*whole))
    said = advice(model, description, Limits(smallest[0] - 1, None))
    assert said == (
        "no width of ghostnetv3_small fits: the smallest, 0.01, takes at most "
        f"{smallest[0]:,} bytes of flash (on a Cortex-M4) and {smallest[1]:,} of RAM as int8 C; "
        "raise the limits"
    )
    assert "no width" in advice(model, description, Limits(None, smallest[1] - 1))
    teacher = create_model("resnet18", num_classes=7)
    assert advice(teacher, description, Limits(1)) == ""
