"""The folder of a teacher's logits."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from distill_kit import (
    CPU,
    HALF,
    Asked,
    data_with_holes,
    fill_silently,
    make_cache,
    make_feed,
    make_teacher,
    nothing,
    refused,
)
from ghostnet_small.data.augment import Augmentation
from ghostnet_small.distill import target_cache as cache_module
from ghostnet_small.distill.target_cache import DIGEST_BYTES, TargetCache, key_digest
from ghostnet_small.distill.targets import fill
from ghostnet_small.errors import InputError

AUGMENT = Augmentation(crop_padding=1, flip="random")


def logits_of(seed: int, rows: int = 28, scale: float = 20.0) -> Tensor:
    return scale * torch.randn(rows, 4, generator=torch.Generator().manual_seed(seed))


def filled(folder: Path, views: int = 3, key: dict[str, Any] | None = None) -> TargetCache:
    cache = make_cache(folder, views=views, key=key)
    with cache.filling(nothing):
        for view in range(views):
            cache.write(view, logits_of(view))
    return cache


def files(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_what_is_written_is_read_back_in_half_precision(tmp_path: Path) -> None:
    filled(tmp_path)
    cache = make_cache(tmp_path, views=3)
    assert cache.missing() == []
    for view in range(3):
        page, wanted = cache.page(view), logits_of(view)
        assert page.dtype == torch.float16 and torch.equal(page, wanted.half())
        assert ((page.float() - wanted).abs() <= HALF * wanted.abs() + 2**-25).all()
    assert set(files(tmp_path)) == {"key.json", *(f"view-0000{view}.f16" for view in range(3))}
    assert cache.size_bytes == sum(
        len(content) for name, content in files(tmp_path).items() if name != "key.json"
    )


def test_a_view_is_there_as_soon_as_it_is_written_again(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    assert torch.equal(cache.page(1), logits_of(1).half())
    cache.write(1, logits_of(7))
    assert torch.equal(cache.page(1), logits_of(7).half())


def test_writing_to_a_page_leaves_the_file_alone(tmp_path: Path) -> None:
    before = files(filled(tmp_path).folder)
    make_cache(tmp_path, views=3).page(0).zero_()
    assert files(tmp_path) == before


DAMAGE = {
    "cut": lambda content: content[:-1],
    "longer": lambda content: content + b"\0",
    "empty": lambda content: b"",
    "a bit of the digest": lambda content: bytes([content[0] ^ 1]) + content[1:],
    "a bit of a logit": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "zeros": lambda content: bytes(len(content)),
    "only the digest": lambda content: content[:DIGEST_BYTES],
}


@pytest.mark.parametrize("damage", [*DAMAGE, "gone"])
def test_a_damaged_view_is_missing_and_made_again(damage: str, tmp_path: Path) -> None:
    teacher, feed = make_teacher(), make_feed(data_with_holes(), AUGMENT)
    fill_silently(make_cache(tmp_path, views=3), teacher, feed)
    whole, asked = files(tmp_path), Asked(teacher)
    file = tmp_path / "view-00001.f16"
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(DAMAGE[damage](file.read_bytes()))
    cache = make_cache(tmp_path, views=3)
    assert cache.missing() == [1]
    with pytest.raises(OSError, match="view 1"):
        cache.page(1)
    told: list[tuple[int, int]] = []
    fill(cache, teacher, feed, progress=lambda *how_far: told.append(how_far), between=nothing)
    assert cache.missing() == [] and files(tmp_path) == whole
    assert asked.pictures == [28] and told == [(3, 3)]


def test_more_views_are_added_to_those_that_are_there(tmp_path: Path) -> None:
    filled(tmp_path, views=2)
    assert make_cache(tmp_path, views=4).missing() == [2, 3]


KEY: dict[str, Any] = {
    "teacher": {"weights": "a" * 64, "mean": (0.5, 0.4)},
    "augment": {"flip": "random", "crop_padding": 4},
    "data": "fingerprint",
    "views": 3,
}
OTHERS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "augmentation": (
        {"augment": {"flip": "none", "crop_padding": 4}},
        ["augment.flip 'random', here 'none'"],
    ),
    "teacher": (
        {"teacher": {"weights": "b" * 64, "mean": (0.5, 0.4)}},
        ["teacher.weights 'aaaaaaaaaaaa...aa', here 'bbbbbbbbbbbb...bb'"],
    ),
    "views": ({"views": 5}, ["views 3, here 5"]),
    "data": ({"data": "other"}, ["data 'fingerprint', here 'other'"]),
    "several": (
        {"data": "other", "augment": {"flip": "random", "crop_padding": 2}},
        ["data 'fingerprint', here 'other'", "augment.crop_padding 4, here 2"],
    ),
    "a setting of its own": ({"new": True}, ["new None, here True"]),
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_key_is_refused_with_what_differs(other: str, tmp_path: Path) -> None:
    changes, differences = OTHERS[other]
    before = files(filled(tmp_path, key=KEY).folder)
    cache = make_cache(tmp_path, views=3, key=KEY | changes)
    said = refused(cache.check, str(tmp_path), "distill.cache", *differences)
    # And of what is the same nothing is said.
    assert said.count(", here ") == len(differences)
    with pytest.raises(InputError, match="differ from those"), cache.filling(nothing):
        pytest.fail("it fills what belongs to others")
    assert files(tmp_path) == before
    make_cache(tmp_path, views=3, key=KEY).check()


def test_the_order_of_a_key_does_not_matter_and_its_values_do() -> None:
    turned = dict(reversed(KEY.items()))
    assert key_digest(turned) == key_digest(KEY)
    assert key_digest({**KEY, "teacher": {**KEY["teacher"], "mean": [0.5, 0.4]}}) == key_digest(KEY)
    for changes, _ in OTHERS.values():
        assert key_digest(KEY | changes) != key_digest(KEY)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    cache = make_cache(tmp_path, views=1)
    refused(cache.check, str(tmp_path), "holds other files than targets", "distill.cache")
    assert files(tmp_path) == {"notes.txt": b"mine"}


def test_a_damaged_key_is_refused(tmp_path: Path) -> None:
    filled(tmp_path, key={"data": "one"})
    key = tmp_path / "key.json"
    for text in ("", "[]", key.read_text().replace("one", "two")):
        key.write_text(text)
        refused(
            make_cache(tmp_path, views=3, key={"data": "one"}).check,
            "key.json is damaged",
            "remove",
        )


def test_what_a_killed_process_left_of_a_key_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / ".key.json.partial").write_text("{")
    cache = filled(tmp_path)
    assert cache.missing() == [] and "key.json" in files(tmp_path)


@pytest.mark.parametrize("below", [".", "a/b"])
def test_a_file_in_the_folders_place_is_refused(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    refused(make_cache(tmp_path / "file" / below, views=1).check, "file", "distill.cache")


@pytest.mark.parametrize("value", [65520.0, -1e6, float("nan"), float("inf")])
def test_a_logit_that_does_not_fit_is_refused_and_not_kept(value: float, tmp_path: Path) -> None:
    cache = make_cache(tmp_path, views=1)
    logits = logits_of(0)
    logits[3, 2] = value
    with cache.filling(nothing):
        refused(lambda: cache.write(0, logits), "float16", "distill.targets live")
        assert set(files(tmp_path)) == {"key.json"}
        logits[3, 2] = 65504  # the largest that does
        cache.write(0, logits)
    assert cache.page(0)[3, 2] == 65504


class Other:
    """Another process, as far as a lock sees: a handle of its own on the folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.handle = os.open(folder, os.O_RDONLY)
        fcntl.flock(self.handle, fcntl.LOCK_EX)

    def end(self) -> None:
        os.close(self.handle)


