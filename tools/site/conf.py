"""Sphinx's settings. The source folder is not ``docs`` but what ``build.py`` puts together."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from ghostnet_small.version import __version__  # noqa: E402

project = "GhostNet-Small"
author = "The GhostNet-Small authors"
version = release = __version__
root_doc = "index"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "wording",
]

# Markdown as it is on a code-hosting site: anchors of headings, and no syntax of Sphinx's own.
myst_heading_anchors = 3
myst_enable_extensions = ["attrs_inline"]
# The notebook comes executed: build.py runs it, once.
nb_execution_mode = "off"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_inherit_docstrings = False
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

# Every name of this package must lead somewhere. The pages of other packages are not at hand: the
# build asks nothing of the network.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(?!ghostnet_small\b).*"),
    # Variables of types.
    (r"py:.*", r"ghostnet_small\.data\.augment\.Number|ghostnet_small\.study\.classifier\.Data"),
]

# What is code but of no language is not Python.
highlight_language = "none"

html_theme = "furo"
html_title = "GhostNet-Small"
html_static_path = [str(HERE / "static")]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_show_copyright = False
html_theme_options = {"top_of_page_buttons": []}
