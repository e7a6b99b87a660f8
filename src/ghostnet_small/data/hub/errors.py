"""What goes wrong with a named data set, each in one line that names the cure."""

from __future__ import annotations

import errno
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from ghostnet_small.errors import InputError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_WRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}
_TOKEN = "a token with HF_TOKEN or `hf auth login`"
_LOCAL = "give a copy with --data.root DIR"


@contextmanager
def one_line_errors(
    name: str, subset: str | None, revision: str | None, forms: str
) -> Iterator[None]:
    """Failures of ``huggingface_hub`` and ``datasets`` about the set ``name`` as ``InputError``.

    ``forms`` says what a directory given instead may hold. The libraries' own log lines and
    warnings are held back, and their progress bars wherever standard error is no terminal.
    """
    loggers = [logging.getLogger(library) for library in ("datasets", "huggingface_hub", "httpx")]
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
            _of_the_disk(chain, name)
            or _of_the_server(chain, name, revision)
            or _of_the_connection(chain, name, forms)
            or _of_the_set(chain, name, subset)
        ) from error
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _bars_on_terminals_only() -> Iterator[None]:
    import datasets
    from huggingface_hub import utils

    if sys.stderr.isatty():
        yield
        return
    shown = not utils.are_progress_bars_disabled(), not datasets.are_progress_bars_disabled()
    utils.disable_progress_bars()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown[0]:
            utils.enable_progress_bars()
        if shown[1]:
            datasets.enable_progress_bars()


def is_unreachable(error: Exception) -> bool:
    """Whether the hub gave no answer, so that a copy in the cache may be used instead."""
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


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that led to it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _of_the_disk(chain: list[BaseException], name: str) -> InputError | None:
    from huggingface_hub import constants

    for error in chain:
        if not isinstance(error, OSError):
            continue
        if error.errno in _NO_SPACE:
            return InputError(
                f"no space for data set {name} in the cache {constants.HF_HOME}; free some, or set "
                "HF_HOME to a folder with more, and start again"
            )
        if error.errno in _NOT_WRITABLE:
            return InputError(
                f"the cache {constants.HF_HOME} cannot be written to "
                f"({error.filename or error.strerror}); set HF_HOME to a folder that can"
            )
    return None


def _of_the_server(
    chain: list[BaseException], name: str, revision: str | None
) -> InputError | None:
    """The hub answered, and refused."""
    from huggingface_hub import constants, errors

    for error in chain:
        if isinstance(error, errors.GatedRepoError):
            return InputError(
                f"data set {name} is gated: accept its terms on its page, then give {_TOKEN}"
            )
        if isinstance(error, errors.RepositoryNotFoundError):
            return InputError(
                f"{constants.ENDPOINT} has no data set {name}, or it is private; correct the name, "
                f"give {_TOKEN} for a private one, or {_LOCAL}"
            )
        if isinstance(error, errors.RevisionNotFoundError):
            return InputError(
                f"data.revision {revision!r} is no branch, tag or commit of data set {name}; "
                "leave it out for the newest"
            )
        if isinstance(error, errors.HfHubHTTPError):
            status = error.response.status_code
            if status in (401, 403):
                return InputError(
                    f"{constants.ENDPOINT} refuses data set {name} (status {status}): the token is "
                    f"not valid or lacks the right to read it; give {_TOKEN}"
                )
            if status == 404:
                continue
            return InputError(
                f"{constants.ENDPOINT} fails to serve data set {name} (status {status}); try again "
                f"later or another mirror with HF_ENDPOINT, or {_LOCAL}"
            )
    return None


def _of_the_connection(chain: list[BaseException], name: str, forms: str) -> InputError | None:
    from huggingface_hub import constants, errors
    from huggingface_hub.utils import httpx

    def among(*kinds: type[BaseException]) -> bool:
        return any(isinstance(error, kinds) for error in chain)

    if among(errors.OfflineModeIsEnabled):
        return InputError(
            f"data set {name} is not whole in the cache {constants.HF_HOME}, and HF_HUB_OFFLINE "
            f"forbids to fetch it; unset that, or {_LOCAL}, which holds {forms}"
        )
    short = any("Consistency check failed" in str(error) for error in chain)
    if short or among(httpx.RemoteProtocolError, httpx.ReadError, httpx.ReadTimeout):
        return InputError(
            f"the connection to {constants.ENDPOINT} was cut or stalled while data set {name} "
            "was fetched; start again: files that are complete are kept"
        )
    if among(httpx.TransportError, errors.LocalEntryNotFoundError):
        return InputError(
            f"{constants.ENDPOINT} cannot be reached for data set {name}; check the network, "
            f"give a mirror with HF_ENDPOINT, or {_LOCAL}, which holds {forms}"
        )
    return None


def _of_the_set(chain: list[BaseException], name: str, subset: str | None) -> InputError:
    from huggingface_hub import get_token

    reason = " ".join(str(chain[0]).split()) or type(chain[0]).__name__
    token = get_token()
    if token:
        reason = reason.replace(token, "<token>")
    if "Dataset scripts are no longer supported" in reason:
        return InputError(
            f"data set {name} is made by a script of its own, which is never run; look for its "
            f"parquet files with --data.revision refs/convert/parquet, or {_LOCAL}"
        )
    found = re.search(r"\[('[^]]*)\]", reason)
    if found and ("Config name is missing" in reason or "BuilderConfig" in reason):
        have = found[1].replace("'", "")
        asked = f"data.subset {subset!r} is not one of" if subset else "choose a --data.subset of"
        return InputError(f"{asked} the subsets of data set {name}: {have}")
    return InputError(f"data set {name} cannot be read ({reason}); {_LOCAL}")
