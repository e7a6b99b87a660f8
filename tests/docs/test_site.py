"""The site is built without a warning, and all that it points to is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from docs_blocks import ROOT, pages
from docs_links import broken_links, well_formed
from ghostnet_small.recipe.recipe import known_keys

NOTEBOOKS = sorted((ROOT / "docs").rglob("*.ipynb"))


# On busy cores it takes nearly the usual ten minutes.
@pytest.mark.timeout(1800)
def test_site(tmp_path: Path) -> None:
    """One build, the notebook's run in it; what is asked of it is asked in turn."""
    site = tmp_path / "site"
    done = subprocess.run(
        [sys.executable, "tools/site/build.py", "--out", str(site), "--work", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONWARNINGS": "default"},
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    assert broken_links(site) == []

    # Each page is there, and what is made of the program.
    for page in pages():
        html = site / ("index.html" if page == "README.md" else page.replace(".md", ".html"))
        assert html.is_file(), page
    settings = (site / "reference/settings.html").read_text()
    assert [key for key in known_keys() if f'id="confval-{key}"' not in settings] == []
    commands = (site / "reference/commands.html").read_text()
    assert all(f'id="{name}"' in commands for name in ("train", "export", "benchmark-deploy"))
    losses = (site / "reference/api/losses.html").read_text()
    assert 'id="ghostnet_small.distill.kd_loss"' in losses
    # Raises and Source as fields, not as prose.
    assert "https://arxiv.org/abs/1503.02531" in losses
    assert 'Raises<span class="colon">' in losses and "<p>Raises " not in losses

    # The notebook has been run: its pictures are on its page.
    assert (site / "docs/tour.html").read_text().count("<img") >= 4
    # Searching needs no server.
    assert "kd_loss" in (site / "searchindex.js").read_text()


def test_make_docs_builds_the_site_with_what_it_needs() -> None:
    # A make that runs these tests hands its own flags on, and its remarks on folders.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    words = ["make", "--dry-run", "--always-make", "docs"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=clean)
    assert "--editable '.[docs]'" in done.stdout
    command = done.stdout.splitlines()[-1].split()
    assert command[0].endswith("python") and (ROOT / command[1]).is_file()
    assert command[2:] == ["--out", "build/site"]


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.name)
def test_notebooks_are_committed_without_outputs(file: Path) -> None:
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert [cell.source for cell in code if cell.outputs or cell.execution_count] == []
    # Nothing of the machine that it was written on.
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert "version" not in json.dumps(notebook.metadata)


def test_the_checker_of_links_sees_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<p id="here"></p><a href="#here">.</a><a href="b.html#there">.</a><a href="#gone">.</a>'
        '<a href="c.html">.</a><a href="https://arxiv.org/abs/1503.02531">.</a>'
        '<a href="https://no host/">.</a><script src="https://cdn.example/x.js"></script>'
        '<img src="missing.png">'
    )
    (tmp_path / "b.html").write_text('<h1 id="there">.</h1>')
    (tmp_path / "x.css").write_text("@font-face { src: url('https://fonts.example/f.woff') }")
    assert broken_links(tmp_path) == [
        "a.html fetches https://cdn.example/x.js",
        "a.html fetches missing.png",
        "a.html links to #gone, which has no such anchor",
        "a.html links to c.html, which is not there",
        "a.html has the malformed address https://no host/",
        "x.css fetches https://fonts.example/f.woff",
    ]
    assert not well_formed("https://arxiv") and not well_formed("http://example.org/")
