"""Errors between this program and the hub, each in one line that names the cure.

No message contains a token: texts of libraries and servers go through ``without_secrets``. Their
errors are never attached as a cause, because a traceback would print them.
"""

from __future__ import annotations

import errno
import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ghostnet_small.errors import InputError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_WRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}
TOKEN = "a token with HF_TOKEN or `hf auth login`"
# The form of the hub's tokens.
_TOKENS = re.compile(r"\b(?:hf|api_org)_[A-Za-z0-9]{8,}")
_LIBRARIES = ("datasets", "huggingface_hub", "httpx", "httpx2", "timm")

# Gives a better error for the text of one, or None.
Explain = Callable[[str], InputError | None]


@dataclass(frozen=True)
class Asked:
    """A request to the hub, in the words of messages.

    Args:
        what: "data set owner/name" or "model owner/name".
        revision: branch, tag or commit; None: the newest.
        revision_setting: the setting or option that gave it.
        instead: another cure, such as "give a copy with --data.root DIR"; or empty.
        holds: added to ``instead``, what that must hold; or empty.
        right: the right that a token needs, "read" or "write".
    """

    what: str
    revision: str | None
    revision_setting: str
    instead: str
    holds: str = ""
    right: str = "read"

    @property
    def fetched(self) -> str:
        return "fetched" if self.right == "read" else "sent"


@contextmanager
def one_line_errors(asked: Asked, explain: Explain = lambda reason: None) -> Iterator[None]:
    """Raise failures of ``huggingface_hub`` and ``datasets`` as ``InputError``.

    ``explain`` may give a better error for a text. The libraries' own log lines and warnings are
    suppressed, and their progress bars where standard error is not a terminal.
    """
    loggers = [logging.getLogger(library) for library in _LIBRARIES]
    levels = [logger.level for logger in loggers]
    try:
        with warnings.catch_warnings(), _bars_on_terminals_only():
            warnings.simplefilter("ignore")
            for logger in loggers:
                logger.setLevel(logging.CRITICAL)
            yield
    except InputError:
        raise
    except Exception as error:  # both libraries raise many types
        chain = list(_chain(error))
        raise (
            _of_the_disk(chain, asked)
            or _of_the_server(chain, asked)
            or _of_the_connection(chain, asked)
            or _otherwise(chain, asked, explain)
        ) from None
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def without_secrets(text: str) -> str:
    """Return ``text`` without the token in use, words like a token, and address passwords."""
    return re.sub(r"://[^/@\s]*@", "://", _TOKENS.sub("<token>", without_token(text)))


def without_token(text: str) -> str:
    """``text`` without the token in use."""
    from huggingface_hub import get_token

    token = get_token()
    return text.replace(token, "<token>") if token else text


def endpoint() -> str:
    """The hub's address, or its mirror's."""
    from huggingface_hub import constants

    return without_secrets(constants.ENDPOINT)


