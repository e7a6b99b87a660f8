"""Every command and every block of code that the pages show is run, or has a reason not to be."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from docs_blocks import Block, blocks, loose_commands, pages, text_of
from docs_place import make_folder_of, make_place
from docs_reasons import GRANTED, LONG, NOT_RUN
from docs_ways import Page
from ghostnet_small.cli.program import COMMANDS


# On busy cores the pages take more than the usual ten minutes.
@pytest.mark.timeout(1800)
def test_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One test, for the pages share what they train."""
    make_place(tmp_path)
    # As wide as the pages show a command's output.
    monkeypatch.setenv("COLUMNS", "80")
    runs: dict[str, Path] = {}
    for number, name in enumerate(pages()):
        folder = tmp_path / f"page {number}"
        make_folder_of(name, tmp_path, folder)
        monkeypatch.chdir(folder)
        page = Page(name, folder, runs)
        for run in GRANTED.get(name, ()):
            page.stand_in(folder / run, "DIR")
        for block in blocks(name):
            try:
                page.run(block)
            except (Exception, SystemExit) as error:
                raise AssertionError(f"{block.where}: {error}\n{block.text}") from error
            if name == "README.md" and block.language == "python":
                assert "airplane" in (page.printed or "")
    assert {"DIR", "DIR, taught", "digits"} <= set(runs)


@pytest.mark.parametrize("page", pages())
def test_commands_stand_in_blocks_that_are_run(page: str) -> None:
    assert loose_commands(text_of(page)) == []


def test_the_front_page_shows_commands_of_every_kind() -> None:
    found = [block for block in blocks("README.md") if block.language in ("sh", "inline")]
    lines = [line.split() for block in found for line in block.commands()]
    kinds = {words[1] for words in lines if words[0] == "ghostnet-small"}
    assert {"train", "distill", "evaluate", "fold", "predict", "info", "data"} <= kinds
    assert {"study", "report", "export"} <= kinds


def test_reasons_belong_to_commands_that_are_shown() -> None:
    shown = {
        shlex.join(shlex.split(line, comments=True))
        for page in pages()
        for block in blocks(page)
        if block.language == "sh"
        for line in block.commands()
    }
    assert set(NOT_RUN) <= shown
    assert set(GRANTED) <= set(pages())
    assert all(name.split()[0] in COMMANDS for name in LONG)


def page_of(folder: Path) -> Page:
    return Page("made.md", folder, {})


WRONG = {
    "```rust\nfn main() {}\n```\n": "no way to run 'rust'",
    "```sh\nrm -rf runs\n```\n": "no way to run 'rm -rf runs'",
    "```sh\nghostnet-small info ghostnetv3_small --widht 1.0\n```\n": "--widht",
    "```sh\nghostnet-small info ghostnetv4\n```\n": "ended with 2",
    "```sh\npython tools/benchmarks/none.py --fast\n```\n": "none.py",
    "```sh\ntorchrun --nproc_per_node 2 -m ghostnet_small train --outt runs/a\n```\n": "--outt",
    "```sh\npip install 'ghostnet-small[everything]'\n```\n": "everything",
    "```python\nassert 1 == 2, 'sums'\n```\n": "sums",
    "```yaml\ntrain: {epochz: 3}\n```\n": "epochz",
    "```python\nprint(3)\n```\n\n```text\n4\n```\n": "made.md:5",
    "Try `ghostnet-small evaluate runs/a --spilt test`.\n": "--spilt",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_cannot_be_run_fails(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = page_of(tmp_path)
    with pytest.raises(BaseException, match=WRONG[text]) as raised:
        for block in blocks("made.md", text):
            page.run(block)
    assert isinstance(raised.value, Exception | SystemExit)


def test_blocks_are_found_with_their_lines() -> None:
    text = "Give `ghostnet-small info x`.\n\n```sh\n# a remark\nmake \\\n  it\n```\n"
    first, second = blocks("made.md", text)
    assert first == Block("made.md", 1, "inline", "ghostnet-small info x")
    assert (second.line, second.language, second.commands()) == (3, "sh", ["make    it"])


def test_a_loose_command_is_found() -> None:
    text = (
        "    ghostnet-small data --json\n\n```\npython x.py --fast\n```\n\n```sh\nmake --all\n```\n"
    )
    assert loose_commands(text) == ["    ghostnet-small data --json", "python x.py --fast"]
