"""Packages of the C file: built and run as their systems do, manifests held to published rules."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from c_kit import deployable, pictures
from ghostnet_small.benchmark import emulator
from ghostnet_small.deploy import c_file
from ghostnet_small.deploy.c import compiled
from ghostnet_small.deploy.c_packages import LAYOUTS, drawing, pack, packed_c
from ghostnet_small.deploy.description import Description
from ghostnet_small.deploy.formats import PACKAGES, format_of, open_file
from ghostnet_small.errors import InputError

ROOT = Path(__file__).parents[2]
DEVICES = ROOT / "tests" / "devices"
WARNINGS = ("-Wall", "-Wextra", "-Werror")
CORTEX_M4 = ("-mthumb", "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard", "-Os")
SAID = re.compile(r"class (.*) in [0-9]+\.[0-9]{3} ms\n")
# Published: the Arduino library specification, revision 2.2; ESP-IDF's manifest reference; Zephyr's
# module schema and that of its samples.
ARDUINO_REQUIRED = ("name", "version", "author", "maintainer", "sentence", "paragraph", "category")
ARDUINO_CATEGORIES = (
    *("Display", "Communication", "Signal Input/Output", "Sensors", "Device Control", "Timing"),
    *("Data Storage", "Data Processing", "Other"),
)
SEMVER = r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
IDF_KEYS = {
    *("version", "targets", "maintainers", "description", "license", "tags", "files", "examples"),
    *("url", "repository", "documentation", "issues", "discussion", "dependencies"),
}
SAMPLE_TYPES = {
    **{"tags": str, "integration_platforms": list, "min_flash": int, "min_ram": int},
    **{"harness": str, "harness_config": dict},
}


@pytest.fixture(scope="module", autouse=True)
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Files are compiled fast, and stay among these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GHOSTNET_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(compiled, "FLAGS", ("-std=c99", "-O1", "-fPIC", "-shared"))
        yield


@pytest.fixture(scope="module", params=["int8", "pixels"])
def c_files(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Description]:
    """A C file: in int8 of normalised pixels, or in float32 of pixels and of one channel."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "int8":
        network, description = deployable(size=(16, 16), int8=True, shallow=True)
        c_file.quantize(network, description, pictures(description, 8), folder / "model.c")
    else:
        network, description = deployable(channels=1, size=(8, 12), pixels=True, shallow=True)
        c_file.export(network, description, folder / "model.c")
    return folder / "model.c", description


def texts(path: Path) -> tuple[str, str]:
    return path.read_text(), path.with_suffix(".h").read_text()


@pytest.fixture
def unpacked(c_files: tuple[Path, Description], tmp_path: Path) -> dict[str, Path]:
    """The folder of each package, as it is unpacked."""
    for name in PACKAGES:
        path = tmp_path / f"model.{name}.zip"
        pack(*texts(c_files[0]), path)
        with zipfile.ZipFile(path) as packed:
            packed.extractall(tmp_path / name)
    return {name: tmp_path / name / LAYOUTS[name].root for name in PACKAGES}


def called(*words: object, **place: str) -> str:
    """What a program puts out; its words where it fails."""
    place = {"PATH": os.environ["PATH"], **place}
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, env=place)
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    return done.stdout


def check_said(said: str, c_files: tuple[Path, Description]) -> None:
    """Check that a program names the class that the C file gives the drawing."""
    path, description = c_files
    found = SAID.fullmatch(said)
    assert found is not None, said
    answers = open_file(path)(shown(description))
    assert found[1] == description.classes[int(answers.argmax())]


def shown(description: Description) -> np.ndarray:
    """The drawing as the network takes it."""
    image = drawing(description)[None]
    if description.input == "pixels":
        return image
    mean, std = (np.reshape(v, (-1, 1, 1)) for v in (description.mean, description.std))
    return ((image / 255 - mean) / std).astype(np.float32)


def test_packages_are_the_same_each_time(c_files: tuple[Path, Description], tmp_path: Path) -> None:
    for name, form in PACKAGES.items():
        path, other = tmp_path / f"model.{name}.zip", tmp_path / f"other.{name}.zip"
        pack(*texts(c_files[0]), path)
        pack(*texts(c_files[0]), other)
        assert path.read_bytes() == other.read_bytes()
        assert format_of(path) is form and packed_c(path) == texts(c_files[0])
        with zipfile.ZipFile(path) as packed:
            assert packed.testzip() is None
            places = packed.namelist()
            assert places == sorted(places)
            assert {place.split("/")[0] for place in places} == {LAYOUTS[name].root}
            for info in packed.infolist():
                assert info.date_time == (1980, 1, 1, 0, 0, 0)
                assert "@" not in packed.read(info).decode() or info.filename.endswith("model.c")
            assert packed.read(f"{LAYOUTS[name].root}/LICENSE") == (ROOT / "LICENSE").read_bytes()


