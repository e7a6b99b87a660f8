"""What surrounds the package: its metadata, the container and the hooks before a commit."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from docs_ways import parsed

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TARGETS = set(re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[0].split())


# Metadata -------------------------------------------------------------------------------------


def test_classifiers_are_known_and_agree_with_the_rest() -> None:
    known = pytest.importorskip("trove_classifiers").classifiers
    found = PROJECT["classifiers"]
    assert set(found) <= known and found == sorted(found)
    # Builders refuse one beside the expression in `license`.
    assert not any(one.startswith("License") for one in found) and PROJECT["license"] == "MIT"
    versions = re.findall(r"Python :: (3\.\d+)", "\n".join(found))
    assert versions and min(versions) == PROJECT["requires-python"].removeprefix(">=")
    assert not any("Windows" in one or "OS Independent" in one for one in found)


def test_urls_stand_on_the_front_page_too() -> None:
    assert PROJECT["urls"] and len(set(PROJECT["keywords"])) == len(PROJECT["keywords"])
    for url in PROJECT["urls"].values():
        assert urlsplit(url).scheme == "https" and url in (ROOT / "README.md").read_text()


# The container --------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """Each instruction of the Dockerfile, and its words on one line."""
    lines = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines) if word]


def ignored(path: str) -> bool:
    """Whether .dockerignore leaves ``path`` out: the last line that fits it or a folder above."""
    places = [path, *(str(place) for place in Path(path).parents if str(place) != ".")]
    out = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.strip().removeprefix("!")
        if not pattern or pattern.startswith("#"):
            continue
        patterns = [pattern, pattern.removeprefix("**/")]
        if any(fnmatchcase(place, one) for place in places for one in patterns):
            out = not line.startswith("!")
    return out


def test_the_image_has_what_it_builds_and_runs() -> None:
    found = dict(instructions())
    assert found["FROM"] == f"python:{PROJECT['requires-python'].removeprefix('>=')}-slim"
    assert found["COPY"].split()[-2:] == [".", "."]
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    needed = ("src/", "recipes/", "results/weights/", "docs/images/")
    wanted = [name for name in tracked if name.startswith(needed)]
    wanted += ["pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "Makefile"]
    assert len(wanted) > 200
    assert [name for name in wanted if ignored(name)] == []
    assert all(map(ignored, (".venv/bin/python", ".git/HEAD", "runs/a", "results/deploy.png")))


def test_nothing_is_installed_or_run_as_root() -> None:
    words = [word for word, _ in instructions()]
    user = words.index("USER")
    as_root = [rest for word, rest in instructions()[:user] if word == "RUN"]
    assert not any("make " in rest.partition("rm -rf")[2] or "pip" in rest for rest in as_root)
    assert words.index("ENTRYPOINT") > user and words.count("USER") == 1


def test_the_image_runs_targets_of_make() -> None:
    found = dict(instructions())
    assert json.loads(found["ENTRYPOINT"])[0] == "make"
    assert json.loads(found["CMD"]) == ["quickstart"]
    (built,) = re.findall(r"\bmake ([\w-]+)$", DOCKERFILE, re.MULTILINE)
    runs = re.findall(
        r"^#   docker run(?: -p 8000:8000)? ghostnet-small(?: (\w+))? {2}", DOCKERFILE, re.M
    )
    assert runs == ["", "demo"]
    assert {built, "quickstart", "demo"} <= TARGETS


def test_the_demo_is_reached_from_outside_of_the_container() -> None:
    (options,) = re.findall(r'DEMO="(.*)"', DOCKERFILE)
    lines = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "demo", f"DEMO={options}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    args, name = parsed(shlex.split(lines[-1])[1:])
    assert (name, args.host, args.port) == ("demo", "0.0.0.0", 8000)
    assert f"EXPOSE {args.port}" in DOCKERFILE and f"-p {args.port}:{args.port}" in DOCKERFILE


def test_the_commands_in_the_dockerfile_are_real() -> None:
    text = re.sub(r" \\\n# *", " ", DOCKERFILE)
    (words,) = re.findall(r"--entrypoint ghostnet-small ghostnet-small (.+)$", text, re.M)
    assert parsed(shlex.split(words))[1] == "predict"


# The hooks ------------------------------------------------------------------------------------


def test_hooks_are_the_checks_of_make_lint() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    assert all(repo["repo"] == "local" for repo in config["repos"])
    assert all(hook["language"] == "system" for hook in hooks)
    lint = re.findall(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)[0]
    checks = [line.strip().removeprefix(".venv/bin/") for line in lint.splitlines()]
    assert [hook["entry"].replace(" --force-exclude", "") for hook in hooks] == checks
    for hook in hooks:
        # The word that begins it, and its options.
        program, *options = shlex.split(hook["entry"])
        file = shutil.which(program, path=str(Path(sys.executable).parent))
        assert file is not None
        done = subprocess.run([file, *options, "--help"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
