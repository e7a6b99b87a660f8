"""Known forms of data sets that are not read, each with its name and a cure."""

from __future__ import annotations

from pathlib import Path

from ghostnet_small.data.pictures import picture_extensions

_SAVE = "np.savez('set.npz', x_train=..., y_train=..., x_test=..., y_test=...)"
# Files that tell the form, below the folder that was given or one in it; what it is; the cure.
_UNREAD = (
    (
        ("dataset_dict.json",),
        "was written by save_to_disk of datasets",
        "export it to parquet: for name, split in datasets.load_from_disk({folder!r}).items(): "
        "split.to_parquet(f'NEW/{{name}}.parquet')",
    ),
    (
        ("state.json",),
        "was written by save_to_disk of datasets",
        "export it to parquet: datasets.load_from_disk({folder!r}).to_parquet('NEW/train.parquet')",
    ),
    (
        ("train_X.bin",),
        "holds STL-10's binary files",
        "read them with NumPy (uint8, (-1, 3, 96, 96), columns before rows) and save "
        "x.transpose(0, 3, 2, 1) with np.savez('set.npz', x_train=..., y_train=...)",
    ),
    (
        ("*.mat",),
        "holds MATLAB files",
        f"read them with scipy.io.loadmat and save {_SAVE}; SVHN is --data.source svhn",
    ),
    (
        ("*.npy",),
        "holds NumPy arrays in files of their own",
        f"save them in one: {_SAVE}",
    ),
    (
        ("*.tfrecord*",),
        "holds TensorFlow records",
        f"save their images and labels with {_SAVE}",
    ),
    (
        ("*.mdb", "*.h5", "*.hdf5", "*.pt", "*.pth", "*.bz2", "*.csv"),
        "holds files of another program ({file})",
        f"save the images and labels with {_SAVE}, or the images as train/<class>/*.png",
    ),
)


def unread_form(root: Path) -> str | None:
    """Return a message on a known form in the folder ``root`` that is not read, with the cure.

    None where the form is unknown, and for a folder with images, whatever lies beside them: it has
    another fault.
    """
    folders = [root, *sorted(entry for entry in root.iterdir() if entry.is_dir())]
    endings = picture_extensions()
    if any(
        file.suffix.lower() in endings
        for folder in folders
        for file in [*folder.iterdir(), *folder.glob("*/*")]
    ):
        return None
    for signs, what, cure in _UNREAD:
        for folder in folders:
            for sign in signs:
                for file in sorted(folder.glob(sign)):
                    names = {"file": file.relative_to(root), "folder": str(folder)}
                    return f"{what}, a form that is not read; {cure}".format_map(names)
    return None
