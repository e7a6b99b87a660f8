"""The exception that a user's mistake raises, and the text of an ``OSError``."""


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
