"""Pages made of the program itself: its commands, a recipe's settings, recipes, the API."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import ghostnet_small
from ghostnet_small.cli.command import PROGRAM, Command, Commands
from ghostnet_small.cli.commands import COMMANDS
from ghostnet_small.cli.program import Parser
from ghostnet_small.recipe.recipe import Recipe, known_keys, rooms, settings
from ghostnet_small.recipe.recipe_help import about, meanings, written
from ghostnet_small.recipe.setting_words import words
from ghostnet_small.recipe.shipped_recipes import shipped_recipes, shipped_studies
from stage import write

# Modules that show what they import.
PACKAGE = "ghostnet_small"
DOORS = (PACKAGE, "ghostnet_small.distill")

# What users reach from Python: a page's name, its title and its modules.
API = {
    "package": ("The package", PACKAGE),
    "verbs": (
        "The commands in Python",
        *("ghostnet_small.verbs.training", "ghostnet_small.verbs.using"),
        "ghostnet_small.verbs.results",
    ),
    "networks": (
        "Networks",
        *("ghostnet_small.models.ghostnetv3", "ghostnet_small.models.timm_network"),
    ),
    "folding": (
        "Folding, parameters and MACs",
        "ghostnet_small.nn.fold",
        "ghostnet_small.nn.complexity",
    ),
    "data": ("Data sets", "ghostnet_small.data.sources", "ghostnet_small.data.dataset"),
    "pictures": (
        "Images and their views",
        *("ghostnet_small.data.pictures", "ghostnet_small.data.augment"),
        "ghostnet_small.data.decoded.mapped",
    ),
    "losses": ("Losses of distillation", "ghostnet_small.distill"),
    "figures": ("Figures of a classification", "ghostnet_small.train.metrics"),
    "settings": (
        "Recipes and settings",
        *("ghostnet_small.recipe.recipe", "ghostnet_small.models.settings"),
        *("ghostnet_small.data.settings", "ghostnet_small.train.optim"),
        *("ghostnet_small.train.schedule", "ghostnet_small.train.settings"),
        "ghostnet_small.distill.settings",
    ),
    "classifiers": (
        "Classifiers and predictions",
        *("ghostnet_small.use.classifier", "ghostnet_small.use.image_inputs"),
        "ghostnet_small.use.prediction",
    ),
    "weights": (
        "Weights, their cards and the hub",
        *("ghostnet_small.models.weights", "ghostnet_small.models.shipped_weights"),
        "ghostnet_small.publish.weight_records",
        *("ghostnet_small.publish.card", "ghostnet_small.publish.push_pull"),
    ),
    "demo": (
        "The demo's files and server",
        *("ghostnet_small.demo.bundle", "ghostnet_small.demo.opened"),
        *("ghostnet_small.demo.activation", "ghostnet_small.demo.server"),
    ),
    "exports": (
        "Exported files",
        *("ghostnet_small.deploy.formats", "ghostnet_small.deploy.description"),
        "ghostnet_small.deploy.session",
        *("ghostnet_small.use.export", "ghostnet_small.use.agreement"),
    ),
}


def write_reference(into: Path) -> None:
    """All generated pages below ``into``."""
    write(into / "reference/commands.md", commands_page())
    write(into / "reference/settings.md", settings_page())
    write(into / "reference/recipes.md", recipes_page())
    write(into / "reference/api.md", api_page())
    for name, (title, *modules) in API.items():
        write(into / "reference/api" / f"{name}.md", modules_page(title, modules))


def commands_page() -> str:
    """Each command: what it does, its usage, its options."""
    text = (
        "# Commands\n\nThe text of `ghostnet-small COMMAND --help` and `--help-settings`. Results "
        "go to standard output, all else to standard error; `--json` prints a command's result "
        "as one JSON value. Exit status: 0; 2 for a mistake in the command, a recipe or the data; "
        "3 for a check that failed, a loss that is not finite, one of several runs that failed or "
        "one of several images that cannot be read; 130 and 143 after Ctrl-C and SIGTERM.\n"
    )
    for name, command in all_commands():
        parser = Parser(name, command)
        text += f"\n## {name}\n\n{command.summary}\n\n```text\n{_usage(parser)}\n```\n"
        text += f"\n```{{program}} {PROGRAM} {name}\n```\n"
        # What has no dashes first, as it is written; --json, which all have, last.
        for action in sorted(parser._actions, key=_place):
            if action.dest not in ("help", "help_settings"):
                text += f"\n```{{option}} {_spelling(action)}\n\n{_meaning(action)}\n```\n"
        text += _settings_of(command)
    return text


def all_commands(commands: Commands = COMMANDS, before: str = "") -> Iterator[tuple[str, Command]]:
    """Every command by its words, in the order of ``--help``."""
    for name, found in commands.items():
        if isinstance(found, Command):
            yield before + name, found
        else:
            yield from all_commands(found, f"{before}{name} ")


def settings_page() -> str:
    """A recipe's settings with types and defaults, from the docstrings of their dataclasses."""
    text = (
        "# A recipe's settings\n\nA recipe's file has `room: {setting: value}`, the command line "
        "`--room.setting value`, which goes before the file. [Training](../docs/training.md) says "
        "what they mean where a word is not enough.\n"
    )
    text += _setting("name", meanings(Recipe)["name"])
    for room, kind in rooms().items():
        source = re.search(r"^Source: .*", inspect.getdoc(kind) or "", re.DOTALL | re.MULTILINE)
        text += f"\n## {room}\n\n{_plain(about(kind))}\n"
        for name, meaning in meanings(kind).items():
            text += _setting(f"{room}.{name}", meaning)
        text += f"\n{_plain(source[0])}\n" if source else ""
    return text