def test_a_package_that_is_there_is_not_opened(
    c_files: tuple[Path, Description], tmp_path: Path
) -> None:
    path = tmp_path / "model.int8.cmake.zip"
    pack(*texts(c_files[0]), path)
    with pytest.raises(InputError, match=r"is that of model\.int8\.c: write it with export --form"):
        open_file(path)


# As each system builds them ------------------------------------------------------------------


def test_cmake_builds_installs_and_finds_it(
    unpacked: dict[str, Path], c_files: tuple[Path, Description], tmp_path: Path
) -> None:
    folder = unpacked["cmake"]
    if not shutil.which("cmake"):
        words = ["-I", folder / "include", folder / "src/model.c"]
        program = tmp_path / "classify"
        called("cc", *WARNINGS, *words, folder / "examples/classify/main.c", "-lm", "-o", program)
        check_said(called(program), c_files)
        return
    build, place = tmp_path / "build", tmp_path / "place"
    flags = f"-DCMAKE_C_FLAGS={' '.join(WARNINGS)} -O1"
    called("cmake", "-S", folder, "-B", build, flags, "-DCMAKE_BUILD_TYPE=Debug")
    called("cmake", "--build", build)
    check_said(called(build / "classify"), c_files)
    called("cmake", "--install", build, "--prefix", place)
    user = tmp_path / "user"
    user.mkdir()
    for name in ("main.c", "classify.h", "image.h", "input.h"):
        shutil.copy(folder / "examples/classify" / name, user)
    (user / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.15)\nproject(user C)\n"
        "find_package(ghostnet_small REQUIRED)\nadd_executable(user main.c)\n"
        "target_link_libraries(user PRIVATE ghostnet_small::ghostnet_small)\n"
    )
    called("cmake", "-S", user, "-B", user / "build", f"-DCMAKE_PREFIX_PATH={place}")
    called("cmake", "--build", user / "build")
    check_said(called(user / "build/user"), c_files)


@pytest.mark.parametrize(
    ("name", "example", "program", "setting"),
    [
        ("esp-idf", "examples/classify", "classify", "IDF_PATH"),
        ("zephyr", "samples/classify", "app", "ZEPHYR_BASE"),
    ],
)
def test_examples_build_as_of_their_systems(
    name: str,
    example: str,
    program: str,
    setting: str,
    unpacked: dict[str, Path],
    c_files: tuple[Path, Description],
    tmp_path: Path,
) -> None:
    """``tests/devices`` stands for the systems, which Debian does not have."""
    if not shutil.which("cmake"):
        pytest.skip("cmake is not installed")
    place = {setting: str(DEVICES / name)}
    build = tmp_path / "build"
    flags = f"-DCMAKE_C_FLAGS={' '.join(WARNINGS)} -O1"
    called("cmake", "-S", unpacked[name] / example, "-B", build, flags, **place)
    called("cmake", "--build", build, **place)
    check_said(called(build / program), c_files)


def sketch(folder: Path, out: Path, c: str, cpp: str, *flags: str) -> list[Path]:
    """Compile the library and its sketch, each in its language, as the Arduino IDE does."""
    made = []
    includes = ["-I", folder / "src", "-I", DEVICES / "arduino", "-I", folder / "examples/Classify"]
    library = sorted((folder / "src").rglob("*.c"))
    assert [file.name for file in library] == ["model.c"]
    sources = [(c, "c", "-std=gnu11", file) for file in library]
    sources.append((cpp, "c++", "-std=gnu++11", folder / "examples/Classify/Classify.ino"))
    for compiler, language, standard, file in sources:
        made.append(out / f"{file.name}.o")
        words = [*WARNINGS, standard, *flags, *includes, "-x", language]
        before = ["-include", "Arduino.h"] if language == "c++" else []
        called(compiler, *words, *before, "-c", file, "-o", made[-1])
    return made


def test_the_sketch_compiles_and_runs(
    unpacked: dict[str, Path], c_files: tuple[Path, Description], tmp_path: Path
) -> None:
    made = sketch(unpacked["arduino"], tmp_path, "cc", "c++", "-O1")
    main, program = DEVICES / "arduino/main.cpp", tmp_path / "sketch"
    called("c++", "-I", DEVICES / "arduino", main, *made, "-lm", "-o", program)
    check_said(called(program), c_files)


