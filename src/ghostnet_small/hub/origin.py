"""The origin of weights from the hub, stored beside pulled weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ghostnet_small.errors import InputError
from ghostnet_small.files import checked_json, signed_json, write_atomic
from ghostnet_small.hub.models import HubCopy, HubName

FILE = "hub.json"
KEYS = ("repository", "commit")


def write_origin(copy: HubCopy, folder: Path) -> None:
    """Write the repository and the commit of the files in ``folder`` into it."""
    values = {"repository": copy.name.repository, "commit": copy.commit}
    write_atomic(folder / FILE, signed_json(values))


def origin_of(folder: Path, name: HubName | None = None) -> dict[str, Any]:
    """Return ``repository`` and ``commit`` of weights that were pulled into ``folder``, or that are
    ``name``'s in the hub's cache; for others, an empty dictionary.

    Raises ``InputError`` where the file with the origin is damaged.
    """
    if name is not None:
        # The hub's client keeps a folder for each commit.
        return {"repository": name.repository, "commit": folder.name}
    try:
        values = checked_json(folder / FILE)
        return {key: str(values[key]) for key in KEYS}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{folder / FILE} is damaged ({reason}); pull the model again, or remove that file"
        ) from None