def recipes_page() -> str:
    """The shipped recipes and studies, as they are."""
    text = (
        "# Shipped recipes\n\nA recipe says on top its command, its cost and what to expect. The "
        "commands take its path or its name, as it stands here.\n"
    )
    for title, found in (("Recipes", shipped_recipes()), ("Studies", shipped_studies())):
        text += f"\n## {title}\n"
        for name, file in found.items():
            text += f"\n### {name}\n\n```yaml\n{file.read_text().rstrip()}\n```\n"
    return text


def api_page() -> str:
    """The list of the pages on modules."""
    lines = [
        f"- [{title}](api/{name}.md): {', '.join(f'`{module}`' for module in modules)}"
        for name, (title, *modules) in API.items()
    ]
    names = "\n".join(f"api/{name}" for name in API)
    return (
        "# From Python\n\nWhat `import ghostnet_small as gns` gives, and modules behind the "
        "commands. Shapes are `(N, C, H, W)`; a mistake of the caller's is an `InputError`, which "
        "is a `ValueError`.\n\n"
        + "\n".join(lines)
        + f"\n\n```{{toctree}}\n:hidden:\n\n{names}\n```\n"
    )


def modules_page(title: str, modules: Sequence[str]) -> str:
    """The public names of modules, from their docstrings."""
    text = f"# {title}\n"
    for module in modules:
        imported = "   :imported-members:\n" if module in DOORS else ""
        if module == PACKAGE:
            # What a module with a page of its own defines is described there.
            imported += f"   :exclude-members: {', '.join(_elsewhere())}\n"
            text += "\nBeside what follows it has what other pages describe: "
            text += ", ".join(f"{{py:obj}}`{name} <{full}>`" for name, full in _elsewhere().items())
            text += ".\n"
        text += f"\n## {module}\n" if len(modules) > 1 else ""
        text += f"\n```{{eval-rst}}\n.. automodule:: {module}\n   :members:\n{imported}```\n"
    return text


def _elsewhere() -> dict[str, str]:
    """Names of the package that are described with their module, and their full names."""
    described = {module for _, *modules in API.values() for module in modules}
    found = {name: getattr(ghostnet_small, name) for name in ghostnet_small.__all__}
    homes = {name: getattr(thing, "__module__", "") for name, thing in found.items()}
    # Packages that are called in place of the verbs of their names.
    called = [name for name, thing in found.items() if isinstance(thing, ModuleType)]
    homes |= dict.fromkeys(called, "ghostnet_small.verbs.training")
    return {name: f"{home}.{name}" for name, home in homes.items() if home in described}


def _place(action: argparse.Action) -> int:
    return 0 if not action.option_strings else 2 if action.dest == "json" else 1


def _usage(parser: Parser) -> str:
    return parser.format_usage().removeprefix("usage: ").strip()


def _spelling(action: argparse.Action) -> str:
    if action.choices is not None:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    else:
        value = str(action.metavar or action.dest.upper())
    if not action.option_strings:
        return str(action.metavar or action.dest)
    flag = action.nargs == 0
    return ", ".join(name if flag else f"{name} {value}" for name in action.option_strings)


def _meaning(action: argparse.Action) -> str:
    # In running text two dashes would become one.
    text = _plain(re.sub(r"(?<!\w)--[a-z][\w-]*", r"``\g<0>``", action.help or ""))
    return text[:1].upper() + text[1:] + "."


def _settings_of(command: Command) -> str:
    if command.settings is None:
        return ""
    keys = list(command.settings())
    rooms = dict.fromkeys(key.partition(".")[0] for key in keys)
    if set(keys) == set(known_keys()):
        what = "every setting of a recipe"
    elif all(k in keys for k in known_keys() if k.partition(".")[0] in rooms):
        what = "the settings of " + ", ".join(f"[{r}](settings.md#{r})" for r in rooms)
    else:
        what = "of a recipe's settings " + ", ".join(f"`--{key}`" for key in keys)
    return f"\nIt takes {what} as well; [settings](settings.md) has what they mean.\n"


def _setting(key: str, meaning: str) -> str:
    kind, field = settings()[key]
    text, what = _plain(meaning), words(kind)
    return (
        f"\n```{{confval}} {key}\n\n{text[:1].upper()}{text[1:]}\n\n"
        f"{what[:1].upper()}{what[1:]}; by default `{written(field.default)}`.\n```\n"
    )


def _plain(text: str) -> str:
    """A docstring's words in Markdown, on one line a paragraph."""
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n")]
    parts = "\n\n".join(paragraphs).replace("``", "`").split("`")
    # Every second part is code, in which nothing has to be escaped.
    parts[::2] = [re.sub(r"([*<_\[])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)
