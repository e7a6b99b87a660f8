"""The package as a wheel: what it carries, and that it runs from there alone."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "src/ghostnet_small/demo"
PACKAGES = ROOT / "src/ghostnet_small/deploy/packages"


def test_a_wheel_runs_without_its_checkout(tmp_path: Path) -> None:
    build = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [sys.executable, "-m", *build, "--wheel-dir", str(tmp_path), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("ghostnet_small-*.whl")
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
        packed.extractall(tmp_path / "site")
    recipes = {
        f"ghostnet_small/{path.relative_to(ROOT).as_posix()}"
        for path in ROOT.glob("recipes/**/*.yaml")
    }
    assert recipes and recipes <= names
    weights = {
        f"ghostnet_small/weights/{path.relative_to(ROOT / 'results/weights').as_posix()}"
        for path in ROOT.glob("results/weights/*/*")
    }
    assert weights and weights <= names
    assert not any(name.startswith(("tests/", "results/")) for name in names)
    assert "ghostnet_small/demo/server.py" in names
    page = [file for file in DEMO.glob("page/*") if file.is_file()]
    assert {f"ghostnet_small/demo/page/{file.name}" for file in page} <= names
    packages = [file for file in PACKAGES.rglob("*") if file.is_file()]
    assert (
        packages
        and {f"ghostnet_small/{file.relative_to(ROOT / 'src/ghostnet_small')}" for file in packages}
        <= names
    )
    # `make demo-assets` fetches them, before the tests of `make test`.
    assert {f"ghostnet_small/demo/assets/{file.name}" for file in DEMO.glob("assets/*")} <= names
    Image.new("RGB", (32, 32), "navy").save(tmp_path / "picture.png")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from ghostnet_small.recipe.shipped_recipes import find_recipe\n"
        "print(find_recipe('quickstart-digits'))\n"
        "print(find_recipe('recipes/teachers/resnet18-cifar10.yaml'))\n"
        "from ghostnet_small.cli import main\n"
        "sys.exit(main(['predict', 'ghostnetv3_small_w1.0_cifar10', 'picture.png', '--json']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "site")],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    shipped = tmp_path / "site/ghostnet_small/recipes"
    *found, answers = done.stdout.splitlines()
    assert found == [
        str(shipped / "quickstart-digits.yaml"),
        str(shipped / "teachers/resnet18-cifar10.yaml"),
    ]
    (answer,) = json.loads(answers)
    assert answer["label"] in ("airplane", "ship")  # what is blue all over
