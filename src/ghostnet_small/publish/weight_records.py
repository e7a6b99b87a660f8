"""The files beside the shipped weights: the record of their run, its figures and their card.

It is read without the weights, and so without torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ghostnet_small.errors import InputError
from ghostnet_small.files import checked_json, read_text
from ghostnet_small.hub.models import CARD, WEIGHTS
from ghostnet_small.models.shipped_weights import shipped_weights
from ghostnet_small.report.table_cells import recipe_name

RECORD = "record.json"


def shipped_facts(folder: Path) -> dict[str, Any] | None:
    """Return what ``ship_weights`` kept of the run in ``folder``; None where it kept nothing.

    Raises ``InputError`` where the file is damaged.
    """
    file = folder / RECORD
    if not file.is_file():
        return None
    try:
        return checked_json(file)
    except ValueError as error:
        raise InputError(f"{file} is damaged ({error}); ship the weights again") from None


def list_shipped() -> list[dict[str, Any]]:
    """Return a row for each of the shipped weights: ``name``, ``folder``, ``size_bytes``,
    ``params`` and ``macs`` of both forms, ``top1`` (%), ``correct`` and ``total`` of these weights
    on the test split, ``runs`` of the recipe, ``recipe`` and ``card``.

    Raises ``InputError`` where a file of theirs is damaged.
    """
    listed = []
    for name, folder in shipped_weights().items():
        facts = shipped_facts(folder)
        if facts is None:
            raise InputError(f"{folder} has no {RECORD}; ship the weights again")
        record = facts["record"]
        listed.append(
            {
                "name": name,
                "folder": str(folder),
                "size_bytes": (folder / WEIGHTS).stat().st_size,
                **record["model"],
                **{key: facts["evaluation"][key] for key in ("top1", "correct", "total")},
                "seed": record["seed"],
                "runs": facts["runs"],
                "recipe": recipe_name(record),
                "epochs": len(record["epochs"]),
                "card": read_text(folder / CARD),
            }
        )
    return listed
