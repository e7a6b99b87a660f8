"""The site's source folder: the checkout's pages at their own paths, so that their links hold.

``README.md`` becomes the front page; what only a code-hosting site needs is changed.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FRONT = "index.md"
# The reports of studies that the site has, and what the side bar calls them.
REPORTS = {
    "results/strategies-10k": "Four ways of distillation",
    "results/headline-60ep": "60 epochs, distilled",
    "results/strong-teacher": "A strong teacher, all images",
    "results/diagnosis-10k": "A shortened paper recipe",
    "results/strategies": "An earlier study of two seeds",
}

# The order of the pages, by captions; the front page carries it.
PAGES = {
    "Start": ("self", "docs/tour", "docs/README"),
    "Tutorials": (
        "docs/tutorials/own-pictures",
        "docs/tutorials/distil-a-teacher",
        "docs/tutorials/reproduce-the-paper",
        "docs/tutorials/read-a-report",
    ),
    "Results": (
        "docs/results",
        "results/runs",
        "results/queue",
        *(f"{title} <{folder}/report>" for folder, title in REPORTS.items()),
    ),
    "Guides": (
        "docs/fit",
        "docs/weights",
        "docs/demo",
        "docs/data",
        "docs/training",
        "docs/distillation",
        "docs/studies",
        "docs/deployment",
        "docs/hub",
        "docs/processes",
        "docs/scaling",
    ),
    "Reference": (
        "reference/commands",
        "reference/settings",
        "reference/recipes",
        "reference/api",
    ),
    "Design": (
        "docs/design",
        "docs/performance",
        "docs/reliability",
        "docs/security",
        "docs/extending",
        "docs/releasing",
        "CHANGELOG",
    ),
}

_PICTURE = re.compile(
    r'<picture><source media="\(prefers-color-scheme: dark\)" srcset="(?P<dark>[^"]+)">'
    r'<img alt="(?P<alt>[^"]*)" src="(?P<light>[^"]+)"></picture>'
)

_FRONT = re.compile(r"\]\(((?:\.\./)+)README\.md")


def stage(into: Path) -> None:
    """Write all pages that are not generated, and the files that they show, below ``into``."""
    for file in pages():
        name = FRONT if file == ROOT / "README.md" else file.relative_to(ROOT).as_posix()
        write(into / name, page_text(file))
    folders = (ROOT / "results/plots", ROOT / "docs/images")
    pictures = [ROOT / "results/deploy.png"]
    pictures += [file for folder in folders for file in sorted(folder.glob("*.png"))]
    for folder in REPORTS:
        pictures += sorted((ROOT / folder / "plots").glob("*.svg"))
    for picture in pictures:
        copy(picture, into / picture.relative_to(ROOT))


def pages() -> list[Path]:
    """The checkout's Markdown that the site has."""
    front = [ROOT / name for name in ("README.md", "CHANGELOG.md")]
    front += [ROOT / "results" / name for name in ("runs.md", "queue.md")]
    front += [ROOT / folder / "report.md" for folder in REPORTS]
    return front + sorted((ROOT / "docs").rglob("*.md"))


def page_text(file: Path) -> str:
    """A page as the site has it."""
    text = file.read_text()
    # A site has a switch for dark colours, which the browser's own setting knows nothing of.
    text = _PICTURE.sub(_two_pictures, text)
    text = _FRONT.sub(rf"](\1{FRONT}", text)
    return text + navigation() if file == ROOT / "README.md" else text


def navigation() -> str:
    """The tables of contents of the side bar."""
    return "".join(
        f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(names) + "\n```\n"
        for caption, names in PAGES.items()
    )


def write(path: Path, text: str) -> None:
    """Write ``text`` where it is not there yet: Sphinx reads a changed file again."""
    if not path.is_file() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def copy(source: Path, path: Path) -> None:
    """Copy a file, unless the same is there."""
    if not path.is_file() or path.read_bytes() != source.read_bytes():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)


def _two_pictures(found: re.Match[str]) -> str:
    return "\n".join(
        f"```{{image}} {found[kind]}\n:alt: {found['alt']}\n:class: only-{kind}\n```\n"
        for kind in ("light", "dark")
    )
