"""A folder with all that the pages' commands name, made small."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from docs_blocks import ROOT
from makers import make_folder, make_parquet, make_picture
from written_forms import cifar_files, write_idx, write_tar

CLASSES = tuple("abcdefghij")


def make_place(place: Path) -> None:
    """Data, pictures, recipes and results below ``place``."""
    make_parquet(place / "DIR", train=320, test=32)
    pixels = np.random.default_rng(1).integers(256, size=(100, 28, 28))
    for split in ("train", "t10k"):
        write_idx(place / "fashion", split, pixels, [k % 10 for k in range(100)], zipped=True)


def make_folder_of(page: str, place: Path, folder: Path) -> None:
    """The folder in which one page's commands run; data are shared, results are its own."""
    folder.mkdir(parents=True)
    for name in ("DIR", "fashion"):
        (folder / name).symlink_to(place / name)
    for name in ("recipes", "tools"):
        (folder / name).symlink_to(ROOT / name)
    # Copied, for a report is written beside its rows, and tables into their page.
    unfinished = shutil.ignore_patterns("runs", "logs", "recipes", "weights")
    shutil.copytree(ROOT / "results", folder / "results", ignore=unfinished)
    (folder / "results/weights").symlink_to(ROOT / "results/weights")
    for name in ("README.md", "docs/results.md"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "docs/images", folder / "docs/images")
    (folder / "folder").mkdir()
    for path in (folder / "picture.png", folder / "folder" / "another.png"):
        make_picture(0, 2, size=32, random=np.random.default_rng(0)).save(path)
    if page in ("README.md", "docs/data.md"):
        make_folder(folder / "pictures", train=60, test=4, classes=("cat", "dog"))
    if page == "docs/data.md":
        make_archives(folder)


def make_archives(folder: Path) -> None:
    """The archives of CIFAR, EMNIST's files and the ``.npz`` file that the page on data names."""
    pixels = np.random.default_rng(2).integers(256, size=(20, 32, 32, 3)).astype(np.uint8)
    labels = [k % 10 for k in range(20)]
    for form in ("cifar-10", "cifar-100"):
        name = {"cifar-10": "cifar-10-batches-py", "cifar-100": "cifar-100-python"}[form]
        files = cifar_files(name, (pixels, labels), (pixels, labels), CLASSES)
        write_tar(folder / f"{form}-python.tar.gz", name, files)
    sets = {
        f"{split}_{what}": value
        for split in ("train", "test")
        for what, value in (("images", pixels), ("labels", np.array(labels)))
    }
    np.savez(folder / "pathmnist.npz", **sets)
    for name in ("letters", "digits"):
        for split in ("train", "test"):
            write_idx(
                folder / "emnist",
                f"emnist-{name}-{split}",
                pixels[:, 2:-2, 2:-2, 0],
                labels,
                zipped=True,
            )
