"""The flash and the working memory that a C file takes on a device."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

import torch

from ghostnet_small.deploy.c.grids import picture_grid
from ghostnet_small.deploy.c.int8 import write_int8
from ghostnet_small.deploy.c.plan import plan_of
from ghostnet_small.deploy.c.quantize import blank
from ghostnet_small.deploy.c.text import Code
from ghostnet_small.deploy.description import Description
from ghostnet_small.files import temporary_folder
from ghostnet_small.models.registry import create_from
from ghostnet_small.nn.fold import reparameterize

CORTEX_M4 = ("-mthumb", "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard")
# Compiler, the program that counts its bytes, flags, and what they are called; tried in turn.
COMPILERS: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("arm-none-eabi-gcc", "arm-none-eabi-size", CORTEX_M4, "compiled for a Cortex-M4"),
    ("cc", "size", (), "compiled for this machine"),
)
FLAGS = ("-std=c99", "-Os", "-x", "c", "-c", "-")
SECONDS = 300
# Most bytes of code, on a Cortex-M4, of an int8 file.
CODE = 15_000


@lru_cache(maxsize=2)  # packages hold the same files
def flash_of(source: str) -> tuple[int, str]:
    """Return the bytes of flash of a C file's text, and how they were counted: with the code by a
    compiler, or without by its tables."""
    for compiler, size, flags, counted in COMPILERS:
        if shutil.which(compiler) and shutil.which(size):
            found = _compiled(source, [compiler, *flags, *FLAGS], size)
            if found is not None:
                return found, counted
    return table_bytes(source), "tables only, without the code"


def table_bytes(source: str) -> int:
    """Return the bytes of a C file's tables, which it tells itself."""
    return _number(r"^ \* Constant tables: (\d+) bytes", source)


def workspace_bytes(header: str) -> int:
    """Return the bytes of working memory, from the header's text."""
    return _number(r"^#define GHOSTNET_WORKSPACE (\d+)$", header)


def expected_bytes(config: Mapping[str, Any], description: Description) -> tuple[int, int]:
    """Return the most flash on a Cortex-M4, and the working memory, of the int8 file of a network
    that is ``config``, in bytes; counted without weights."""
    code = blank_code(config, description)
    return code.shared().table_bytes + CODE, code.memory_bytes


def blank_code(config: Mapping[str, Any], description: Description) -> Code:
    """Return the code of the int8 file of a network that is ``config``, with placeholder weights
    and before equal tables are ``shared``."""
    with torch.device("meta"):
        folded = reparameterize(create_from(config).eval())
    plan = plan_of(folded.to_empty(device="cpu"), description.size)
    grid = picture_grid(description.mean, description.std)
    steps = blank(plan, head_bits=description.head_bits)
    return write_int8(plan, steps, grid, pixels=description.input == "pixels")


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text, re.MULTILINE)
    assert found is not None
    return int(found[1])


def _compiled(source: str, command: list[str], size: str) -> int | None:
    """Return the bytes of code and data; None where a program fails."""
    run = partial(subprocess.run, capture_output=True, text=True, timeout=SECONDS)
    with temporary_folder() as folder:
        made = folder / "model.o"
        if run([*command, "-o", str(made)], input=source).returncode:
            return None
        said = run([size, str(made)])
    words = said.stdout.splitlines()[-1].split() if said.returncode == 0 else []
    return sum(map(int, words[:2])) if words else None
