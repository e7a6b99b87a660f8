"""The number of features that the classifier of a GhostNet reads, its head.

What describes a network names its head only where it is not the paper's: descriptions that are
older than the setting stay as they are, and so do their digests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HEAD_FEATURES = 1280
# Fewer features hardly tell classes apart, and more would be most of any network.
HEADS = (8, 4096)


def head_in(described: Mapping[str, Any]) -> Any:
    """Return the head of a network by its configuration, unchecked."""
    return described.get("head", HEAD_FEATURES)


def head_entry(head: int) -> dict[str, int]:
    """Return what a configuration says of ``head``; ``head_in`` reads it."""
    return {} if head == HEAD_FEATURES else {"head": head}


def head_text(head: int) -> str:
    """Return what follows the width in a name of a network."""
    return "" if head == HEAD_FEATURES else f", head {head}"
