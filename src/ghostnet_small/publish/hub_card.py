"""A model's card for the hub, with the figures that are kept beside its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ghostnet_small.errors import InputError
from ghostnet_small.files import check_no_link, read_text
from ghostnet_small.hub.models import CARD
from ghostnet_small.models.fit_weights import run_of_fit
from ghostnet_small.models.network import Network
from ghostnet_small.models.weights import ModelInfo
from ghostnet_small.publish.card import facts_of, model_card
from ghostnet_small.publish.weight_records import shipped_facts
from ghostnet_small.recipe.shareable import portable_info
from ghostnet_small.run.run_folder import RunFolder, is_run


def hub_card(
    repository: str,
    model: Network,
    info: ModelInfo,
    path: Path,
    folder: Path,
    license: str | None,
) -> str:
    """The Markdown of ``README.md`` of ``repository``, for the weights in ``folder``.

    It is made of the record there, or of the summary of the run that the user named by ``path``.
    Weights that have neither are sent with the card that lies beside them, or else with one
    without figures.

    Raises ``InputError`` where a file cannot be read.
    """
    facts = shipped_facts(folder) or run_facts(run_of_fit(path), folder)
    card = folder / CARD
    if facts is None and card.is_file():
        # What a stranger's link leads to is not for the hub.
        check_no_link(card)
        try:
            return read_text(card)
        except UnicodeDecodeError:
            raise InputError(f"{card} is no text in UTF-8; save it so, or remove it") from None
    title = repository.partition("/")[2]
    return model_card(
        title, model.config, portable_info(info), facts, hub=repository, license=license
    )


def run_facts(path: Path, folder: Path) -> dict[str, Any] | None:
    """Return the facts of a card for the last weights of the run ``path``, which lie in ``folder``;
    None where they are others, or of a run without test figures."""
    if not is_run(path) or folder != path / "last":
        return None
    run = RunFolder(path)
    summary = run.summary()
    if summary is None or "test_top1" not in summary["last"]:
        return None
    last = summary["last"]
    found = {
        key.removeprefix("test_"): value for key, value in last.items() if key.startswith("test_")
    }
    return facts_of(summary, [summary], {"split": "test", **found, "per_class": run.classes()})
