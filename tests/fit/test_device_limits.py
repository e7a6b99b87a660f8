"""Limits by device and as given."""

from __future__ import annotations

import pytest

from ghostnet_small.errors import InputError
from ghostnet_small.fit.device_limits import SHARE, limits_of, targets, words_of


def test_each_device_gives_limits() -> None:
    for name, chip in targets().items():
        found = limits_of(None, None, name)
        for size, most in ((found.flash, chip["flash"]), (found.ram, chip["ram"])):
            assert (size is None) == (most is None)
            assert size is None or size == int(SHARE * most)


def test_what_is_given_goes_before_the_device() -> None:
    found = limits_of("100kB", None, "rp2040")
    assert found.flash == 100_000 and found.ram == int(SHARE * 270_336)
    assert words_of(limits_of("450kB", 128_000, None)) == "450 kB of flash, 128 kB of RAM"


@pytest.mark.parametrize(
    ("flash", "target", "message"),
    [
        (None, "rp2041", "--target rp2041 is not known; the nearest is rp2040"),
        (None, None, "give --flash and --ram"),
        ("450 k", None, "--flash '450 k' is no size"),
    ],
)
def test_what_is_not_known_is_refused(flash: str | None, target: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        limits_of(flash, None, target)
