"""A bit that flips, or a file that ends early, is told or changes nothing: never another result."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import ghostnet_small as gns
from ghostnet_small.cli import main
from ghostnet_small.errors import InputError
from ghostnet_small.run.run_folder import PREVIOUS, STATE, RunFolder
from ghostnet_small.tensorfile import read_tensors
from small_run import WORDS, resume, weights_of

FLIPS = 100
pytestmark = pytest.mark.usefixtures("quick_pictures")


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"


def damaged(path: Path, count: int, seed: int) -> Iterator[str]:
    """The file with one bit flipped, or cut short, again and again; whole again at the end."""
    content, chance = path.read_bytes(), random.Random(seed)
    header = min(len(content), 4000)
    for number in range(count):
        # Half of the places among the first bytes, where most of the meaning is.
        at = chance.randrange(header if number % 2 else len(content))
        bit = chance.randrange(8)
        flipped = bytearray(content)
        flipped[at] ^= 1 << bit
        path.write_bytes(flipped if number % 10 else content[:at])
        yield f"bit {bit} of byte {at}" if number % 10 else f"cut at {at}"
    path.write_bytes(content)


def plain(value: Any) -> Any:
    """Tensors as bytes, so that two answers can be compared."""
    if isinstance(value, torch.Tensor):
        return value.numpy().tobytes()
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def config_of(model: Any, info: gns.ModelInfo) -> Any:
    return model.config, info


READ: dict[str, Callable[[Path], Any]] = {
    STATE: lambda run: plain(RunFolder(run).state()),
    "recipe.yaml": lambda run: RunFolder(run).recipe(),
    "summary.json": lambda run: RunFolder(run).summary(),
    "last/config.json": lambda run: config_of(*gns.load(run)),
    "last/model.safetensors": lambda run: plain(read_tensors(run / "last/model.safetensors")),
}


@pytest.mark.parametrize("name", READ)
def test_damage_is_told_or_harmless(name: str, run: Path) -> None:
    (run / PREVIOUS).unlink()
    sound = READ[name](run)
    told = 0
    for damage in damaged(run / name, FLIPS, seed=len(name)):
        try:
            assert READ[name](run) == sound, damage
        except InputError as error:
            told += 1
            assert "\n" not in str(error) and name.split("/")[-1] in str(error), damage
    # A flip in what says that there is a digest leaves the content as it was; few bytes do.
    assert told > 0.9 * FLIPS
    assert READ[name](run) == sound


def test_a_damaged_state_falls_back_on_the_one_before(
    run: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "summary.json").unlink()
    for _ in damaged(run / STATE, 2, seed=1):
        pass
    content = bytearray((run / STATE).read_bytes())
    content[len(content) // 2] ^= 1
    (run / STATE).write_bytes(content)
    assert resume(run) == 0
    said = capsys.readouterr().err
    assert f"{PREVIOUS} is taken instead" in said and STATE in said
    assert weights_of(run) == weights_of(whole)


def test_the_good_state_is_kept_until_a_new_one_is_written(run: Path) -> None:
    """Else two losses in a row, the damage and a kill, would lose the run."""
    (run / STATE).write_bytes(b"damaged")
    folder = RunFolder(run)
    found = folder.state()
    assert found is not None
    good = (run / PREVIOUS).read_bytes()
    folder.save_state(found[0], {**found[1], "more": 1})
    assert (run / PREVIOUS).read_bytes() == good
    folder.save_state(*found)
    assert (run / PREVIOUS).read_bytes() != good


def test_when_no_state_is_left_the_cure_is_told(run: Path) -> None:
    for name in (STATE, PREVIOUS):
        (run / name).write_bytes(b"damaged")
    with pytest.raises(InputError, match=f"remove {STATE} and {PREVIOUS}"):
        RunFolder(run).state()


def test_the_recipe_of_another_run_is_told(run: Path, tmp_path: Path) -> None:
    words = [*WORDS, "--train.seed", "1", "--out", str(tmp_path / "other")]
    assert main(["train", *words]) == 0
    shutil.copy(tmp_path / "other" / "recipe.yaml", run)
    with pytest.raises(InputError, match="is not the recipe that"):
        RunFolder(run).state()


def test_a_recipe_changed_by_hand_is_read_once_its_digest_is_gone(run: Path) -> None:
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("threads: 1", "threads: 2"))
    with pytest.raises(InputError, match="delete its line '# digest'"):
        RunFolder(run).recipe()
    recipe.write_text(recipe.read_text().partition("\n")[2])
    assert RunFolder(run).recipe().train.threads == 2
