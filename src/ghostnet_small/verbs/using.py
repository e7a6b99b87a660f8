"""Trained weights and exported files in use: evaluate, predict, fold, export.

What a command says beside its result goes to the logger ``ghostnet_small``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ghostnet_small.errors import InputError
from ghostnet_small.files import expanded
from ghostnet_small.verbs.results import CheckedFile, Scores

if TYPE_CHECKING:
    from ghostnet_small.use.classifier import Classifier
    from ghostnet_small.use.image_inputs import ImageInput, Prediction

_log = logging.getLogger(__name__)


def evaluate(
    path: str | os.PathLike[str],
    *,
    split: Literal["test", "validation", "train"] = "test",
    data: str | os.PathLike[str] | None = None,
    weights: Literal["last", "best"] | None = None,
    fold: bool | None = None,
    flip: bool = False,
    trust: bool = False,
    settings: Mapping[str, Any] | None = None,
    **overrides: Any,
) -> Scores:
    """Evaluate trained weights or an exported file on a split of the data they were trained on.

    Args:
        path: as ``load_classifier`` takes it, and ``weights``, ``fold`` and ``trust`` too.
        split: the split.
        data: another data set, as ``train`` takes it.
        flip: also average the answers with those to mirror images.
        settings, overrides: as ``train`` takes them, of data, device and threads.

    Raises ``InputError`` where weights or data cannot be read, or do not suit each other.
    """
    from ghostnet_small.recipe.overrides import override_words
    from ghostnet_small.use.evaluation import SETTINGS, evaluate_classifier

    found = evaluate_classifier(
        expanded(path),
        split=split,
        weights=weights,
        overrides=override_words(settings, overrides, data=data, allowed=SETTINGS),
        fold=fold,
        flip=flip,
        trust=trust,
        say=_log.warning,
    )
    return Scores(**{name: found[name] for name in Scores.__dataclass_fields__ if name in found})


def load_classifier(
    path: str | os.PathLike[str],
    *,
    weights: Literal["last", "best"] | None = None,
    fold: bool | None = None,
    trust: bool = False,
) -> Classifier:
    """Load a classifier of images; its ``predict`` takes paths, PIL images, arrays and tensors.

    Args:
        path: a run, weights by folder, name or ``hf-hub:owner/name``, or any exported file.
        weights: of a run, the ``last`` (None) or the ``best`` on validation.
        fold: False keeps the trained form of weights; None and True fold them.
        trust: run an exported ONNX file whatever it asks of the machine.

    Raises ``InputError`` where ``path`` cannot be read, or is an exported file and ``weights`` or
    ``fold`` is given.
    """
    from ghostnet_small.use.classifier import open_classifier

    return open_classifier(expanded(path), weights=weights, fold=fold, trust=trust)


def predict(
    path: str | os.PathLike[str],
    images: ImageInput | Sequence[ImageInput],
    *,
    top: int = 5,
    **options: Any,
) -> list[Prediction]:
    """Return ``load_classifier(path, **options).predict(images, top=top)``."""
    return load_classifier(path, **options).predict(images, top=top)


def fold(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    weights: Literal["last", "best"] = "last",
) -> Path:
    """Write the folded form of trained weights into the new folder ``out``, and return that.

    Raises ``InputError`` where the weights cannot be read or folded, or ``out`` exists;
    ``CheckFailed`` where the folded network answers otherwise than the trained one.
    """
    from ghostnet_small.use.folding import fold_weights

    return Path(
        fold_weights(expanded(path), expanded(out), weights=weights, say=_log.warning)["out"]
    )


def export(
    path: str | os.PathLike[str],
    *,
    formats: str | Sequence[str] = "all",
    int8: bool = False,
    out: str | os.PathLike[str] | None = None,
    data: str | os.PathLike[str] | None = None,
    input: Literal["normalized", "pixels"] = "normalized",
    weights: Literal["last", "best"] = "last",
    calibration: int | None = None,
    fine_tune: int = 0,
    force: bool = False,
    flash: int | str | None = None,
    ram: int | str | None = None,
    settings: Mapping[str, Any] | None = None,
    **overrides: Any,
) -> list[CheckedFile]:
    """Write trained weights, folded, as files for other runtimes, and return the checked files.

    Args:
        path: a run, or weights by folder, name or ``hf-hub:owner/name``.
        formats: of ``torch``, ``onnx``, ``openvino``, ``executorch``, ``ncnn``, ``litert`` and
            ``c``; "all": those that are installed. Also the packages of the C file ``arduino``,
            ``esp-idf``, ``zephyr`` and ``cmake``.
        int8: also in 8 bits, calibrated on ``calibration`` (None: 512) training images, after
            ``fine_tune`` steps that fit the weights to 8 bits.
        out: a folder; None: ``export`` in the run's folder, and ``export/NAME`` of a name.
        data: the training data, as ``train`` takes it, where they are somewhere else now.
        input: normalised pixels in and logits out, or uint8 pixels in and probabilities out.
        weights: of a run.
        force: replace files that exist.
        flash, ram: the most that each format's file for a device (int8, where there is one) may
            take, in bytes or as text such as ``"450kB"``; ``ram`` where it is known.
        settings, overrides: as ``train`` takes them, of the data.

    Raises ``InputError``, before any work, for a format that is not known or not installed, files
    that exist, and data that cannot be read; ``CheckFailed`` at the end where a file was not kept,
    for its answers are not the network's or it takes more than it may.
    """
    from ghostnet_small.option_values import CALIBRATION
    from ghostnet_small.recipe.overrides import override_words
    from ghostnet_small.streams import libraries_apart
    from ghostnet_small.use.export import SETTINGS, export_weights

    if not int8 and (calibration or fine_tune):
        raise InputError("calibration and fine_tune are for int8 files; give int8=True too")
    words = override_words(settings, overrides, data=data, allowed=SETTINGS)
    with libraries_apart():
        value = export_weights(
            expanded(path),
            None if out is None else expanded(out),
            formats=[formats] if isinstance(formats, str) else formats,
            int8=int8,
            input=input,
            weights=weights,
            calibration=CALIBRATION if calibration is None else calibration,
            fine_tune=fine_tune,
            overrides=words,
            force=force,
            flash=flash,
            ram=ram,
            say=_log.info,
        )
    return [
        CheckedFile(
            **{name: one[name] for name in CheckedFile.__dataclass_fields__ if name in one}
            | {
                "files": tuple(map(Path, one["files"])),
                "kept_in_float": tuple(one["kept_in_float"] or ()),
            }
        )
        for one in value["files"]
    ]
