"""The exception that a user's mistake raises, and the text of an ``OSError``."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A value from outside cannot be used.

    The message is one line that names the value, what is allowed and the cure. The command
    line prints it and exits with status 2; nothing has been written by then.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def printable(text: str) -> str:
    """Return ``text`` with control characters escaped: it may come from an untrusted file."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def os_error_text(error: OSError) -> str:
    """Return the text of an ``OSError``, after the file that it is about."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def nearest(word: object, known: Iterable[str], *, count: int = 1, only_close: bool = False) -> str:
    """Return the part of a sentence that says which of ``known`` is nearest to ``word``.

    Of keys such as ``train.epochs`` the room may be wrong and the setting right: where none is
    close as a whole, their last parts are compared; with ``only_close`` the text is empty then.
    """
    names = list(known)
    near = difflib.get_close_matches(str(word), names, n=count, cutoff=0.6 if only_close else 0.5)
    if not near and only_close:
        return ""
    if not near:
        last = {name.rpartition(".")[2]: name for name in names}
        found = difflib.get_close_matches(str(word).rpartition(".")[2], last, n=count, cutoff=0.0)
        near = [last[name] for name in found]
    verb = "is" if count == 1 else "are"
    return f"the nearest {verb} {', '.join(near)}" if near else "there are none"
