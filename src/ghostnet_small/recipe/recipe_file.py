"""The YAML of a recipe: numbers as people write them, no aliases, and a digest of its own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from ghostnet_small.errors import InputError
from ghostnet_small.files import read_text
from ghostnet_small.plain_yaml import LARGEST, YAMLError, dump_yaml, load_words, load_yaml

LONGEST_VALUE = 1 << 16  # characters of a setting that is no text
_DIGEST = "# digest: "

What = Literal["recipe", "study", "facts"]
EXAMPLES: dict[What, str] = {
    "recipe": "recipes/gns-w1.0-cifar10.yaml",
    "study": "recipes/studies/quickstart-digits.yaml",
    "facts": "results/published.yaml",
}
BEGIN: dict[What, str] = {
    "recipe": "train:",
    "study": "students:",
    "facts": "figures:",
}


def read_yaml(path: Path, *, what: What = "recipe", largest: int = LARGEST) -> dict[Any, Any]:
    """The mapping that a recipe's, a study's or another such file holds, of plain values.

    Raises ``InputError`` where the file is missing, no YAML or no mapping, or was changed after
    ``recipe_text``.
    """
    try:
        text = read_text(path, largest)
        _check_digest(text, path, what)
        written = load_yaml(text, largest)
    except OSError as error:
        raise InputError(
            f"{what} {path} cannot be read ({error.strerror}); give a YAML file, such as "
            f"{EXAMPLES[what]}"
        ) from None
    except (YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{what} {path} is no YAML: {reason[:500]}") from None
    if not isinstance(written, dict):
        raise InputError(
            f"{what} {path} is no mapping of settings; begin with a line '{BEGIN[what]}'"
        )
    return written


def read_names(text: str) -> tuple[str, ...] | None:
    """The words of a YAML list such as ``[no, 010]``, each as it is written.

    None where ``text`` is no list of words.
    """
    try:
        written = load_words(text)
    except YAMLError:
        return None
    if not isinstance(written, list) or not all(isinstance(word, str) for word in written):
        return None
    return tuple(written)


def read_value(text: str) -> Any:
    """Return the YAML value of one setting's ``text``, or ``text`` itself where it is no YAML."""
    value = read_number(text)
    if not isinstance(value, str) or not text.strip():
        return value
    try:
        return load_yaml(text, LONGEST_VALUE)
    except YAMLError:
        return text


def read_number(text: str) -> int | float | str:
    """The number that ``text`` is as people write it, in which 010 is 10; else ``text``."""
    if re.fullmatch(r"[-+.\deE]+", text):
        for number in (int, float):
            with suppress(ValueError):
                return number(text)
    return text


def recipe_text(values: Mapping[str, Any]) -> str:
    """The file of a recipe's plain values: a line with its SHA-256, then its YAML.

    ``read_yaml`` compares the digest, and gives equal values.
    """
    return _with_digest(yaml_text(values))


def yaml_text(values: Mapping[str, Any]) -> str:
    """Plain values as YAML that ``read_yaml`` reads as the same values."""
    return dump_yaml(dict(values))


def _with_digest(text: str) -> str:
    # In front: a file that was cut short has lost its end.
    return f"{_DIGEST}{hashlib.sha256(text.encode()).hexdigest()}\n{text}"


def _check_digest(text: str, path: Path, what: What) -> None:
    if text.startswith(_DIGEST) and _with_digest(text.partition("\n")[2]) != text:
        raise InputError(
            f"{what} {path} was changed since it was written, for its digest is another; copy it "
            "again, or delete its line '# digest' if you changed it by hand"
        )
