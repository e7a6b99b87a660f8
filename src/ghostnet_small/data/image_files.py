"""The image files below a folder: each entry is read, refused, or passed over and counted."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ghostnet_small.data.pictures import picture_extensions
from ghostnet_small.errors import InputError, printable
from ghostnet_small.files import expanded

# What systems leave in folders, in lower case; hidden files are passed over too.
_JUNK = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx")
_MOST_KINDS = 6
_LOOK_DEPTH = 3  # folders below one in which an image is looked for


def is_junk(name: str) -> bool:
    """Return whether an entry called ``name`` is hidden, or left by a system: never an image."""
    return name.startswith(".") or name.lower() in _JUNK


def is_image_name(name: str) -> bool:
    """Return whether a file called ``name`` has the ending of an image."""
    return not is_junk(name) and os.path.splitext(name)[1].lower() in picture_extensions()


@dataclass
class PassedOver:
    """Entries that no image is read from: how many of each kind, and the folders they lie in."""

    kinds: Counter[str] = field(default_factory=Counter)
    folders: set[str] = field(default_factory=set)

    def add(self, folder: str, kind: str) -> None:
        """Count one entry of ``folder``; "40 ``kind``" must read well."""
        self.kinds[kind] += 1
        self.folders.add(folder)

    def update(self, other: PassedOver) -> None:
        """Count those of ``other`` too."""
        self.kinds.update(other.kinds)
        self.folders |= other.folders

    def __str__(self) -> str:
        """``40 .heic, 3 without an ending``; the most frequent first."""
        kinds = [f"{count:,} {kind}" for kind, count in self.kinds.most_common(_MOST_KINDS)]
        if others := self.kinds.total() - sum(
            count for _, count in self.kinds.most_common(_MOST_KINDS)
        ):
            kinds.append(f"{others:,} others")
        return printable(", ".join(kinds))

    def remarks(self) -> tuple[str, ...]:
        """One line for the user, or none."""
        if not self.kinds:
            return ()
        where = os.path.commonpath(self.folders)
        cure = "images need an ending such as .png or .jpg"
        return (f"passed over in {printable(where)}: {self}; {cure}",)


@dataclass
class ImageFiles:
    """The images of a folder: ``files`` sorted, messages by ``refused`` path, and the rest."""

    files: list[Path] = field(default_factory=list)
    refused: dict[Path, str] = field(default_factory=dict)
    passed: PassedOver = field(default_factory=PassedOver)


def list_images(path: str | Path) -> ImageFiles:
    """Return the file ``path`` itself, or the images at any depth below the folder ``path``.

    Links to files and folders are followed; a folder that several links lead to is read once. Other
    endings than those of images are passed over; ``path`` itself may have any ending. Links that
    lead nowhere and folders that cannot be read are refused.

    Raises ``InputError`` where nothing is there, or no image.
    """
    path = expanded(path)
    if path.is_file():
        return ImageFiles([path])
    if not path.is_dir():
        raise InputError(f"{path} does not exist; give an image file or a folder of images")
    found = _walk(path)
    if not found.files:
        for message in found.refused.values():
            raise InputError(message)
        passed = f" (passed over: {found.passed})" if found.passed.kinds else ""
        raise InputError(
            f"folder {path} holds no image{passed}; put images there (.png, .jpg, .webp, "
            ".bmp, ...) or remove it"
        )
    return found


def find_pictures(path: str | Path, say: Callable[[str], None] | None = None) -> list[Path]:
    """Return the ``files`` of ``list_images``; ``say`` gets remarks on what is passed over.

    Raises ``InputError`` also for what is refused.
    """
    found = list_images(path)
    for message in found.refused.values():
        raise InputError(message)
    if say is not None:
        for remark in found.passed.remarks():
            say(remark)
    return found.files


def first_file(folder: Path, wanted: Callable[[str], bool]) -> Path | None:
    """Return a file below ``folder`` whose name is ``wanted``, or None where none lies near.

    Folders that cannot be read hold none.
    """
    waiting = deque([(str(folder), 1)])
    while waiting:
        path, depth = waiting.popleft()
        with suppress(OSError), os.scandir(path) as entries:
            for entry in entries:
                if wanted(entry.name):
                    return Path(entry.path)
                if depth < _LOOK_DEPTH and not is_junk(entry.name) and entry.is_dir():
                    waiting.append((entry.path, depth + 1))
    return None


def holds_image(folder: Path) -> bool:
    """Return whether an image lies below ``folder``, at most a few folders deep."""
    return first_file(folder, is_image_name) is not None


def _entries(path: str, refuse: Callable[[OSError], None]) -> Iterator[os.DirEntry[str]]:
    """The entries of a folder, by name, without junk."""
    try:
        with os.scandir(path) as scanned:
            entries = [entry for entry in scanned if not is_junk(entry.name)]
    except OSError as error:
        refuse(error)
        return
    yield from sorted(entries, key=lambda entry: entry.name)


def _walk(root: Path) -> ImageFiles:
    found = ImageFiles()
    files: list[str] = []
    # Folders by device and inode: links may lead to a folder above, or twice to the same one.
    known = {_identity(str(above)) for above in (root.resolve(), *root.resolve().parents)}
    # Folders behind links come last, so that the folders that lie here keep their own paths.
    folders, linked = deque([str(root)]), deque[str]()

    def enter(path: str) -> None:
        identity = _identity(path)
        if identity in known:
            kind = "leading to a folder that is read already"
            found.passed.add(os.path.dirname(path), kind)
        else:
            known.add(identity)
            folders.append(path)

    def refuse(path: str) -> Callable[[OSError], None]:
        def add(error: OSError) -> None:
            found.refused[Path(path)] = (
                f"{path} cannot be read ({error.strerror}); make it readable, or remove it"
            )

        return add

    while folders or linked:
        if not folders:
            enter(linked.popleft())
            continue
        folder = folders.popleft()
        for entry in _entries(folder, refuse(folder)):
            try:
                if entry.is_dir():
                    if entry.is_symlink():
                        linked.append(entry.path)
                    else:
                        enter(entry.path)
                elif entry.is_file():
                    if is_image_name(entry.name):
                        files.append(entry.path)
                    else:
                        found.passed.add(folder, _ending(entry.name))
                elif not entry.is_symlink():
                    found.passed.add(folder, "that are no regular files")
                elif is_image_name(entry.name) or not os.path.splitext(entry.name)[1]:
                    found.refused[Path(entry.path)] = (
                        f"{entry.path} is a link to {os.readlink(entry.path)}, which is not there; "
                        "correct or remove it"
                    )
                else:
                    found.passed.add(folder, _ending(entry.name))
            except OSError as error:
                refuse(entry.path)(error)
    # As paths compare, part by part.
    files.sort(key=lambda file: file.split(os.sep))
    found.files = [Path(file) for file in files]
    return found


def _identity(folder: str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _ending(name: str) -> str:
    """The kind of a file that is passed over."""
    ending = os.path.splitext(name)[1].lower()
    return ending if ending[1:].isalnum() and len(ending) <= 10 else "without an ending"