def test_who_waits_for_another_finds_it_full_and_asks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "LOOK_SECONDS", 0.001)
    teacher, feed = make_teacher(), make_feed(data_with_holes(), AUGMENT)
    source = tmp_path / "source"
    fill_silently(make_cache(source, views=3), teacher, feed)
    asked, other, calls = Asked(teacher), Other(tmp_path / "kept"), 0

    def between() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            for name, content in files(source).items():
                (tmp_path / "kept" / name).write_bytes(content)
            other.end()

    cache = make_cache(tmp_path / "kept", views=3)
    fill(cache, teacher, feed, progress=lambda *how_far: None, between=between)
    assert calls == 3 and asked.pictures == [] and cache.missing() == []


def test_the_lock_is_held_while_it_fills_and_let_go_after_an_error(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, views=1)
    handle = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(ZeroDivisionError), cache.filling(nothing):
        with pytest.raises(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        raise ZeroDivisionError
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(handle)


def test_a_killed_process_keeps_no_one_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "LOOK_SECONDS", 0.001)
    program = (
        "import fcntl, os, sys, time\n"
        "fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)\n"
        "print(flush=True)\n"
        "time.sleep(60)\n"
    )
    words = [sys.executable, "-S", "-c", program, str(tmp_path)]
    waited = 0
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()

        def between() -> None:
            nonlocal waited
            waited += 1
            process.kill()

        cache = make_cache(tmp_path, views=1)
        with cache.filling(between):
            cache.write(0, logits_of(0))
    assert waited and cache.missing() == []


def test_who_waits_can_be_stopped(tmp_path: Path) -> None:
    other = Other(tmp_path)

    def stop() -> None:
        raise ZeroDivisionError

    cache = make_cache(tmp_path, views=1)
    with pytest.raises(ZeroDivisionError), cache.filling(stop):
        pytest.fail("it fills while another does")
    other.end()
    assert files(tmp_path) == {}


def test_who_waited_for_another_training_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "LOOK_SECONDS", 0.001)
    filled(tmp_path / "source", key={"data": "theirs"})
    other = Other(tmp_path / "kept")

    def between() -> None:
        for name, content in files(tmp_path / "source").items():
            (tmp_path / "kept" / name).write_bytes(content)
        other.end()

    cache = make_cache(tmp_path / "kept", views=3, key={"data": "ours"})
    cache.check()

    def fills() -> None:
        with cache.filling(between):
            pytest.fail("it fills what belongs to others")

    refused(fills, "data 'theirs', here 'ours'")


def test_an_error_amid_a_write_leaves_the_file_that_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = filled(tmp_path)
    before = files(tmp_path)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="make room"):
        patch.setattr(os, "fsync", full)
        cache.write(1, logits_of(9))
    assert files(tmp_path) == before
    assert torch.equal(cache.page(1).to(CPU), logits_of(1).half())
