"""The only parser of YAML: plain values, with bounds against untrusted text."""

from __future__ import annotations

import re
from typing import Any

import yaml

LARGEST = 1 << 20  # characters
DEEPEST = 32  # lists and mappings in each other
MOST_NODES = 200_000  # values and keys
LONGEST_TAG = 100
LONGEST_NUMBER = 1000  # digits; PyYAML reads 1:1:1 in base 60, in quadratic time
LONGEST_KEY = 8  # digits of a number that is a key

YAMLError = yaml.YAMLError
_KEYS = (int, float, bool, type(None))


def load_yaml(text: str, largest: int = LARGEST) -> Any:
    """The plain values that ``text`` describes: ``1e-3`` is a number, and there are no aliases.

    Time and memory are linear in the length of ``text``, which is at most ``largest``.

    Raises ``YAMLError`` where ``text`` is no YAML, a key comes twice, or a bound is exceeded.
    """
    return _load(text, _Loader, largest)


def load_words(text: str) -> Any:
    """As ``load_yaml``, but each value is the text that is written: ``no``, ``010``, ``null``."""
    return _load(text, _WordLoader, LARGEST)


def dump_yaml(values: dict[str, Any]) -> str:
    """Plain values as YAML that ``load_yaml`` reads as the same values."""
    return str(yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True))


def _load(text: str, loader: Any, largest: int) -> Any:
    if len(text) > largest:
        raise YAMLError(f"it has {len(text):,} characters; at most {largest:,} are read")
    try:
        return yaml.load(text, Loader=loader)
    except YAMLError:
        raise
    except Exception as error:  # PyYAML's constructors raise almost any type on odd scalars
        raise YAMLError(str(error) or type(error).__name__) from None


class _Bounds:
    """Refuses a node before it is made: PyYAML keeps all of them until the end."""

    nodes = depth = 0

    def compose_node(self: Any, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            # Ten lines of aliases of aliases would be a value, and a message, of gigabytes.
            _refuse(f"the alias *{event.anchor} is not allowed; write its value out", event)
        # A %TAG line makes a long tag of a short one, as often as it is used.
        if len(event.tag or "") > LONGEST_TAG:
            _refuse(f"a tag is longer than {LONGEST_TAG} characters", event)
        self.nodes += 1
        self.depth += 1
        if self.nodes > MOST_NODES:
            _refuse(f"it has more than {MOST_NODES:,} values", event)
        if self.depth > DEEPEST:
            _refuse(f"it is nested more than {DEEPEST} levels deep", event)
        node = super().compose_node(parent, index)  # type: ignore[misc]
        self.depth -= 1
        return node

    def construct_mapping(self: Any, node: Any, deep: bool = False) -> Any:
        # YAML would keep the last of two and drop the first: in a study, a whole run.
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str):
                if key in seen:
                    _refuse(f"the key {key!r} comes twice; give each key once", node)
                seen.add(key)
            # Long numbers can be chosen so that their hashes collide, and text cannot.
            elif not isinstance(key, _KEYS) or len(key_node.value) > LONGEST_KEY:
                _refuse("a key is neither text nor a short number", key_node)
        return super().construct_mapping(node, deep)  # type: ignore[misc]


def _refuse(problem: str, there: Any) -> None:
    raise yaml.MarkedYAMLError(problem=problem, problem_mark=there.start_mark)


class _Loader(_Bounds, yaml.SafeLoader):
    """YAML in which ``1e-3`` is a number: YAML 1.1 wants ``1.0e-3``, and nobody writes that."""

    def construct_number(self, node: Any) -> Any:
        if len(self.construct_scalar(node)) > LONGEST_NUMBER:
            _refuse(f"a number is longer than {LONGEST_NUMBER} digits", node)
        whole = node.tag == "tag:yaml.org,2002:int"
        return self.construct_yaml_int(node) if whole else self.construct_yaml_float(node)


class _WordLoader(_Bounds, yaml.BaseLoader):
    """A loader that keeps every word as text: it knows no numbers, null or booleans."""


class _Dumper(yaml.SafeDumper):
    """Writes the text "1e3" with quotes, because ``_Loader`` would read a number."""


for _word in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_word}", _Loader.construct_number)
for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
        list("-+0123456789"),
    )
