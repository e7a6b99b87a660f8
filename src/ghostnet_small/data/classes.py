"""Names of classes: lists of them for messages, and names that look the same."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

MOST_NAMES = 20


def first_names(classes: Sequence[str]) -> str:
    """Return ``cat, dog, frog``; of many the first ones."""
    more = ", ..." if len(classes) > MOST_NAMES else ""
    return ", ".join(classes[:MOST_NAMES]) + more


def list_classes(classes: Sequence[str]) -> str:
    """Return ``3 classes (cat, dog, frog)``; of many the first ones."""
    return f"{len(classes)} classes ({first_names(classes)})"


def same_class(name: str, classes: Sequence[str]) -> str | None:
    """Return the one of ``classes`` that is ``name``, also in another Unicode normal form.

    An archive made on macOS has decomposed names where Linux has composed ones.
    """
    if name in classes:
        return name
    twins = [other for other in classes if _composed(other) == _composed(name)]
    return twins[0] if len(twins) == 1 else None


def alike(name: str, classes: Sequence[str]) -> str | None:
    """Return the first of ``classes`` that looks the same as ``name``."""
    return next((other for other in classes if _folded(other) == _folded(name)), None)


def look_alikes(classes: Sequence[str]) -> str | None:
    """Return a remark on classes that look the same, written with their code points, or None."""
    by_look: dict[str, list[str]] = {}
    for name in classes:
        by_look.setdefault(_folded(name), []).append(name)
    groups = [names for names in by_look.values() if len(names) > 1]
    if not groups:
        return None
    shown = "; ".join(" and ".join(map(ascii, names)) for names in groups[:5])
    more = f"; and {len(groups) - 5} more" if len(groups) > 5 else ""
    return (
        f"some classes look the same but are different: {shown}{more}; they differ in capitals, "
        "spaces or Unicode form; rename those that are meant to be one"
    )


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return _composed(_composed(name).strip().casefold())
