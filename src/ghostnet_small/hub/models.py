"""Models of the hub by name, ``hf-hub:owner/name[@revision]``: fetched, checked, of one commit."""

from __future__ import annotations

import dataclasses
import logging
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath

from ghostnet_small.errors import InputError
from ghostnet_small.files import LARGEST_TEXT, checked_json, signed_json, write_atomic
from ghostnet_small.hub.downloads import HubFile, asset_place, checked_file, file_of, read_files
from ghostnet_small.hub.failures import (
    Asked,
    endpoint,
    is_offline,
    is_unreachable,
    one_line_errors,
    without_secrets,
    without_token,
)

PREFIX = "hf-hub:"
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
# Bytes of weights: far more than any network of this program has.
LARGEST_WEIGHTS = 4 << 30
_INSTEAD = "give a folder with a copy of it"
# Words of a name that the hub allows: letters, digits, "-", "_" and ".", the last two not at an
# end or doubled.
_WORD = r"(?!.*(?:--|\.\.))[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"

_log = logging.getLogger(__name__)  # what a user should know, though nothing is wrong


@dataclass(frozen=True)
class HubName:
    """A model repository, and a branch, tag or commit of it; None: the newest."""

    repository: str
    revision: str | None = None

    def __str__(self) -> str:
        return PREFIX + self.repository + (f"@{self.revision}" if self.revision else "")


@dataclass(frozen=True)
class HubCopy:
    """A commit's files in the client's cache, side by side in ``folder``."""

    name: HubName
    commit: str
    folder: Path
    files: dict[str, HubFile]


def is_hub_name(path: str | PurePath) -> bool:
    """Return whether ``path`` names a model of the hub."""
    return str(path).startswith(PREFIX)


def read_hub_name(text: str | PurePath) -> HubName:
    """Parse ``hf-hub:owner/name[@revision]``; the prefix may be missing.

    Raises ``InputError`` where it is not of that form.
    """
    repository, at, revision = str(text).removeprefix(PREFIX).partition("@")
    parts = repository.split("/")
    if (
        len(parts) != 2
        or not all(re.fullmatch(_WORD, part) for part in parts)
        or repository.endswith(".git")
        or (at and not re.fullmatch(r"[\w][\w./-]*", revision))
        or without_token(str(text)) != str(text)  # a token was pasted by mistake
    ):
        raise InputError(
            f"{without_secrets(str(text))!r} is not the name of a model of the hub; give "
            "owner/name or owner/name@revision, of letters, digits, '-', '_' and '.'"
        )
    return HubName(repository, revision or None)


def fetch_model(name: HubName, *, card: bool = False) -> HubCopy:
    """The weights and the configuration of a model, and with ``card`` its card where it has one.

    The server is asked for the commit and the digests of its files; files that are not in the cache
    are fetched, and all are compared with the digests. Where the server does not answer, the commit
    that was fetched before is used, with a remark. Cache, mirror, token and offline mode are those
    of ``huggingface_hub``: ``HF_HOME``, ``HF_ENDPOINT``, ``HF_TOKEN``, ``HF_HUB_OFFLINE``.

    Raises ``InputError`` where there is no such model, it has no safetensors, is too large or
    damaged, or cannot be reached.
    """
    from huggingface_hub import hf_hub_download

    what = f"model {name.repository}"
    asked = Asked(what, name.revision, "revision", _INSTEAD)
    place = asset_place("models", name.repository, None, name.revision)
    known = _known(place)
    with one_line_errors(asked):
        try:
            commit, there = _ask(name)
        except Exception as error:
            if known is None or not is_unreachable(error):
                raise
            commit, there = known
            if not is_offline():
                _log.warning(
                    "the hub does not answer; %s is taken from the cache, as of commit %s",
                    name.repository,
                    commit[:12],
                )
        wanted = _wanted(what, commit, there, card)
        paths = {
            path: Path(hf_hub_download(name.repository, path, revision=commit)) for path in wanted
        }
    files = {path: checked_file(what, path, paths[path], file) for path, file in wanted.items()}
    kept = {**({} if known is None or known[0] != commit else known[1]), **files}
    if known != (commit, kept):
        values = {"commit": commit, "files": {k: dataclasses.asdict(v) for k, v in kept.items()}}
        with suppress(FileNotFoundError):  # another process has just written the same
            place.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(place, signed_json(values))
    return HubCopy(name, commit, paths[CONFIG].parent, files)


def _ask(name: HubName) -> tuple[str, dict[str, HubFile]]:
    from huggingface_hub import HfApi, constants

    info = HfApi().model_info(
        name.repository,
        revision=name.revision,
        files_metadata=True,
        timeout=constants.HF_HUB_ETAG_TIMEOUT,
    )
    if info.sha is None:
        raise InputError(f"{endpoint()} gives no commit of model {name.repository}; {_INSTEAD}")
    return info.sha, {entry.rfilename: file_of(entry) for entry in info.siblings or ()}


def _known(place: Path) -> tuple[str, dict[str, HubFile]] | None:
    """Return the commit that was fetched last and its files; None where that is not known."""
    try:
        values = checked_json(place)
        return values["commit"], read_files(values["files"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _wanted(what: str, commit: str, there: dict[str, HubFile], card: bool) -> dict[str, HubFile]:
    """The files to fetch; raises ``InputError`` where they are missing or too large."""
    for path in (CONFIG, WEIGHTS):
        if path not in there:
            pickles = [other for other in there if other.endswith((".bin", ".pth", ".pt", ".ckpt"))]
            pickled = (
                f"; {pickles[0]} is a pickle, which can run code and is never loaded"
                if pickles and path == WEIGHTS
                else ""
            )
            raise InputError(
                f"{what} has no {path} (commit {commit[:12]}){pickled}; it needs {WEIGHTS} and "
                f"{CONFIG}, as `ghostnet-small push` and timm write them"
            )
    wanted = {
        path: there[path] for path in (CONFIG, WEIGHTS, CARD)[: 3 if card else 2] if path in there
    }
    for path, file in wanted.items():
        largest = LARGEST_WEIGHTS if path == WEIGHTS else LARGEST_TEXT
        if file.size is not None and file.size > largest:
            raise InputError(
                f"{path} of {what} has {file.size:,} bytes, more than the {largest:,} that are "
                "fetched; no network of this program is as large"
            )
    return wanted
