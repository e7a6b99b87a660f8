"""A small folder of files as one string of bytes, so that what mutates bytes mutates folders."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

MOST_PARTS = 64
MOST_BYTES = 4 << 20
_HEAD = re.compile(rb"\n==== ([fdlpz])([0-9]{0,8}) ([^\n]{1,200})\n")


def pack(parts: list[tuple[str, str, bytes]]) -> bytes:
    """Parts (kind, path, content) as bytes that ``unpack`` makes a folder of.

    Kinds: ``f`` a file, ``d`` a folder, ``l`` a link to ``content``, ``p`` a pipe, and ``z`` with
    a number: a file that goes on in zeros to so many bytes.
    """
    return b"".join(f"\n==== {kind} {path}\n".encode() + content for kind, path, content in parts)


def unpack(data: bytes, root: Path) -> None:
    """Make the empty folder ``root`` hold what ``data`` says; what no disk can hold is left out.

    Nothing is made outside of ``root``, and no link leads out of it.
    """
    heads = list(_HEAD.finditer(data))[:MOST_PARTS]
    ends = [head.start() for head in heads[1:]] + [len(data)]
    for head, end in zip(heads, ends, strict=False):
        kind, size, name, content = head[1], head[2], head[3], data[head.end() : end]
        path = _inside(root, name)
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if kind == b"d":
                os.makedirs(path, exist_ok=True)
            elif kind == b"p":
                os.mkfifo(path)
            elif kind == b"l":
                os.symlink(
                    os.path.relpath(_inside(root, content[:100]), os.path.dirname(path)), path
                )
            else:
                # Never what is there already: to write into a pipe would wait for its reader.
                with open(path, "xb") as file:
                    file.write(content)
                    if kind == b"z":
                        file.truncate(min(int(size or b"0"), MOST_BYTES))
        except (OSError, ValueError):
            continue


def clear(root: Path) -> None:
    """Remove ``root`` with all in it, and make it anew."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True, exist_ok=True)


def _inside(root: Path, name: bytes) -> bytes:
    parts = [part for part in name.split(b"/") if part not in (b"", b".", b"..")]
    return b"/".join([os.fsencode(root), *parts])
