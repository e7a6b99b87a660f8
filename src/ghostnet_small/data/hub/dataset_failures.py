"""Errors with a named data set, each in one line that names the cure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from ghostnet_small.errors import InputError
from ghostnet_small.hub.failures import Asked, one_line_errors

_LOCAL = "give a copy with --data.root DIR"


@contextmanager
def data_set_errors(
    name: str, subset: str | None, revision: str | None, forms: str
) -> Iterator[None]:
    """Raise failures of the libraries with the data set ``name`` as ``InputError``.

    ``forms`` says what a directory given instead may hold.
    """
    import datasets  # noqa: F401  # its progress bars are held back where it is loaded

    asked = Asked(
        what=f"data set {name}",
        revision=revision,
        revision_setting="data.revision",
        instead=_LOCAL,
        holds=f", which holds {forms}",
    )
    with one_line_errors(asked, lambda reason: _of_the_set(reason, name, subset)):
        yield


def _of_the_set(reason: str, name: str, subset: str | None) -> InputError | None:
    if "Dataset scripts are no longer supported" in reason:
        return InputError(
            f"data set {name} is made by its own script, which is never run; look for its "
            f"parquet files with --data.revision refs/convert/parquet, or {_LOCAL}"
        )
    found = re.search(r"\[('[^]]*)\]", reason)
    if found and ("Config name is missing" in reason or "BuilderConfig" in reason):
        have = found[1].replace("'", "")
        asked = f"data.subset {subset!r} is not one of" if subset else "choose a --data.subset of"
        return InputError(f"{asked} the subsets of data set {name}: {have}")
    return None
