"""Where weights of the hub came from: kept beside those that were pulled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ghostnet_small.errors import InputError
from ghostnet_small.files import checked_json, signed_json, write_atomic
from ghostnet_small.hub.models import HubCopy, HubName

FILE = "hub.json"
KEYS = ("repository", "commit")


def write_origin(copy: HubCopy, folder: Path) -> None:
    """Write into ``folder`` which commit of which repository its files are."""
    values = {"repository": copy.name.repository, "commit": copy.commit}
    write_atomic(folder / FILE, signed_json(values))


def origin_of(folder: Path, name: HubName | None = None) -> dict[str, Any]:
    """``repository`` and ``commit`` of weights that were pulled into ``folder``, or are ``name``'s
    in the hub's cache; of others, nothing.

    Raises ``InputError`` where the file that says so is damaged.
    """
    if name is not None:
        # Of a commit each, as the hub's client keeps them.
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
