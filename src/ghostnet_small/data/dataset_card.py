"""The card of a Hugging Face data set, ``README.md``: untrusted text that names files, columns
and classes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from ghostnet_small.errors import InputError
from ghostnet_small.files import read_text
from ghostnet_small.plain_yaml import YAMLError, load_yaml

README, SECOND, LEGACY = "README.md", ".huggingface.yaml", "dataset_infos.json"
CARD_FILES = (README, SECOND, LEGACY)
LARGEST = 4 << 20  # characters: ImageNet-21k's class names are a million
MOST_CLASSES = 1 << 20
MOST_PATTERNS = 1000
MOST_EMPTY_LINES = 1000


@dataclass(frozen=True)
class Card:
    """The description of a data set by its own files; ``where`` is its name in messages.

    ``configs`` are the sets that it holds, as ``README.md`` lists them; ``infos`` the columns of
    each in YAML's form, ``legacy`` those in JSON's.
    """

    where: str
    configs: Sequence[Mapping[str, Any]]
    infos: Mapping[str, Any]
    legacy: Mapping[str, Any]

    def splits(self, files: Sequence[str]) -> dict[str, list[str]]:
        """The splits' files, of ``files``, the paths of all that lie in the set's folder.

        Raises ``InputError`` where the card lists several sets, ``FileNotFoundError`` where a file
        that it names is not among ``files``.
        """
        config = self._config()
        base = str(PurePosixPath(config.get("data_dir") or "."))
        patterns = _patterns(config.get("data_files"), self.where)
        if patterns is None:
            # ``datasets`` decides which names are splits.
            from datasets.data_files import _get_data_files_patterns

            patterns = _get_data_files_patterns(lambda pattern: _matching([pattern], base, files))
        return {split: _matching(of_split, base, files) for split, of_split in patterns.items()}

    def features(self) -> dict[str, Any]:
        """The columns' types, as ``datasets.Features``; empty where the card does not give them."""
        import datasets
        from datasets.info import DatasetInfosDict

        config = self._config()
        there = {**self.legacy, **self.infos}
        name = config.get("config_name", next(iter(there)) if len(there) == 1 else "default")
        told = config.get("features") or self.infos.get(name)
        if told:
            infos = DatasetInfosDict.from_dataset_card_data({"dataset_info": {"features": told}})
            return dict(infos["default"].features or {})
        return dict(datasets.Features.from_dict(self.legacy.get(name) or {}))

    def _config(self) -> Mapping[str, Any]:
        one = len(self.configs) == 1
        default = [
            config
            for config in self.configs
            if one or config["config_name"] == "default" or config.get("default")
        ]
        if self.configs and len(default) != 1:
            names = ", ".join(repr(config["config_name"]) for config in self.configs)
            raise InputError(
                f"{self.where} holds several data sets ({names[:1000]}); give the folder of one "
                "of them"
            )
        return default[0] if default else {}


def read_card(where: str, files: Mapping[str, Path]) -> Card:
    """The card of the set ``where``; ``files`` are those of ``CARD_FILES`` that it has.

    Raises ``InputError`` where they cannot be read, name files outside of the set, or describe
    columns that cannot be.
    """
    values: dict[str, Any] = {}
    for name in (README, SECOND):
        if name in files:
            text = _text(files[name])
            values |= _yaml(_block(text) if name == README else text, files[name])
    legacy = _json(files[LEGACY]) if LEGACY in files else {}
    check_columns(where, [values.get("configs"), values.get("dataset_info")])
    configs = values.get("configs") or []
    if not isinstance(configs, list) or not all(
        isinstance(one, dict) and isinstance(one.get("config_name"), str) for one in configs
    ):
        raise InputError(
            f"{where}: configs in {README} is not a list of sets, each with config_name"
        )
    for one in configs:
        check_inside(where, one.get("data_dir") or ".")
        for of_split in (_patterns(one.get("data_files"), where) or {}).values():
            for pattern in of_split:
                check_inside(where, pattern)
    infos = values.get("dataset_info") or []
    infos = [infos] if isinstance(infos, dict) else infos
    if not isinstance(infos, list) or not all(isinstance(one, dict) for one in infos):
        raise InputError(
            f"{where}: dataset_info in {README} is not a mapping or a list of mappings"
        )
    found = {str(one.get("config_name", "default")): one.get("features") for one in infos}
    old = {name: one.get("features") for name, one in legacy.items() if isinstance(one, dict)}
    if len(old) == 1:
        old = {"default": next(iter(old.values()))}
    return Card(where, configs, found, old)


def check_inside(where: str, path: Any) -> None:
    """Raise ``InputError`` where ``path``, which a card names, is none of the set's own files."""
    if (
        not isinstance(path, str)
        or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:|[/~\\]", path)
        or "::" in path
        or "://" in path
        or ".." in PurePosixPath(path).parts
    ):
        raise InputError(
            f"{where}: its card names {str(path)[:200]!r}, which is not a file of the data set; "
            "only paths below its folder are read: correct data_files and data_dir in its README.md"
        )


