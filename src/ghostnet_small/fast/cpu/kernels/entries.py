"""The C functions by which a recorded list of kernel calls is run (see ``replay.h``)."""

from __future__ import annotations

import re

PREFIX = "entry_"
_KERNEL = re.compile(r"EXPORT int (\w+)\(([^)]*)\)")


def entries(sources: str) -> str:
    """Return C: for each exported kernel in ``sources``, a function that takes it from slots."""
    return "\n".join(
        f"EXPORT int {PREFIX}{name}(const Slot *s) {{ return {name}({_arguments(parameters)}); }}"
        for name, parameters in _KERNEL.findall(sources)
    )


def _arguments(parameters: str) -> str:
    return ", ".join(
        _argument(number, parameter) for number, parameter in enumerate(parameters.split(","))
    )


def _argument(number: int, parameter: str) -> str:
    if "*" in parameter:
        return f"s[{number}].p"
    return f"s[{number}].d" if "double" in parameter else f"(int64_t)s[{number}].i"