def is_offline() -> bool:
    """Return whether the user forbids requests to the hub."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def is_unreachable(error: Exception) -> bool:
    """Return whether the hub gave no answer, so that a copy in the cache may be used instead."""
    from huggingface_hub import errors
    from huggingface_hub.utils import httpx

    if isinstance(error, errors.HfHubHTTPError):
        return error.response.status_code >= 500 or error.response.status_code == 429
    return isinstance(
        error,
        httpx.TransportError
        | errors.OfflineModeIsEnabled
        | errors.LocalEntryNotFoundError
        | ConnectionError,
    )


@contextmanager
def _bars_on_terminals_only() -> Iterator[None]:
    from huggingface_hub import utils

    if sys.stderr.isatty():
        yield
        return
    # Loaded for data sets only, and slow to load.
    datasets = sys.modules.get("datasets")
    others = [] if datasets is None else [datasets]
    shown = [not library.are_progress_bars_disabled() for library in (utils, *others)]
    for library in (utils, *others):
        library.disable_progress_bars()
    try:
        yield
    finally:
        for library, was_shown in zip((utils, *others), shown, strict=True):
            if was_shown:
                library.enable_progress_bars()


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that led to it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _of_the_disk(chain: list[BaseException], asked: Asked) -> InputError | None:
    from huggingface_hub import constants

    for error in chain:
        if not isinstance(error, OSError):
            continue
        if error.errno in _NO_SPACE:
            return InputError(
                f"no space for {asked.what} in the cache {constants.HF_HOME}; free some, or set "
                "HF_HOME to a folder with more, and start again"
            )
        if error.errno in _NOT_WRITABLE:
            return InputError(
                f"the cache {constants.HF_HOME} cannot be written to "
                f"({error.filename or error.strerror}); set HF_HOME to a folder that can"
            )
    return None


def _of_the_server(chain: list[BaseException], asked: Asked) -> InputError | None:
    """Return the error where the hub answered and refused; else None."""
    from huggingface_hub import errors

    what = asked.what
    for error in chain:
        if isinstance(error, errors.GatedRepoError):
            return InputError(f"{what} is gated: accept its terms on its page, then give {TOKEN}")
        if isinstance(error, errors.RepositoryNotFoundError):
            return InputError(
                f"{endpoint()} has no {what}, or it is private; "
                + _either("correct the name", f"give {TOKEN} for a private one", asked.instead)
            )
        if isinstance(error, errors.RevisionNotFoundError):
            return InputError(
                f"{asked.revision_setting} {asked.revision!r} is not a branch, tag or commit of "
                f"{what}; leave it out for the newest"
            )
        if isinstance(error, errors.HfHubHTTPError):
            status = error.response.status_code
            if status in (401, 403):
                return InputError(
                    f"{endpoint()} refuses {what} (status {status}): the token is not valid or "
                    f"lacks the right to {asked.right} it; give {TOKEN}"
                )
            if status == 404:
                continue
            if status == 429:
                return InputError(
                    f"{endpoint()} has had too many requests from here, and refuses {what} "
                    f"(status 429); wait some minutes, or give {TOKEN}, which may ask more often"
                )
            deed = "fails to serve" if asked.right == "read" else "does not take"
            return InputError(
                f"{endpoint()} {deed} {what} (status {status}); "
                + _either("try again later or another mirror with HF_ENDPOINT", asked.instead)
            )
    return None


def _of_the_connection(chain: list[BaseException], asked: Asked) -> InputError | None:
    from huggingface_hub import constants, errors
    from huggingface_hub.utils import httpx

    def among(*kinds: type[BaseException]) -> bool:
        return any(isinstance(error, kinds) for error in chain)

    what, instead = asked.what, asked.instead and asked.instead + asked.holds
    if among(errors.OfflineModeIsEnabled):
        if asked.right != "read":
            return InputError(f"HF_HUB_OFFLINE forbids sending {what}; unset it")
        return InputError(
            f"{what} is not whole in the cache {constants.HF_HOME}, and HF_HUB_OFFLINE "
            f"forbids fetching it; {_either('unset that', instead)}"
        )
    short = any("Consistency check failed" in str(error) for error in chain)
    if short or among(httpx.RemoteProtocolError, httpx.ReadError, httpx.ReadTimeout):
        return InputError(
            f"the connection to {endpoint()} was cut or stalled while {what} was "
            f"{asked.fetched}; start again: files that are complete are kept"
        )
    if among(httpx.TransportError, errors.LocalEntryNotFoundError):
        return InputError(
            f"{endpoint()} cannot be reached for {what}; "
            + _either("check the network", "give a mirror with HF_ENDPOINT", instead)
        )
    return None


def _otherwise(chain: list[BaseException], asked: Asked, explain: Explain) -> InputError:
    reason = " ".join(str(chain[0]).split()) or type(chain[0]).__name__
    reason = without_secrets(reason)
    cannot = "read" if asked.right == "read" else "sent"
    return explain(reason) or InputError(
        f"{asked.what} cannot be {cannot} ({reason})" + (asked.instead and f"; {asked.instead}")
    )


def _either(*cures: str) -> str:
    """``a, b, or c``, of those that are not empty."""
    *others, last = filter(None, cures)
    return f"{', '.join(others)}, or {last}" if others else last