def test_a_cortex_m4_runs_the_packed_file(
    unpacked: dict[str, Path], c_files: tuple[Path, Description], tmp_path: Path
) -> None:
    path, description = c_files
    if not all(map(shutil.which, ("arm-none-eabi-gcc", "arm-none-eabi-g++", "qemu-system-arm"))):
        pytest.skip("arm-none-eabi-gcc, arm-none-eabi-g++ or qemu-system-arm is not installed")
    gcc, gpp = "arm-none-eabi-gcc", "arm-none-eabi-g++"
    sketch(unpacked["arduino"], tmp_path, gcc, gpp, *CORTEX_M4)
    for name, include in (("esp-idf", ""), ("zephyr", "include")):
        folder = unpacked[name]
        places = ["-I", folder / "include", "-I", DEVICES / name / include]
        main = next(folder.rglob("main.c"))
        called(gcc, *WARNINGS, *CORTEX_M4, *places, "-c", main, "-o", tmp_path / "main.o")
    if description.precision == "int8":
        (tmp_path / "model.c").write_bytes((unpacked["zephyr"] / "src/model.c").read_bytes())
        header = unpacked["zephyr"] / "include/ghostnet_small/model.h"
        (tmp_path / "model.h").write_bytes(header.read_bytes())
        core, place = emulator.CORES["cortex-m4"], tmp_path / "emulated"
        made = emulator.emulate(tmp_path / "model.c", shown(description), core, ["-Os"], place)
        assert np.array_equal(made.answers, open_file(path)(shown(description)))


def test_the_header_is_for_c_plus_plus_too(unpacked: dict[str, Path], tmp_path: Path) -> None:
    user = tmp_path / "user.cpp"
    user.write_text(
        '#include "ghostnet_small/model.h"\n'
        "int main() { return ghostnet_classes[GHOSTNET_CLASSES - 1][0] == 0; }\n"
    )
    for name in ("esp-idf", "zephyr", "cmake"):
        called("c++", *WARNINGS, "-I", unpacked[name] / "include", "-c", user, "-o", "/dev/null")


# Manifests -----------------------------------------------------------------------------------


def test_arduinos_rules(unpacked: dict[str, Path]) -> None:
    folder = unpacked["arduino"]
    lines = (folder / "library.properties").read_text().splitlines()
    found = dict(line.split("=", 1) for line in lines)
    assert len(found) == len(lines) and all(value.strip() == value for value in found.values())
    assert all(found[key] for key in (*ARDUINO_REQUIRED, "url", "architectures"))
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,62}", found["name"])
    assert "arduino" not in found["name"].lower()
    assert re.fullmatch(SEMVER, found["version"])
    assert found["category"] in ARDUINO_CATEGORIES and found["url"].startswith("https://")
    # The paragraph goes on after the sentence.
    assert found["sentence"].endswith(".") and found["sentence"] not in found["paragraph"]
    assert all((folder / "src" / name).is_file() for name in found["includes"].split(","))
    assert folder.name == found["name"]
    sketches = list((folder / "examples").rglob("*.ino"))
    assert [file.parent.name for file in sketches] == [file.stem for file in sketches] != []


def test_esp_idfs_rules(unpacked: dict[str, Path]) -> None:
    folder = unpacked["esp-idf"]
    found = yaml.safe_load((folder / "idf_component.yml").read_text())
    assert set(found) <= IDF_KEYS
    assert re.fullmatch(SEMVER, found["version"]) and found["license"] == "MIT"
    assert found["url"].startswith("https://") and isinstance(found["description"], str)
    assert found["dependencies"] == {"idf": ">=5.0"}
    assert all((folder / one["path"] / "CMakeLists.txt").is_file() for one in found["examples"])
    # The component's name is that of its folder.
    requires = (folder / "examples/classify/main/CMakeLists.txt").read_text()
    assert folder.name in requires.split("PRIV_REQUIRES")[1].split()


def test_zephyrs_rules(unpacked: dict[str, Path], c_files: tuple[Path, Description]) -> None:
    folder = unpacked["zephyr"]
    found = yaml.safe_load((folder / "zephyr/module.yml").read_text())
    assert set(found) == {"name", "build", "samples"} and found["name"] == "ghostnet_small"
    assert (folder / found["build"]["cmake"] / "CMakeLists.txt").is_file()
    assert (folder / found["build"]["kconfig"]).is_file() and set(found["build"]) <= {
        *("cmake", "kconfig")
    }
    (samples,) = (folder / place for place in found["samples"])
    (described,) = samples.rglob("sample.yaml")
    sample = yaml.safe_load(described.read_text())
    assert set(sample) == {"sample", "tests"} and set(sample["sample"]) == {"name", "description"}
    ((name, test),) = sample["tests"].items()
    assert re.fullmatch(r"[A-Za-z0-9_.]+", name)
    assert {key: type(value) for key, value in test.items()} == SAMPLE_TYPES
    # In kB.
    source, header = texts(c_files[0])
    workspace, tables = c_file.working_memory(c_files[0]), re.search(r"tables: (\d+)", source)
    assert tables is not None and str(workspace) in header
    assert workspace < 1024 * test["min_ram"] and int(tables[1]) < 1024 * test["min_flash"]
    assert test["harness_config"]["type"] == "one_line"
    (line,) = test["harness_config"]["regex"]
    assert re.fullmatch(line, "class a cat in 12.345 ms")
    options = re.findall(r"^config (\w+)$", (folder / "Kconfig").read_text(), re.MULTILINE)
    settings = (described.parent / "prj.conf").read_text()
    assert [f"CONFIG_{one}=y" in settings for one in options] == [True]
