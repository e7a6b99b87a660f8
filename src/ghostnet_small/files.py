"""Files that are complete or absent after a crash, and checked when they are read."""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from ghostnet_small.errors import InputError
from ghostnet_small.platforms import check_system

check_system()
import fcntl  # noqa: E402  (not there on Windows, where the line above says so)

DIGEST = "digest"
LARGEST_TEXT = 64 << 20  # bytes
OFF = "off"
NO_ROOM = os.strerror(errno.ENOSPC)  # as compilers say it too
_log = logging.getLogger(__name__)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Replace ``path`` by ``data`` (text as UTF-8): a crash leaves the old file or the new one.

    The folder must exist. Two writers of one path must not run at a time.

    Raises ``InputError`` where ``path`` is a link; ``OSError`` with the path and the cure where the
    disk is full or the place cannot be written. The old file stays unchanged.
    """
    # Beside the target, because a rename is atomic only within one file system. The name is fixed,
    # so that the next process removes what a killed one left.
    partial = path.with_name(f".{path.name}.partial")
    try:
        check_no_link(path)
        partial.unlink(missing_ok=True)
        # "x": a new file. An existing one, such as another user's link, is never opened.
        with partial.open("xb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            to_disk(file.fileno())
        os.replace(partial, path)
    except BaseException as error:
        # The first error matters more than this one; the next write overwrites the file anyway.
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(
                error.errno,
                f"{error.strerror}; the old file is unchanged: make room, or make the folder "
                "writable, and start the command again",
                str(path),
            ) from error
        raise
    sync(path.parent)


def check_no_link(path: Path) -> None:
    """Raise ``InputError`` where ``path`` is a symbolic link.

    A folder may come from an untrusted source, and a link in it may lead anywhere.
    """
    if path.is_symlink():
        raise InputError(
            f"{path} is a link to {os.readlink(path)}, and nothing is written through a link; "
            "remove it, or give the place that it leads to"
        )


def no_follow(path: str, flags: int) -> int:
    """An ``opener`` of ``open`` that fails at a link, and does not wait at a pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)


def open_log(path: Path) -> TextIO:
    """Open ``path`` to append text to it; raises ``InputError`` where it is a link."""
    check_no_link(path)
    return open(path, "a", opener=no_follow)


def inner_folder(path: Path) -> Path:
    """Make the folder ``path`` where it is missing, inside a folder that may be untrusted.

    Raises ``InputError`` where it is a link.
    """
    check_no_link(path)
    path.mkdir(exist_ok=True)
    return path


def cache_root(setting: str | None = None) -> Path | None:
    """The folder of all caches: ``setting``, ``GHOSTNET_CACHE``, or the user's own; None: off.

    A user without a home folder has none, and is warned once. A relative ``XDG_CACHE_HOME`` is
    ignored, as the XDG Base Directory Specification says: it would differ in each folder.
    """
    named = setting or os.environ.get("GHOSTNET_CACHE")
    if named == OFF:
        return None
    home = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        if named:
            return Path(named).expanduser()
        return (home if home.is_absolute() else Path.home() / ".cache") / "ghostnet-small"
    except RuntimeError:
        _say_no_home()
        return None


@functools.cache
def _say_no_home() -> None:
    _log.warning(
        "this user has no home folder, so nothing is cached: images are decoded and kernels "
        "compiled again at each start; name a folder for the cache in GHOSTNET_CACHE"
    )


def private_folder(path: Path) -> None:
    """Make the folder ``path`` and those above it, where they are missing, for this user only."""
    for folder in (*reversed(path.parents), path):
        folder.mkdir(mode=0o700, exist_ok=True)


def only_ours(path: Path, *, above: bool = False) -> bool:
    """Return whether nobody but this user and root can change what lies at ``path``, or put
    something else there.

    All folders above it count, and all links on the way. A folder that everyone can write to is
    allowed where it is sticky, such as ``/tmp``: others cannot move files of this user or root.
    ``above``: ``path`` is a folder above the one in question.
    """
    path = path.absolute()
    for place in (path, *path.parents):
        found = place.lstat()
        inside = above or place != path
        if stat.S_ISLNK(found.st_mode):
            kept = only_ours(place.parent / place.readlink(), above=inside)
        else:
            shared = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            kept = not shared or (inside and bool(found.st_mode & stat.S_ISVTX))
        if not kept or found.st_uid not in (0, os.geteuid()):
            return False
    return True


