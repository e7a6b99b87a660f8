from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ghostnet_small.errors import InputError
from ghostnet_small.report.comparison import compare
from ghostnet_small.report.css import CSS
from ghostnet_small.report.html import html as html_page
from ghostnet_small.report.markdown import markdown
from ghostnet_small.report.page import Column, Page, Section, table
from ghostnet_small.report.study_rows import StudyRecord
from ghostnet_small.report.theme import DARK, LIGHT
from ghostnet_small.report.write import write_report
from report_rows import HOSTILE, Reader, distilled, markdown_tables, published, row, study

FAILED = [{"run": "kd-9", "status": "failed", "reason": "the loss was no number"}]


def full() -> StudyRecord:
    """A study in which no table and no plot is left out."""
    rows = study().rows
    rows += [row(f"base-w2-{seed}", "base", seed, 83.0 + seed, width=2.0) for seed in range(3)]
    rows += [distilled(f"kd-w2-{seed}", "kd", seed, 82.0 + seed, width=2.0) for seed in range(2)]
    paper = published(base={1.0: 91.0, 2.0: 92.0}, kd={1.0: 90.0})
    return study(*rows, published=paper, about="What for.\n\nAnd more.", failed=FAILED)


def hostile() -> StudyRecord:
    """A study whose every name wants to be markup."""
    rows = [row(f"{HOSTILE}{seed}", "base", seed, 80.0 + seed) for seed in range(2)]
    rows += [distilled(f"kd{seed}", HOSTILE, seed, 81.0 + 2 * seed) for seed in range(2)]
    rows.append(row(HOSTILE, None))
    for one in rows:
        one["commit"] = one["device"]["name"] = one["recipe"]["model"]["name"] = HOSTILE
        one["libraries"][HOSTILE] = HOSTILE
        one["data"]["fingerprint"] = HOSTILE
        one["study"]["teachers"] = [HOSTILE]
    rows[-2]["distill"].update(loss=HOSTILE, mode=HOSTILE)
    rows[-2]["distill"]["teachers"][0]["name"] = HOSTILE
    failed = [{"run": HOSTILE, "status": HOSTILE, "reason": HOSTILE}]
    made = study(*rows, about=HOSTILE, failed=failed, published=published(**{HOSTILE: {1.0: 90.0}}))
    return StudyRecord(HOSTILE, made.about, "base", made.published, rows, failed, 9)


@pytest.fixture(scope="module")
def full_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("full")
    write_report(full(), folder)
    return folder


@pytest.fixture(scope="module")
def hostile_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    write_report(hostile(), folder)
    return folder


