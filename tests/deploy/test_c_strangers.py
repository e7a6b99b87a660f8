"""A C file from a stranger: nothing of it is compiled but numbers, whatever was planted in it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from c_kit import deployable, pictures
from export_kit import save_digits
from ghostnet_small.cli import main
from ghostnet_small.deploy import c_file
from ghostnet_small.deploy.c import compiled
from ghostnet_small.deploy.deployable import Deployable
from ghostnet_small.deploy.formats import open_file
from ghostnet_small.errors import InputError
from ghostnet_small.models.registry import create_model
from ghostnet_small.nn.fold import reparameterize


@pytest.fixture(scope="module", autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of these tests, quick compilations, and no memory of what was exported here: the
    files come from another process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GHOSTNET_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(compiled, "FLAGS", ("-std=gnu99", "-O0", "-fPIC", "-shared"))
        patch.setattr(compiled, "note_written", lambda *texts: None, raising=False)
        patch.setattr(c_file, "note_written", lambda *texts: None, raising=False)
        yield


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C files of weights for the digits, by the command."""
    weights = save_digits(tmp_path_factory.mktemp("runs") / "digits")
    assert main(["export", str(weights), "--formats", "c", "--int8"]) == 0
    return weights / "export"


@pytest.mark.parametrize(
    ("precision", "pixels", "kind"),
    [
        ("float32", False, {"name": "ghostnetv3", "width": 0.1, "size": (16, 16)}),
        ("float32", True, {"width": 0.4, "size": (9, 13)}),
        ("int8", False, {"width": 0.3, "size": (16, 16)}),
        ("int8", True, {"width": 0.3, "channels": 1, "size": (28, 28)}),
        ("int8", True, {"name": "ghostnetv3", "width": 0.1, "size": (9, 13)}),
        ("int8", False, {"width": 0.3, "head": 30, "size": (16, 16)}),
    ],
)
def test_what_export_writes_is_opened(
    precision: str, pixels: bool, kind: dict[str, Any], tmp_path: Path, monkeypatch: Any
) -> None:
    network, described = deployable(int8=precision == "int8", pixels=pixels, **kind)
    names = ('*/ "quoted" \\', "/* open", "what??/", "Zürich\n", "%d", "1", "ghostnet_small: {")
    described = replace(described, classes=names, data={"root": "*/", "limit": None})
    path = tmp_path / "model.c"
    if precision == "int8":
        c_file.quantize(network, described, pictures(described, 2), path)
    else:
        c_file.export(network, described, path)
    given: list[str] = []

    class Enough(Exception):
        """The text has come to the compiler."""

    def compile_it(path: Path, text: str, *rest: object) -> bytes:
        given.append(text)
        raise Enough

    monkeypatch.setattr(compiled, "_compile", compile_it)
    with pytest.raises(Enough):
        open_file(path)
    assert given == [path.read_text()]


# -- attacks: each makes a file of a given text and the name of a file that its code would write --

_CODE = (
    "int system(const char *); static char words[] = {%s, 0}; "
    "__attribute__((constructor)) static void go(void) { system(words); }"
)
Attack = Callable[[str, Path], str]


def code(mark: Path) -> str:
    """C code without quotation marks that runs a command as soon as the library is loaded."""
    return _CODE % ", ".join(str(byte) for byte in f"touch {mark}".encode())


def once(text: str, pattern: str, new: Callable[[str], str]) -> str:
    made, count = re.subn(pattern, lambda found: new(found[0]), text, count=1)
    assert count == 1 and made != text
    return made


def at_the_end(text: str, mark: Path) -> str:
    return text + code(mark) + "\n"


def in_an_initialiser(text: str, mark: Path) -> str:
    made = once(text, r"\*memory = workspace;", lambda _: "*memory = (system(words), workspace);")
    return once(made, r"\nvoid ghostnet_run", lambda old: f"\n{code(mark)}{old}")


def in_a_macro(text: str, mark: Path) -> str:
    text = text.replace("#define GNS_TABLE static const", "#define GNS_TABLE GO static const")
    return f"#define GO\n{text}".replace("#include", f"{code(mark)}\n#include", 1)


def in_the_description(text: str, mark: Path) -> str:
    return once(text, r'"data": {', lambda old: f'{old}"a": "*/ {code(mark)} /*", ')