@functools.cache
def _say_not_only_ours(folder: Path) -> None:
    _log.warning(
        "others can write to %s or a folder above it, so compiled code is neither read from there "
        "nor stored there, and is compiled again at each start; remove that right (chmod go-w), or "
        "name another folder in GHOSTNET_CACHE",
        folder,
    )


@contextmanager
def cached_file(name: str, make: Callable[[], bytes]) -> Iterator[Path]:
    """Yield the cached file ``name``, which will be run; ``make`` gives its content if missing.

    A cache that others than this user and root can write to is not used. Without a cache, or where
    it cannot be written, the file is a temporary one.
    """
    kept, content = _place(name), None
    try:
        if kept is not None and not _is_ours(kept):
            content = make()
            write_atomic(kept, content)
            kept.chmod(0o644)
    except OSError as error:
        _log.debug("%s is not kept: %s", kept, error)
    if kept is not None and _is_ours(kept):
        yield kept
        return
    with temporary_folder() as folder:
        file = folder / Path(name).name
        file.write_bytes(make() if content is None else content)
        yield file


def _place(name: str) -> Path | None:
    """Return the place of the file ``name`` in the cache; None where it cannot be there."""
    root = cache_root()
    if root is None:
        return None
    kept = root / name
    try:
        private_folder(kept.parent)
        if only_ours(kept.parent):
            return kept
        _say_not_only_ours(kept.parent)
    except OSError as error:
        _log.debug("%s is not kept: %s", kept, error)
    return None


def _is_ours(kept: Path) -> bool:
    try:
        return kept.is_file() and only_ours(kept) and os.access(kept, os.R_OK)
    except OSError:
        return False


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a temporary folder, which is removed at the end.

    Raises ``InputError`` where the folder for temporary files has no room or cannot be written.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        raise InputError(
            f"no folder for temporary files can be written ({error.strerror}); name one in TMPDIR"
        ) from error
    try:
        with tempfile.TemporaryDirectory(prefix="ghostnet-small-") as name:
            yield Path(name)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise no_temporary_room() from error
        raise


def no_temporary_room() -> InputError:
    """Return the error for a full folder of temporary files."""
    return InputError(
        f"{tempfile.gettempdir()}, the folder for temporary files, has no room; make room, or "
        "name another folder in TMPDIR"
    )


def expanded(typed: str | os.PathLike[str]) -> Path:
    """Return the path that a user typed; ``~`` stays where its home folder is unknown."""
    try:
        return Path(typed).expanduser()
    except RuntimeError:
        return Path(typed)


def check_free(path: Path, option: str, cure: str = "") -> None:
    """Raise ``InputError`` where ``path``, given as ``option``, exists or cannot be made."""
    if path.exists() or path.is_symlink():
        raise InputError(f"{option} {path} exists; {cure}give another folder")
    check_folder(path, option)


def check_folder(path: Path, option: str) -> None:
    """Raise ``InputError`` where ``path``, given as ``option``, is not a folder to write to and
    cannot become one."""
    parent = path.absolute()
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise InputError(
            f"{option} {path} cannot be made: {parent} is not a folder to write to; give another"
        )


