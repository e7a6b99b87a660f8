"""Makes the site: ``python tools/site/build.py [--out build/site]``, or ``make docs``.

The pages are put together below ``build/pages``, the notebook is run, the reference is written from
the program, and Sphinx makes ``build/site``. A warning is an error.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from sphinx.cmd.build import main as sphinx

from notebook import executed_notebook
from reference import write_reference
from stage import ROOT, stage, write

HERE = Path(__file__).resolve().parent


def build(work: Path, out: Path) -> int:
    """The site in ``out``, with what is kept between builds in ``work``; Sphinx's exit status."""
    # The width of the lines of a usage.
    os.environ["COLUMNS"] = "80"
    pages = work / "pages"
    stage(pages)
    write_reference(pages)
    write(pages / "docs/tour.ipynb", executed_notebook(ROOT / "docs/tour.ipynb", work))
    # Pages of source that an earlier build made may point to where things are no longer.
    shutil.rmtree(out / "_modules", ignore_errors=True)
    strict = ["--fail-on-warning", "--keep-going", "--quiet"]
    folders = ["-c", str(HERE), "-d", str(work / "doctrees"), str(pages), str(out)]
    return sphinx([*strict, "-b", "html", *folders])


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site")
    parser.add_argument(
        "--work", type=Path, default=ROOT / "build" / "docs", help=argparse.SUPPRESS
    )
    args = parser.parse_args()
    status = build(args.work, args.out)
    if not status:
        print(f"{args.out / 'index.html'}")
    return status


if __name__ == "__main__":
    sys.exit(main())
