"""The export formats by name: their modules, files and sessions."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from ghostnet_small.errors import InputError, nearest

if TYPE_CHECKING:
    # Help texts list the formats, and do not wait for torch.
    from ghostnet_small.deploy.description import Precision
    from ghostnet_small.deploy.session import Session


@dataclass(frozen=True)
class Format:
    """A file format and the runtime behind it.

    ``suffix`` ends the name of the file that ``evaluate`` is given, ``companions`` those of the
    files that belong beside it. ``modules`` are what the format imports, ``extra`` installs them.
    Its ``module``, imported when it is first used, has ``export(network, description, path)`` and
    ``open_file(path, threads)``; the module ``int8``, whose tools can be much slower to import, has
    ``quantize(network, description, calibration, path)``, whose ``calibration`` are training
    images as a session takes them. ``ghostnets_only``: it takes no other networks. ``mixed``:
    ``quantize`` takes a fifth argument as well, names of modules that stay in float32.
    ``checked``: the module has ``check_file(path)``, which refuses an unsafe file before
    a runtime reads it. ``package``: it packs the C file for other programs, which open it.
    """

    name: str
    suffix: str
    module: str
    companions: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    extra: str | None = None
    int8: str | None = None
    ghostnets_only: bool = False
    mixed: bool = False
    checked: bool = False
    package: bool = False

    @property
    def install(self) -> str:
        """The command that installs what the format needs."""
        return f"pip install 'ghostnet-small[{self.extra}]'"

    def missing(self) -> tuple[str, ...]:
        """Its modules that are not installed."""
        return tuple(name for name in self.modules if importlib.util.find_spec(name) is None)

    def check(self) -> None:
        """Raises ``InputError`` with the install line where a module is missing."""
        missing = self.missing()
        if missing:
            raise InputError(
                f"format {self.name} needs {', '.join(missing)}, which is not installed; install "
                f"it with: {self.install}"
            )

    def load(self) -> ModuleType:
        """Return the module behind the format; raises what ``check`` raises."""
        self.check()
        return importlib.import_module(f"ghostnet_small.deploy.{self.module}")

    def load_int8(self) -> ModuleType:
        """Return the module that quantises; raises what ``check`` raises."""
        self.check()
        return importlib.import_module(f"ghostnet_small.deploy.{self.int8}")

    def file(self, folder: Path, precision: Precision = "float32") -> Path:
        """Return the file of ``folder`` that an export writes and the commands are given."""
        infix = "" if precision == "float32" else f".{precision}"
        return folder / f"model{infix}{self.suffix}"

    def files(self, path: Path) -> tuple[Path, ...]:
        """Return ``path``, one of this format, and the companions that belong beside it."""
        stem = path.name.removesuffix(self.suffix)
        return (path, *(path.with_name(stem + suffix) for suffix in self.companions))


FORMATS = {
    form.name: form
    for form in (
        Format("torch", ".pt2", "torch_program"),
        Format(
            "onnx",
            ".onnx",
            "onnx_file",
            modules=("onnx", "onnxruntime", "onnxscript"),
            extra="onnx",
            int8="quantize_onnx",
            mixed=True,
            checked=True,
        ),
        Format(
            "openvino",
            ".xml",
            "openvino_file",
            companions=(".bin",),
            modules=("openvino", "nncf"),
            extra="openvino",
            int8="quantize_openvino",
            mixed=True,
        ),
        Format(
            "executorch",
            ".pte",
            "executorch_file",
            modules=("executorch", "torchao"),
            extra="executorch",
            int8="quantize_executorch",
            mixed=True,
        ),
        Format(
            "ncnn",
            ".ncnn.param",
            "ncnn_file",
            companions=(".ncnn.bin",),
            modules=("ncnn", "pnnx"),
            extra="ncnn",
        ),
        Format(
            "litert",
            ".tflite",
            "litert_file",
            modules=("ai_edge_litert",),
            extra="litert",
            int8="litert_file",
            ghostnets_only=True,
            checked=True,
        ),
        Format("c", ".c", "c_file", companions=(".h",), int8="c_file", ghostnets_only=True),
    )
}
PACKAGES = {
    name: Format(
        name, f".{name}.zip", "c_packages", int8="c_packages", ghostnets_only=True, package=True
    )
    for name in ("arduino", "esp-idf", "zephyr", "cmake")
}


def chosen_formats(names: Sequence[str]) -> list[Format]:
    """Return the formats and packages of ``names``; "all" are the formats that are installed.

    Raises ``InputError`` for a name that is not known, or whose modules are missing.
    """
    if list(names) == ["all"]:
        return [form for form in FORMATS.values() if not form.missing()]
    known = FORMATS | PACKAGES
    for name in names:
        if name not in known:
            raise InputError(
                f"format {name!r} is not known; {nearest(name, known)}, of {', '.join(known)}, or "
                "all"
            )
        known[name].check()
    return [known[name] for name in dict.fromkeys(names)]


def format_of(path: Path) -> Format | None:
    """Return the format or package whose files end like ``path``."""
    known = (FORMATS | PACKAGES).values()
    return next((form for form in known if path.name.endswith(form.suffix)), None)


def open_file(path: Path, threads: int = 1, *, trust: bool = False) -> Session:
    """Return the network of an exported file, to run on ``threads`` CPU threads.

    With ``trust`` the file may do more than those that ``export`` writes.

    Raises ``InputError`` where the file is of no known format, its runtime is not installed, a
    companion is missing, or it is damaged or of another version; and, without ``trust``, where it
    was not written by ``export`` as far as can be told.
    """
    form = format_of(path)
    if form is None:
        endings = ", ".join(known.suffix for known in FORMATS.values())
        raise InputError(f"{path} is no exported network; their names end in {endings}")
    module = form.load()
    opener: Callable[[Path, int], Session] = module.open_file
    for file in form.files(path):
        if not file.is_file():
            beside = f", or copy it beside {path.name}" if file != path else " first"
            raise InputError(f"{file} is not there; export the run{beside}")
    if not trust and form.checked:
        module.check_file(path)
    return opener(path, threads)
