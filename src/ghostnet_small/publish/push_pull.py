"""Trained weights to the hub and back, in timm's layout."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ghostnet_small.errors import InputError
from ghostnet_small.files import check_free, new_folder, temporary_folder, write_atomic
from ghostnet_small.hub.models import (
    CARD,
    CONFIG,
    WEIGHTS,
    HubName,
    fetch_model,
    read_hub_name,
)
from ghostnet_small.hub.origin import write_origin
from ghostnet_small.hub.upload import check_upload, upload
from ghostnet_small.models.shipped_weights import shipped_weights
from ghostnet_small.models.weights import load, save_model, weights_folder
from ghostnet_small.publish.hub_card import hub_card
from ghostnet_small.recipe.shareable import portable_info

# Of the weights that come with the program.
LICENSE = "mit"


def push_model(
    path: Path,
    name: str,
    *,
    weights: str = "last",
    private: bool = False,
    license: str | None = None,
    message: str | None = None,
) -> dict[str, Any]:
    """Send the weights of ``path`` to ``owner/name[@branch]`` of the hub, as one commit.

    What is sent are ``model.safetensors``, ``config.json`` and the card, ``README.md``
    (``hub_card``). Of the recipe they tell all but the places of this machine. ``license`` is an
    identifier of the hub's, such as "mit"; of shipped weights it is that of the program.

    Raises ``InputError`` where the weights cannot be read or the hub refuses.
    """
    target = read_hub_name(name)
    check_upload(target)
    folder = weights_folder(path, weights)
    model, info = load(folder)
    if license is None and str(path) in shipped_weights():
        license = LICENSE
    with temporary_folder() as here:
        save_model(model, portable_info(info), here, license=license)
        card = hub_card(target.repository, model, info, path, folder, license)
        write_atomic(here / CARD, card)
        files = {file: here / file for file in (WEIGHTS, CONFIG, CARD)}
        sizes = {file: place.stat().st_size for file, place in files.items()}
        sent = upload(
            target,
            files,
            private=private,
            message=message or f"Add {model.config['architecture']} by ghostnet-small",
        )
    return {
        "repository": target.repository,
        "branch": target.revision or "main",
        "commit": sent.commit,
        "created": sent.created,
        "url": sent.url,
        "size_bytes": sizes,
    }


def pull_model(name: str, out: Path, *, revision: str | None = None) -> dict[str, Any]:
    """Fetch the model ``owner/name[@revision]`` of the hub into the new folder ``out``.

    It is a folder of weights like any other, which ``load`` reads, with the model's card, and
    ``hub.json`` that says which commit it is.

    Raises ``InputError`` where ``out`` exists, the model cannot be had, or is none of a network
    that is known here.
    """
    asked = _at_revision(read_hub_name(name), revision)
    check_free(out, "--out")
    found = fetch_model(asked, card=True)
    with new_folder(out) as partial:
        for file in found.files:
            # What lies in the cache is a link to it.
            shutil.copyfile(found.folder / file, partial / file)
        write_origin(found, partial)
        try:
            model, info = load(partial)
        except InputError as error:
            # The folder goes, so it is not named.
            said = str(error).replace(f"{partial}/", "")
            raise InputError(f"model {asked.repository} at {found.commit[:12]}: {said}") from None
    return {
        "repository": asked.repository,
        "commit": found.commit,
        "out": str(out),
        "files": sorted(found.files),
        "architecture": model.config["architecture"],
        "width": model.config["width"],
        "classes": len(info.classes),
        "size": list(info.size),
    }


def _at_revision(name: HubName, revision: str | None) -> HubName:
    if revision is None:
        return name
    if name.revision is not None:
        raise InputError(f"--revision {revision} says what @{name.revision} says; leave one out")
    return read_hub_name(f"{name.repository}@{revision}")