def trim_folder(folder: Path, most_bytes: int, most_days: float) -> None:
    """Remove from ``folder`` the files and folders not touched for ``most_days``, then those
    touched longest ago, until the others take at most ``most_bytes``.

    Locks stay. Entries that another process removes meanwhile are skipped.
    """
    found = []
    for path in folder.iterdir():
        if path.suffix == ".lock":
            continue
        with suppress(OSError):
            inner = path.rglob("*") if path.is_dir() else [path]
            size = sum(file.stat().st_size for file in inner)
            found.append((path.stat().st_mtime, size, path))
    oldest, total = time.time() - most_days * 24 * 3600, 0
    for touched, size, path in sorted(found, reverse=True):
        total += size
        if touched >= oldest and total <= most_bytes:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a folder to fill, which becomes ``path`` at the end; after an error neither exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    _fresh_folder(partial)
    try:
        yield partial
        os.rename(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    sync(path.parent)


@contextmanager
def work_folder(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder inside ``folder`` for files that ``move_files`` then moves.

    ``folder`` is made where it is missing. At the end the hidden folder is removed, and with it a
    new ``folder`` that is empty.

    Raises ``InputError`` where another process works there.
    """
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        handle = lock_folder(folder)
    except BlockingIOError:
        raise InputError(f"another process writes into {folder}; wait for its end") from None
    partial = folder / ".partial"
    try:
        _fresh_folder(partial)
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if new:
            with suppress(OSError):
                folder.rmdir()
        os.close(handle)


def _fresh_folder(path: Path) -> None:
    """Make ``path`` an empty folder; what a killed process left, or a link, is removed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
    path.mkdir()


def move_files(files: Sequence[Path], folder: Path) -> None:
    """Move ``files`` into ``folder``, on the same file system, over those of the same names.

    The first stands for all: it is there only together with the others that belong to it.
    """
    for file in files:
        sync(file)
    first = folder / files[0].name
    if len(files) > 1:
        first.unlink(missing_ok=True)
    for file in reversed(files):
        os.replace(file, folder / file.name)
    sync(folder)


def sync(path: Path) -> None:
    """Make a file's content, or the renames in a folder, survive a loss of power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        to_disk(handle)
    finally:
        os.close(handle)


def to_disk(handle: int) -> None:
    """Write what the system and the disk hold back of an open file.

    On macOS ``fsync`` leaves it in the disk's own memory, which a loss of power empties.
    """
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        with suppress(OSError):  # of a file system that does not know it
            fcntl.fcntl(handle, full)
            return
    os.fsync(handle)


def lock_folder(folder: Path, patience: float = 0.0) -> int:
    """A handle that holds ``folder`` for this process until it is closed; others cannot lock it.

    Raises ``BlockingIOError`` where another process holds it for ``patience`` seconds more.
    """
    handle = os.open(folder, os.O_RDONLY)
    until = time.monotonic() + patience
    while True:
        try:
            hold(handle, wait=False)
            return handle
        except BlockingIOError:
            if time.monotonic() >= until:
                os.close(handle)
                raise
            time.sleep(0.05)
        except OSError:
            # Some network file systems cannot lock folders; then no process is kept out.
            return handle


def hold(handle: int, *, wait: bool) -> None:
    """Lock an open file or folder until it is closed, here and in all that inherited it.

    Raises ``BlockingIOError`` where another process holds it, unless it may ``wait``; ``OSError``
    where the file system knows no locks.
    """
    fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


def check_regular(path: Path) -> None:
    """Raise ``InputError`` where ``path`` is a pipe, a device or a folder: reading could wait or
    never end; ``OSError`` where nothing is there."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise InputError(f"{path} is not a regular file; give a file")


def read_bytes(path: Path, largest: int = LARGEST_TEXT) -> bytes:
    """The content of a regular file of at most ``largest`` bytes.

    Raises ``InputError`` where it is larger or no regular file, ``OSError`` where it cannot be
    read.
    """
    check_regular(path)
    if path.stat().st_size > largest:
        raise InputError(f"{path} is larger than {largest:,} bytes, the most for such a file")
    return path.read_bytes()


def read_text(path: Path, largest: int = LARGEST_TEXT) -> str:
    """``read_bytes`` as text; raises ``UnicodeDecodeError`` where it is not UTF-8."""
    return read_bytes(path, largest).decode()


def signed_json(values: Mapping[str, Any]) -> str:
    """``values`` as JSON text with a ``digest`` of the rest, which ``checked_json`` compares."""
    return json.dumps({**values, DIGEST: _digest(values)}, indent=2) + "\n"


def checked_json(path: Path) -> dict[str, Any]:
    """The values of a file that ``signed_json`` made, without their digest.

    A file without a digest, an old one or one written by hand, is accepted as it is.

    Raises ``ValueError`` where it is no JSON object or the digest is not that of the values;
    and what ``read_text`` raises.
    """
    try:
        values = json.loads(read_text(path))
        if not isinstance(values, dict):
            raise ValueError("it is not a JSON object")
        digest = values.pop(DIGEST, None)
        same = digest is None or digest == _digest(values)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not same:
        raise ValueError(
            f"its digest is not that of its content; if you changed it by hand, delete {DIGEST!r}"
        )
    return values


def canonical(values: Mapping[str, Any]) -> bytes:
    """``values`` as JSON bytes in one form, whatever their order."""
    # Through JSON once more, because it reads a tuple as a list and a numeric key as text.
    return json.dumps(json.loads(json.dumps(values)), sort_keys=True).encode()


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(values)).hexdigest()