def behind_the_description(text: str, mark: Path) -> str:
    return once(text, r"\n/\* ghostnet_small: .*", lambda old: f"{old} {code(mark)}")


def in_a_table(text: str, mark: Path) -> str:
    made = f"0}}; {code(mark)} static const float more[] = {{0, "
    return once(text, r"\bstem\[\] = {\n *", lambda old: old + made)


def instead_of_a_number(text: str, mark: Path) -> str:
    made = once(text, r"\bstem\[\] = {\n *[^,]*,", lambda old: f"{old}sizeof(go)+")
    return once(made, r"\nGNS_TABLE ", lambda old: f"\n{code(mark)}{old}")


def in_the_header_of_a_table(text: str, mark: Path) -> str:
    return once(
        text, r"GNS_\w+ \w+ stem\[\]", lambda old: f"GNS_TABLE int a = 0; {code(mark)} {old}"
    )


def in_a_kernel(text: str, mark: Path) -> str:
    return once(text, r"\n\n(GNS_INLINE|typedef|static)", lambda old: f"\n\n{code(mark)}{old}")


CODE = [
    at_the_end,
    in_an_initialiser,
    in_a_macro,
    in_the_description,
    behind_the_description,
    in_a_table,
    instead_of_a_number,
    in_the_header_of_a_table,
    in_a_kernel,
]


@pytest.mark.parametrize("attack", CODE)
@pytest.mark.parametrize("command", ["evaluate model.c", "predict model.int8.c"])
def test_planted_code_never_runs(
    command: str, attack: Attack, exported: Path, tmp_path: Path, capsys: Any
) -> None:
    word, name = command.split()
    mark = tmp_path / "mark"
    for suffix in (".c", ".h"):
        shutil.copy((exported / name).with_suffix(suffix), tmp_path)
    path = tmp_path / name
    path.write_text(attack(path.read_text(), mark))
    Image.linear_gradient("L").resize((8, 8)).save(tmp_path / "a.png")
    more = ["--split", "test"] if word == "evaluate" else [str(tmp_path / "a.png")]
    status = main([word, str(path), *more])
    assert not mark.exists()
    assert status == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(path) in line and "export the run again" in line


def test_benchmark_and_demo_do_not_run_it(exported: Path, tmp_path: Path, capsys: Any) -> None:
    for file in exported.iterdir():
        shutil.copy(file, tmp_path)
    path, mark = tmp_path / "model.c", tmp_path / "mark"
    path.write_text(at_the_end(path.read_text(), mark))
    for words in (
        ["benchmark", "deploy", str(path), "--quick"],
        ["demo", str(path), "--port", "0"],
    ):
        status = main(words)
        assert not mark.exists()
        assert status == 2


