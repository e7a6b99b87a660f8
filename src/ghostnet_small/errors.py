"""The one exception that a user's mistake raises."""


class InputError(ValueError):
    """A value from outside cannot be used.

    The message is one line that names the value, what is allowed and the cure. The command
    line prints it and exits with status 2; nothing has been written by then.
    """