@pytest.fixture(params=["full_folder", "hostile_folder"])
def written(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


def page_of(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def test_both_renderings_hold_the_same_tables(written: Path) -> None:
    in_html = Reader(page_of(written)).tables
    in_markdown = markdown_tables((written / "report.md").read_text(encoding="utf-8"))
    assert len(in_html) == 8
    assert in_html == in_markdown


def test_what_is_handed_back(tmp_path: Path) -> None:
    told = write_report(full(), tmp_path / "new" / "folder")
    assert told["html"] == str(tmp_path / "new" / "folder" / "report.html")
    assert Path(told["markdown"]).is_file()
    assert (told["runs"], told["failed"]) == (12, 1)
    assert [(line["strategy"], line["width"]) for line in told["table"]] == [
        ("base", 1.0),
        ("kd", 1.0),
        ("base", 2.0),
        ("kd", 2.0),
    ]


@pytest.mark.parametrize("name", ["report.md", "report.html", "plots", "plots/accuracy-dark.svg"])
def test_a_link_in_a_strangers_study_is_refused(name: str, tmp_path: Path) -> None:
    """Before anything is written."""
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    mine.mkdir()
    (mine / ".bashrc").write_text("old")
    (theirs / name).parent.mkdir(parents=True)
    (theirs / name).symlink_to(mine if name == "plots" else mine / ".bashrc")
    before = sorted(theirs.rglob("*"))
    with pytest.raises(InputError, match=f"{name} is a link to {mine}"):
        write_report(full(), theirs)
    assert (mine / ".bashrc").read_text() == "old" and len(list(mine.iterdir())) == 1
    assert sorted(theirs.rglob("*")) == before


def test_the_page_is_balanced_and_its_ids_are_its_own(written: Path) -> None:
    read = Reader(page_of(written))  # which raises where a tag is not ended
    ids = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert len(ids) == len(set(ids)) > 50
    wanted = {a["href"] for _, a in read.tags if "href" in a}
    wanted |= {f"#{a['aria-labelledby']}" for _, a in read.tags if "aria-labelledby" in a}
    wanted |= set(re.findall(r"url\((.*?)\)", page_of(written)))
    assert wanted and wanted <= {f"#{one}" for one in ids}


def test_the_page_loads_nothing_and_runs_nothing(written: Path) -> None:
    page, read = page_of(written), Reader(page_of(written))
    assert {tag for tag, _ in read.tags} & {"script", "link", "img", "iframe", "object"} == set()
    loading = {"src", "srcset", "data", "poster", "xlink:href", "style", "onload"}
    for tag, attributes in read.tags:
        found = {name: attributes[name] for name in loading & attributes.keys()}
        assert found.keys() <= {"style"}, f"{tag} loads {found}"
    assert "http" not in page and "@import" not in page


def test_the_page_can_be_heard(written: Path) -> None:
    read = Reader(page_of(written))
    tags = [tag for tag, _ in read.tags]
    assert dict(read.tags)["html"] == {"lang": "en"}
    assert tags.count("title") == tags.count("h1") == tags.count("main") == 1
    assert all(a.get("scope") in ("col", "row") for tag, a in read.tags if tag == "th")
    pictures = [a for tag, a in read.tags if tag == "svg"]
    assert len(pictures) == tags.count("figure") == tags.count("figcaption") >= 4
    assert all(a["role"] == "img" and len(a["aria-label"] or "") > 30 for a in pictures)
    assert tags.count("caption") == tags.count("table")


def test_text_of_plots_is_text_in_the_font_of_the_page(written: Path) -> None:
    page = page_of(written)
    assert len(re.findall(r">width 1\.0</text>", page)) == 3
    assert "DejaVu" not in page and "font-family: var(--font)" in page


def test_every_colour_is_a_variable_that_light_dark_and_print_define(written: Path) -> None:
    page = page_of(written)
    body = page[page.index("</style>") :]
    assert not re.findall(r"(?:fill|stroke|color): ?#", body)
    used = set(re.findall(r"var\(--([\w-]+)\)", page)) - {"font"}
    assert {"page", "ink", "series-0", "series-1"} <= used <= set(LIGHT)
    assert LIGHT.keys() == DARK.keys() and set(LIGHT.values()).isdisjoint(DARK.values())
    light, rest = CSS.split("@media (prefers-color-scheme: dark)", 1)
    dark, printed = rest.split("@media print")
    for role in used:
        assert f"--{role}: {LIGHT[role]};" in light
        assert f"--{role}: {DARK[role]};" in dark
        assert f"--{role}: {LIGHT[role]};" in printed


def test_text_of_any_theme_can_be_read() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for theme in (LIGHT, DARK):
        page = luminance(theme["page"])
        for role in theme.keys() - {"page", "faint"}:
            low, high = sorted((page, luminance(theme[role])))
            assert (high + 0.05) / (low + 0.05) >= 4.5, role


def test_markup_in_names_stays_text(hostile_folder: Path) -> None:
    seen = HOSTILE.replace("\n", "\\n")
    read = Reader(page_of(hostile_folder))
    assert "".join(read.text).count(seen) > 10
    assert any(seen in cell for table in read.tables for line in table for cell in line)
    document = (hostile_folder / "report.md").read_text(encoding="utf-8")
    assert "<script" not in document and "<script" not in page_of(hostile_folder)
    # Every mark of Markdown in a name stands behind a backslash.
    assert r"\|\*b\*\_c\_\`d\`\$e\$&amp;amp;" in document
    assert document.startswith("# a&lt;script&gt;")


def test_names_of_files_link_to_them() -> None:
    files = table("Files", [Column("file", False)], [["a b.c"]], folder="files")
    page = Page("t", (), (), (), (Section("s", "S", (), (files,)),), ())
    read = Reader(html_page(page, {}))
    assert [a["href"] for tag, a in read.tags if tag == "a"] == ["#s", "files/a%20b.c"]
    assert "a b.c" in read.text
    assert "| [a b.c](files/a%20b.c) |" in markdown(page, "plots")


def test_a_paragraph_that_looks_like_a_list_or_a_heading_stays_one(tmp_path: Path) -> None:
    write_report(study(about="# no\n\n1. no\n\n- no"), tmp_path)
    document = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "\n\\# no\n\n1\\. no\n\n\\- no\n" in document


def test_markdown_shows_every_plot_light_and_dark(written: Path) -> None:
    document = (written / "report.md").read_text(encoding="utf-8")
    dark = re.findall(
        r'<picture><source media="\(prefers-color-scheme: dark\)" srcset="(.*?)">', document
    )
    light = re.findall(r'<img alt="[^"]+" src="(.*?)"></picture>', document)
    assert len(dark) == len(light) >= 4
    files = {f"plots/{path.name}" for path in (written / "plots").iterdir()}
    assert {*dark, *light} == files
    for name in light:
        assert (written / name).read_text() != (written / name.replace("light", "dark")).read_text()


def test_captions_and_findings_are_in_both(full_folder: Path) -> None:
    page = html.unescape(page_of(full_folder))
    document = html.unescape((full_folder / "report.md").read_text(encoding="utf-8")).replace(
        "\\", ""
    )
    for text in (
        "kd: better than base at",
        "the loss was no number",
        "A Paper, table 1",
        "And more.",
    ):
        assert text in page and text in document, text


def test_the_same_rows_give_the_same_bytes(tmp_path: Path, full_folder: Path) -> None:
    def files(folder: Path) -> dict[str, bytes]:
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return {str(path.relative_to(folder)): path.read_bytes() for path in paths}

    # As another user would: other hashes, other settings of Matplotlib.
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 9\nfont.size: 30\naxes.grid: True\n")
    program = (
        "import sys; sys.path.append(sys.argv[1])\n"
        "from pathlib import Path\n"
        "from test_rendering import full, write_report\n"
        "print(*{'matplotlib', 'scipy'} & set(sys.modules), end='')\n"
        "write_report(full(), Path(sys.argv[2]))\n"
    )
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here.parent), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", program, str(here), str(tmp_path / "second")],
        env={
            **os.environ,
            "PYTHONHASHSEED": "7",
            "PYTHONPATH": paths,
            "MATPLOTLIBRC": str(tmp_path / "matplotlibrc"),
        },
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "", "plots and statistics are imported before a report is written"
    first = files(full_folder)
    assert len(first) == 12
    assert first == files(tmp_path / "second")


def test_plots_that_new_rows_no_longer_give_go(tmp_path: Path) -> None:
    stale, kept = (tmp_path / "plots" / name for name in ("width-dark.svg", "mine.svg"))
    stale.parent.mkdir()
    stale.touch()
    kept.touch()
    write_report(study(row("base", "base")), tmp_path)
    assert kept.exists() and not stale.exists()


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{}],
        [row("teacher", None)],
        [{"study": {"strategy": "kd"}}],
        [row("alone", "kd")],
        [{**row("base", "base"), "epochs": [], "model": {}}],
    ],
    ids=["none", "empty", "teacher", "bare", "no baseline", "no epochs"],
)
def test_a_report_of_hardly_anything_is_written(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    content = StudyRecord("a study", "", "base", None, rows, FAILED, 5)
    told = write_report(content, tmp_path)
    assert told["runs"] == len(rows)
    read = Reader(page_of(tmp_path))
    assert "the loss was no number" in "".join(read.text)
    assert read.tables == markdown_tables((tmp_path / "report.md").read_text())
    assert f"{len(rows)} of 5 finished, 1 failed or not started" in "".join(read.text)


def test_real_rows_make_a_report(tmp_path: Path) -> None:
    """The committed rows, which know of no study, stand as runs without a strategy."""
    from ghostnet_small.run.records import read_rows

    rows = read_rows(Path(__file__).parents[2] / "results" / "cifar10-cpu.jsonl")
    study = StudyRecord("CIFAR-10", "", "base", None, rows, [], len(rows))
    told = write_report(study, tmp_path)
    assert (told["runs"], told["table"]) == (len(rows), [])
    assert "w1.0, 16 epochs, seed 2" in page_of(tmp_path)
    for number, one in enumerate(rows):
        one["study"] = {
            "run": str(number),
            "strategy": "base" if number < 3 else "kd",
            "width": 1.0,
        }
    comparison = compare(study)
    assert [len(runs) for runs in comparison.groups.values()] == [3, len(rows) - 3]
    write_report(study, tmp_path)
    assert "87.52" in page_of(tmp_path)
