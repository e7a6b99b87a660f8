"""Class names as a figure can draw them: in fonts that have their letters, or by number."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

from ghostnet_small.errors import printable
from ghostnet_small.files import write_atomic

LIST = "classes.txt"
USUAL = "DejaVu Sans"  # comes with matplotlib
# Comes with matplotlib too, and has a box for every letter.
_BOXES = "Last Resort"


@dataclass(frozen=True)
class Lettering:
    """``names`` to draw, the font ``family`` for them, and a ``note`` on names that are numbers."""

    names: tuple[str, ...]
    family: tuple[str, ...]
    note: str = ""


def lettering(classes: Sequence[str]) -> Lettering:
    """Return how to draw ``classes``.

    Where this machine has no font for a name, that is ``#7`` for the class of index 7, which the
    file ``classes.txt`` that ``keep_list`` writes has in full.
    """
    shown = [printable(name) for name in classes]
    family = _family(frozenset("".join(shown)))
    drawn = [name if _covered(name, family) else f"#{number}" for number, name in enumerate(shown)]
    note = "" if drawn == shown else f"#n: no font here, see {LIST}"
    return Lettering(tuple(drawn), family, note)


def keep_list(classes: Sequence[str], folder: Path) -> None:
    """Write the number and the name of each class into ``folder``."""
    lines = (f"#{number} {printable(name)}\n" for number, name in enumerate(classes))
    write_atomic(folder / LIST, "".join(lines))


@contextmanager
def no_warnings() -> Iterator[None]:
    """Keep matplotlib's warnings, such as on letters that a font lacks, off the terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


@functools.cache
def _family(letters: frozenset[str]) -> tuple[str, ...]:
    """The usual font, and those of this machine that have what it lacks of ``letters``."""
    family = [USUAL]
    missing = letters - _letters(font_manager.findfont(USUAL))
    for font in font_manager.fontManager.ttflist:
        if not missing:
            break
        if font.style != "normal" or font.weight not in (400, "normal", "regular"):
            continue
        if font.name in family or font.name.startswith(_BOXES):
            continue
        found = missing & _letters(font.fname)
        if found:
            family.append(font.name)
            missing -= found
    return tuple(family)


def _covered(name: str, family: Sequence[str]) -> bool:
    return all(any(c in _letters(font_manager.findfont(one)) for one in family) for c in name)


@functools.lru_cache(maxsize=64)
def _letters(file: str) -> frozenset[str]:
    try:
        return frozenset(map(chr, FT2Font(file).get_charmap()))
    except (OSError, RuntimeError, ValueError):  # a font that is damaged or gone
        return frozenset()
