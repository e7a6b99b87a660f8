"""The YAML of a recipe: numbers as people write them, no aliases, and a digest of its own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from ghostnet_small.errors import InputError
from ghostnet_small.files import read_text

LARGEST = 1 << 20  # bytes
_DIGEST = "# digest: "

What = Literal["recipe", "study", "facts", "queue"]
EXAMPLES: dict[What, str] = {
    "recipe": "recipes/gns-w1.0-cifar10.yaml",
    "study": "recipes/studies/quickstart-digits.yaml",
    "facts": "results/published.yaml",
    "queue": "results/queue.yaml",
}
BEGIN: dict[What, str] = {
    "recipe": "train:",
    "study": "students:",
    "facts": "figures:",
    "queue": "runs:",
}


def read_yaml(path: Path, *, what: What = "recipe", largest: int = LARGEST) -> dict[Any, Any]:
    """The mapping that a recipe's, a study's or another such file holds, of plain values.

    Raises ``InputError`` where the file is missing, no YAML or no mapping, or was changed after
    ``recipe_text``.
    """
    try:
        text = read_text(path, largest)
        _check_digest(text, path, what)
        written = yaml.load(text, Loader=_Loader)
    except OSError as error:
        raise InputError(
            f"{what} {path} cannot be read ({error.strerror}); give a YAML file, such as "
            f"{EXAMPLES[what]}"
        ) from None
    except InputError:
        raise
    except Exception as error:  # PyYAML's constructors raise almost any type on odd scalars
        reason = " ".join(str(error).split()) or type(error).__name__
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
        # Which of all words are numbers, null or false is left out of this loader.
        written = yaml.load(text, Loader=yaml.BaseLoader)
    except Exception:  # PyYAML raises many types
        return None
    if not isinstance(written, list) or not all(isinstance(word, str) for word in written):
        return None
    return tuple(written)


def recipe_text(values: Mapping[str, Any]) -> str:
    """The file of a recipe's plain values: a line with its SHA-256, then its YAML.

    ``read_yaml`` compares the digest, and gives equal values.
    """
    return _with_digest(yaml_text(values))


def yaml_text(values: Mapping[str, Any]) -> str:
    """Plain values as YAML that ``read_yaml`` reads as the same values."""
    return str(yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True))


def _with_digest(text: str) -> str:
    # In front: a file that was cut short has lost its end.
    return f"{_DIGEST}{hashlib.sha256(text.encode()).hexdigest()}\n{text}"


def _check_digest(text: str, path: Path, what: What) -> None:
    if text.startswith(_DIGEST) and _with_digest(text.partition("\n")[2]) != text:
        raise InputError(
            f"{what} {path} was changed since it was written, for its digest is another; copy it "
            "again, or delete its line '# digest' if you changed it by hand"
        )


class _Loader(yaml.SafeLoader):
    """YAML in which ``1e-3`` is a number: YAML 1.1 wants ``1.0e-3``, and nobody writes that.

    Nothing is said twice by an alias: ten lines of aliases of aliases would be a value, and a
    message, of gigabytes.
    """

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        # YAML would take the last of two and forget the first: of a study, a whole run.
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if isinstance(key, str) and keys.count(key) > 1:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key!r} comes twice; give each key once",
                    problem_mark=node.start_mark,
                )
        return super().construct_mapping(node, deep)

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.MarkedYAMLError(
                problem=f"the alias *{event.anchor} is not allowed; write its value out",
                problem_mark=event.start_mark,
            )
        return super().compose_node(parent, index)


class _Dumper(yaml.SafeDumper):
    """Writes the text "1e3" with quotes, for ``_Loader`` takes it for a number without."""


for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
        list("-+0123456789"),
    )