def test_a_planted_library_is_not_loaded(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is whole, but another user of the cache has compiled it for this one."""
    theirs, mark = tmp_path / "theirs", tmp_path / "mark"
    monkeypatch.setenv("GHOSTNET_CACHE", str(theirs))
    with monkeypatch.context() as patch:
        patch.setattr(compiled, "rewritten", lambda path, source, *_: source + code(mark))
        open_file(exported / "model.c")
    assert mark.exists() and list(theirs.glob("c/*.so"))
    mark.unlink()
    shutil.copytree(theirs, tmp_path / "shared")
    (tmp_path / "shared").chmod(0o777)
    monkeypatch.setenv("GHOSTNET_CACHE", str(tmp_path / "shared"))
    assert open_file(exported / "model.c").description.classes
    assert not mark.exists()


# -- what runs no code by itself, but would write where it should not ----------------------------


def first_number(text: str, table: str, new: str) -> str:
    return once(text, rf"\b{table}\[\] = {{\n *[^,\n]*", lambda old: re.sub(r"\S+$", new, old))


CHANGES: dict[str, Attack] = {
    "a place beyond the memory": lambda t, _: first_number(t, r"blocks_\d+_ghost1_gate_rows", "99"),
    "a smaller workspace": lambda t, _: once(
        t, r"workspace = \d+", lambda old: re.sub(r"\d+", "64", old)
    ),
    "another offset": lambda t, _: once(
        t, r"gns_pool\(memory", lambda _: "gns_pool(memory + 99999999"
    ),
    "another loop": lambda t, _: once(t, r"c < channels", lambda _: "c <= channels"),
    "a shorter table": lambda t, _: once(
        t, r"\bstem\[\] = {\n *[^,]*, ", lambda old: re.sub(r"\S+ $", "", old)
    ),
    "a longer table": lambda t, _: once(t, r"\bstem\[\] = {\n *", lambda old: f"{old}0, "),
    "a hexadecimal number": lambda t, _: first_number(t, "stem", "0x1"),
    "no number": lambda t, _: first_number(t, "stem", "nanf"),
    "an expression": lambda t, _: first_number(t, "stem", "1-1"),
    "another version": lambda t, _: once(t, r"small \d+\.\d+\.\d+", lambda _: "small 0.0.9"),
    "another width": lambda t, _: once(t, r'"width": [\d.]+', lambda _: '"width": 0.9'),
    "an endless width": lambda t, _: once(t, r'"width": [\d.]+', lambda _: '"width": 1e9'),
    # Its training form would have a hundred billion numbers.
    "too large a width": lambda t, _: once(t, r'"width": [\d.]+', lambda _: '"width": 100'),
    "another network": lambda t, _: once(t, "ghostnetv3_small", lambda _: "ghostnetv3"),
    "a teacher": lambda t, _: once(
        t, r'"architecture": "\w+"', lambda _: '"architecture": "resnet18"'
    ),
    "a name that is no text": lambda t, _: once(t, r'"classes": \["', lambda old: rf"{old}\ud800"),
    "a deep description": lambda t, _: once(
        t, r'"data": {', lambda old: f'{old}"a": {"[" * 900}{"]" * 900}, '
    ),
    "the first half": lambda t, _: t[: len(t) // 2],
}


@pytest.mark.parametrize("name", ["model.c", "model.int8.c"])
@pytest.mark.parametrize("change", CHANGES)
def test_an_altered_file_is_refused(change: str, name: str, exported: Path, tmp_path: Path) -> None:
    for suffix in (".c", ".h"):
        shutil.copy((exported / name).with_suffix(suffix), tmp_path)
    path = tmp_path / name
    path.write_text(CHANGES[change](path.read_text(), path))
    with pytest.raises(InputError, match=r"; export the run again$") as told:
        open_file(path)
    assert str(path) in str(told.value) and "\n" not in str(told.value)


def test_no_file_needs_more_memory_than_its_code_counts(tmp_path: Path) -> None:
    """Beyond, sums of its ints are negative, and what is written lies before the memory."""
    _, described = deployable(width=0.05, channels=1, size=(8, 8))
    large = replace(described, size=(2048, 2048), mean=(0.5,) * 200, std=(0.5,) * 200)
    model = create_model("ghostnetv3_small", width=0.05, num_classes=7, in_channels=200)
    network = Deployable(reparameterize(model.eval()), large)
    with pytest.raises(InputError, match=r"working memory.*; take smaller images"):
        c_file.export(network, large, tmp_path / "model.c")
    assert not list(tmp_path.iterdir())


def test_an_altered_header_is_refused(exported: Path, tmp_path: Path) -> None:
    for file in exported.iterdir():
        shutil.copy(file, tmp_path)
    open_file(tmp_path / "model.c")
    header = tmp_path / "model.h"
    header.write_text(header.read_text().replace("#ifdef __cplusplus", '#include "/etc/x"\n', 1))
    with pytest.raises(InputError, match=r"line \d+ of model.h differs.*; export the run again"):
        open_file(tmp_path / "model.c")


@pytest.mark.parametrize("name", ["model.c", "model.int8.c"])
def test_its_numbers_are_those_that_count(name: str, exported: Path, tmp_path: Path) -> None:
    for suffix in (".c", ".h"):
        shutil.copy((exported / name).with_suffix(suffix), tmp_path)
    path = tmp_path / name
    before = open_file(path)
    shown = pictures(before.description, 2)
    first = before(shown)
    bias = "classifier" if name == "model.c" else "classifier_bias"
    text = path.read_text()
    (old,) = re.findall(rf"\b{bias}\[\] = {{\n *([^,\n]*)", text)
    # Of the same length, for lines are broken where they are full.
    path.write_text(first_number(text, bias, "1234.5".ljust(len(old) - 1, "0") + "f"))
    found = open_file(path)(shown)
    assert np.allclose(found[:, 0], 1234.5, atol=100) and not np.allclose(first, found)
    assert np.array_equal(first[:, 1:], found[:, 1:])
