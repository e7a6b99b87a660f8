"""Generate a given C file again, from its description and the numbers of its tables.

A C file is a program, and anyone who passes it on may have changed it. So nothing of a given file
is compiled: the code is generated from its description, only the numbers of its tables are taken
from it, and the result must equal the file.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from ghostnet_small.deploy.blank import blank_network
from ghostnet_small.deploy.c.float32 import write_float
from ghostnet_small.deploy.c.grids import picture_grid
from ghostnet_small.deploy.c.int8 import write_int8
from ghostnet_small.deploy.c.plan import plan_of
from ghostnet_small.deploy.c.quantize import blank
from ghostnet_small.deploy.c.source import header_text, source_text
from ghostnet_small.deploy.c.text import Code, Table
from ghostnet_small.deploy.description import Description
from ghostnet_small.errors import InputError
from ghostnet_small.version import __version__

# As ``Table.numbers`` are written: nothing else may stand in a table.
_NUMBER = {
    "float": re.compile(r"-?[0-9]{1,10}(\.[0-9]{1,15})?(e[+-][0-9]{2})?f"),
    "int": re.compile(r"-?[0-9]{1,10}"),
}
LONGEST = 40  # characters of a number, with its separator
SHORTEST = 3
_HEAD = re.compile(r"^GNS_(?:TABLE|LARGE) [\w ]+ (\w+)\[\] = \{$", re.MULTILINE)


class _Altered(Exception):
    """A file differs from what ``export`` writes; the message gives the reason."""


def rewritten(path: Path, source: str, header: str, description: Description) -> str:
    """Return the C code that ``export`` writes for the ``description`` and the numbers in
    ``source``, the text of ``path``; ``header`` is that of the file beside it.

    Raises ``InputError`` where the two texts are anything else than what ``export`` writes.
    """
    try:
        code = _filled(_template(source, description), source)
        if description.precision == "int8":
            code = code.shared()
        made = source_text(description, code)
        _compare(path.name, source, made)
        _compare(path.with_suffix(".h").name, header, header_text(description, code))
    except (_Altered, InputError, ValueError, RecursionError) as error:
        # The cure of an InputError does not help here: the bad value is in the file.
        why = str(error).split(";")[0].split("\n")[0]
        raise InputError(
            f"{path} is not what export of ghostnet-small {__version__} writes ({why:.200}), and "
            "a program that anyone may have changed is not run; export the run again"
        ) from None
    return made


def _template(source: str, description: Description) -> Code:
    """Return the code of the described network, with placeholder numbers."""
    deployable = blank_network(description, len(source) / SHORTEST)
    plan = plan_of(deployable.network, description.size)
    if description.precision == "float32":
        return write_float(plan, pixels=deployable.normalization())
    grid = picture_grid(description.mean, description.std)
    return write_int8(plan, blank(plan), grid, pixels=deployable.pixels)


def _filled(code: Code, source: str) -> Code:
    """Return ``code`` with the numbers of the tables in ``source``, each in its own place."""
    start = f"{code.kind} *memory = workspace;\n"
    # The file has one of several equal tables, so each is known by the name where it is used.
    used = (word[0] for word in re.finditer(r"\w+", source.rpartition(start)[2]))
    ours = [word for line in code.lines for word in re.findall(r"\w+", line)]
    names = dict(zip(ours, used, strict=False))
    wanted = {names.get(table.name) for table in code.tables}
    starts = {head[1]: head.end() for head in _HEAD.finditer(source) if head[1] in wanted}

    def filled(table: Table) -> Table:
        name = names.get(table.name, table.name)
        if name not in starts:
            raise _Altered(f"the table {table.name} is missing")
        begin = starts[name]
        end = source.find("\n};", begin, begin + LONGEST * table.count)
        number = _NUMBER.get(table.kind, _NUMBER["int"])
        words = source[begin : max(begin, end)].replace(",", " ").split()
        if len(words) != table.count or not all(map(number.fullmatch, words)):
            raise _Altered(f"the table {name:.40} holds something else than {table.count} numbers")
        return replace(table, numbers=" ".join(words))

    return replace(code, tables=[t if t.places else filled(t) for t in code.tables])


def _compare(name: str, given: str, made: str) -> None:
    if given != made:
        pairs = enumerate(zip(given, made, strict=False))
        same = next((k for k, (one, other) in pairs if one != other), min(len(given), len(made)))
        line = made.count("\n", 0, same) + 1
        raise _Altered(f"line {line} of {name} differs")