def check_columns(where: str, described: Any) -> None:
    """Raise ``InputError`` where class names, as plain values, have numbers that are too large:
    ``datasets`` makes a list of all numbers up to the largest one."""
    left = [described]
    while left:
        value = left.pop()
        if isinstance(value, list):
            left += value
        if not isinstance(value, dict):
            continue
        left += value.values()
        names = value.get("names")
        count = max(map(_number, names), default=0) if isinstance(names, dict) else 0
        if count > MOST_CLASSES:
            raise InputError(
                f"{where}: a class has the number {count:,}; number the classes from 0 on"
            )


def _number(key: Any) -> int:
    try:
        return int(key)
    except (TypeError, ValueError, OverflowError):
        return 0  # ``datasets`` refuses it


def _patterns(told: Any, where: str) -> dict[str, list[str]] | None:
    """The patterns of each split, in whichever form a card has them; None where it has none."""
    if told is None:
        return None
    if isinstance(told, str):
        return {"train": [told]}
    found: dict[str, list[str]] = {}
    for one in told if isinstance(told, list) else [told]:
        split, path = (one.get("split"), one.get("path")) if isinstance(one, dict) else (None, one)
        paths: list[Any] = path if isinstance(path, list) else [path]
        if not all(isinstance(path, str) for path in paths) or not isinstance(
            split, str | type(None)
        ):
            raise InputError(
                f"{where}: data_files in {README} is neither a path, nor a list of paths, nor a "
                "list with a split and its path each"
            )
        found.setdefault(split or "train", []).extend(paths)
    if sum(_is_wild(path) for paths in found.values() for path in paths) > MOST_PATTERNS:
        raise InputError(
            f"{where}: data_files in {README} has more than {MOST_PATTERNS:,} patterns"
        )
    return found


def _matching(patterns: Iterable[str], base: str, files: Sequence[str]) -> list[str]:
    """Those of ``files`` that ``patterns`` below the folder ``base`` mean, as ``datasets`` takes
    them; raises ``FileNotFoundError`` for a path without wildcards that is not there."""
    there, found = set(files), []
    for pattern in patterns:
        whole = str(PurePosixPath(base, pattern))
        if _is_wild(whole):
            found += [file for file in files if _matches(file, whole)]
        elif whole in there:
            found.append(whole)
        else:
            raise FileNotFoundError(f"there is no parquet file {whole[:200]!r}")
    return list(dict.fromkeys(found))


def _is_wild(pattern: str) -> bool:
    return any(sign in pattern for sign in "*?[")


def _matches(file: str, pattern: str) -> bool:
    parts, wanted = PurePosixPath(file).parts, PurePosixPath(pattern).parts
    # Hidden folders and those such as __pycache__ only where the pattern has them, too.
    for sign, end in ((".", None), ("__", -1)):
        hidden, asked = (
            sum(part.startswith(sign) for part in one[:end]) for one in (parts, wanted)
        )
        if hidden != asked:
            return False

    if wanted[-1] == "**":  # a file must be left for it
        wanted = (*wanted, "*")

    def with_none(reached: set[int]) -> set[int]:
        """Also what is reached where ** stands for no folder."""
        for number, word in enumerate(wanted):
            if number in reached and word == "**":
                reached.add(number + 1)
        return reached

    reached = with_none({0})
    for part in parts:
        reached = with_none(
            {
                number + (wanted[number] != "**")
                for number in reached
                if number < len(wanted)
                and (wanted[number] == "**" or fnmatchcase(part, wanted[number]))
            }
        )
    return len(wanted) in reached


def _text(path: Path) -> str:
    try:
        text = read_text(path)
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; write it again") from None
    # ``huggingface_hub`` looks for the card's end in a time that is quadratic in them.
    if re.search(f"[\r\n]{{{MOST_EMPTY_LINES}}}", text):
        raise InputError(f"{path} has more than {MOST_EMPTY_LINES:,} empty lines; remove them")
    return text


def _block(text: str) -> str:
    """The YAML between two lines of ``---`` at the beginning of a card."""
    lines = re.split(r"\r\n|\r|\n", text.lstrip())
    if lines[0] != "---" or "---" not in lines[1:]:
        return ""
    return "\n".join(lines[1 : lines.index("---", 1)])


def _yaml(text: str, path: Path) -> dict[str, Any]:
    try:
        values = load_yaml(text, LARGEST)
    except YAMLError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"the card {path} is not YAML: {reason[:500]}") from None
    if not isinstance(values, dict | None):
        raise InputError(f"the card {path} is not a mapping; write lines such as 'configs:'")
    return values or {}


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}); delete it or write it again") from None
    if not isinstance(values, dict):
        raise InputError(f"{path} is not a mapping; delete it or write it again")
    return values
