"""The text of the C file and of its header."""

from __future__ import annotations

import re
from importlib import resources

from ghostnet_small.deploy.c.text import Code, comment, string
from ghostnet_small.deploy.description import KEY, Description
from ghostnet_small.errors import InputError
from ghostnet_small.models.heads import head_text
from ghostnet_small.version import __version__

# The kernels of each core, and then the operators.
INT8_PARTS = ("vnni", "avx2", "neon", "helium", "dsp", "none", "steps")
MOST_BYTES = 2**31 - 1  # of the working memory, which the code counts in ints


def source_text(description: Description, code: Code) -> str:
    """Return the text of the C file.

    Raises ``InputError`` where it would need more memory than its code can count.
    """
    if code.memory_bytes > MOST_BYTES:
        raise InputError(
            f"in C the network needs {code.memory_bytes:,} bytes of working memory for one image, "
            f"and at most {MOST_BYTES:,} are allowed; take smaller images or another format"
        )
    room = resources.files("ghostnet_small.deploy.c")
    parts = [
        comment(_about(description, code)),
        f"/* {tag(description)} */",
        *(["#include <math.h>"] if description.input == "pixels" else []),
        *(room.joinpath(name).read_text() for name in _kernels(description)),
        "\n".join(code.instances),
        *(table.definition() for table in code.tables),
        f"extern {_names(description)};",
        f"{_names(description)} = {{\n    "
        + ",\n    ".join(map(string, description.classes))
        + "\n};",
        "extern const int ghostnet_workspace;",
        f"const int ghostnet_workspace = {code.memory_bytes};",
        f"{_run(description)};",
        f"{_run(description)}\n{{\n    {code.kind} *memory = workspace;\n"
        + "\n".join(f"    {line}" for line in code.lines)
        + "\n}",
    ]
    return "\n\n".join(parts) + "\n"


def header_text(description: Description, code: Code) -> str:
    """Return the text of the header: sizes, class names and the one function."""
    height, width = description.size
    sizes = {
        "CHANNELS": description.channels,
        "HEIGHT": height,
        "WIDTH": width,
        "CLASSES": len(description.classes),
        "WORKSPACE": code.memory_bytes,
    }
    return (
        "\n\n".join(
            [
                comment(_about(description, code)),
                "#ifndef GHOSTNET_SMALL_H\n#define GHOSTNET_SMALL_H",
                "\n".join(f"#define GHOSTNET_{name} {value}" for name, value in sizes.items()),
                '#ifdef __cplusplus\nextern "C" {\n#endif',
                f"extern {_names(description)};",
                f"{_run(description)};",
                "#ifdef __cplusplus\n}\n#endif\n\n#endif",
            ]
        )
        + "\n"
    )


def tag(description: Description) -> str:
    """Return the description in a form that a comment can hold; ``read_tag`` reads it."""
    # Without a star nothing ends the comment or seems to open another.
    text = description.as_json().replace("*", "\\u002a")
    return f"{KEY}: {text}"


def read_tag(text: str) -> str | None:
    """Return the JSON of ``tag`` in a C file's text."""
    start = f"/* {KEY}: "
    found = re.search(rf"^{re.escape(start)}(.*)$", text, re.MULTILINE)
    return None if found is None else found[1].removesuffix(" */")


def _kernels(description: Description) -> list[str]:
    """Return the files of this room that the code calls."""
    kernels = [f"{description.precision}.c"]
    if description.precision == "int8":
        kernels += [f"int8_{part}.c" for part in INT8_PARTS]
    if description.input == "pixels":
        kernels += [f"{description.precision}_pixels.c", "softmax.c"]
    elif description.precision == "int8":
        kernels.append("int8_floats.c")
    return kernels


def _names(description: Description) -> str:
    return f"const char *const ghostnet_classes[{len(description.classes)}]"


def _run(description: Description) -> str:
    picture = "unsigned char" if description.input == "pixels" else "float"
    return f"void ghostnet_run(const {picture} *picture, float *answers, void *workspace)"


def _about(description: Description, code: Code) -> str:
    height, width = description.size
    kind = "float32" if description.precision == "float32" else "int8"
    takes = (
        "pixels of 0 .. 255" if description.input == "pixels" else "normalised pixels (see below)"
    )
    gives = "probabilities" if description.input == "pixels" else "logits"
    scale = f"width {description.width:g}{head_text(description.head)}"
    return "\n".join(
        [
            f"{description.architecture}, {scale}, {kind}; written by "
            f"ghostnet-small {__version__} export.",
            "",
            "ghostnet_run(picture, answers, workspace)",
            f"  picture: {description.channels} planes of {height} x {width} {takes}",
            f"  answers: {len(description.classes)} {gives}, in the order of ghostnet_classes",
            f"  workspace: {code.memory_bytes} bytes, aligned to 64 where that is possible; the "
            "only memory it needs but for a few kilobytes of stack, and nothing in it is kept "
            "from call to call",
            f"Constant tables: {code.table_bytes} bytes; the code comes on top. No heap.",
            "",
            f"mean: {', '.join(f'{v:.9g}' for v in description.mean)}",
            f"std: {', '.join(f'{v:.9g}' for v in description.std)}",
            "A normalised pixel is (value / 255 - mean) / std, by channel.",
            "",
            "C99. For a fast one: cc -std=c99 -O3 -march=native -ffp-contract=fast",
        ]
    )
