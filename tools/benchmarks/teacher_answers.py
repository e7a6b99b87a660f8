"""Claim: a teacher's answers can be stored at twice the speed of eager float32 or more, and the
same.

Every form of the teacher that `distill.answers: fastest` chooses from answers the same training
images in turns, beside eager float32.

    python tools/benchmarks/teacher_answers.py TEACHER [--data.root DIR] [--threads 1]
        [--record results/teacher-answers.jsonl]

TEACHER is a run's folder, one of weights, or the name of shipped weights; it answers the first view
of images that it was trained on. With --random it is the name of an architecture, such as
efficientnetv2_s, of random weights and shown noise: its speed counts, its agreement does not.

Exit status 1 where the claim does not hold.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ghostnet_small.benchmark.noise_data import made_up_data
from ghostnet_small.data.dataset import normalize
from ghostnet_small.distill.teacher import Teacher
from ghostnet_small.fast import ready_to_answer
from ghostnet_small.models.registry import create_model
from ghostnet_small.models.weights import load
from ghostnet_small.provenance import provenance_row
from ghostnet_small.run.records import append_row
from ghostnet_small.run.teacher_backends import IMAGES, compare_forms, fastest, first_views
from ghostnet_small.use.training_data import TrainedOn

CPU = torch.device("cpu")
LEAST = 2.0


def trained(path: Path, root: str | None) -> tuple[Teacher, Tensor]:
    """The teacher in ``path``, and the first view of images that it was trained on."""
    model, info = load(path)
    overrides = [] if root is None else [f"--data.root={root}"]
    source = TrainedOn(info, path, overrides, say=lambda remark: print(remark, file=sys.stderr))
    recipe = source.recipe
    views = first_views(source.whole(), recipe.augment, recipe.train, CPU)
    network = ready_to_answer(model, CPU)
    return Teacher(path.name, network, info.mean, info.std, "", {}), views


def random(name: str, **settings: Any) -> tuple[Teacher, Tensor]:
    """An architecture with the statistics of noise, and noise."""
    data = made_up_data(IMAGES, 0)
    views = data.train.images[:]
    torch.manual_seed(0)
    shape = {"num_classes": len(data.classes), "in_channels": len(data.mean)}
    model = create_model(name, **shape, **settings)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(normalize(views[:16], data.mean, data.std))
    network = ready_to_answer(model.eval(), CPU)
    side = model.config.get("upsample")
    shown = name if side is None else f"{name} at {side}x{side}"
    return Teacher(f"{shown}, random", network, data.mean, data.std, "", {}), views


def main() -> int:
    """Measure, print, and say by the exit status whether the claim holds."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("teacher", metavar="TEACHER")
    parser.add_argument("--data.root", metavar="DIR", dest="root", help="where its images are now")
    parser.add_argument("--random", action="store_true", help="TEACHER names an architecture")
    parser.add_argument("--upsample", type=int, metavar="S", help="with --random: model.upsample")
    parser.add_argument("--interpolation", default="bilinear", help="likewise (bilinear)")
    parser.add_argument("--threads", type=int, default=1, help="(1)")
    parser.add_argument("--images", type=int, default=IMAGES, help=f"at most ({IMAGES})")
    parser.add_argument("--temperature", type=float, default=4.0, help="(4)")
    parser.add_argument("--record", type=Path, metavar="FILE.jsonl", help="append the rows")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    if asked.random:
        teacher, views = random(
            asked.teacher, upsample=asked.upsample, interpolation=asked.interpolation
        )
    else:
        teacher, views = trained(Path(asked.teacher), asked.root)
    compared = compare_forms(teacher, views[: asked.images], asked.temperature)
    chosen = fastest(compared)
    for one in compared:
        row: dict[str, Any] = {
            "teacher": teacher.name,
            "image": "x".join(map(str, views.shape[1:])),
            "threads": asked.threads,
            "form": one.name,
            "images/s": round(statistics.median(one.rates), 1),
            "times eager float32: median [least-most]": (
                f"{statistics.median(one.ratios):.2f} [{min(one.ratios):.2f}-{max(one.ratios):.2f}]"
            ),
            "n": len(one.ratios),
            "images": one.images,
            "same top-1, %": round(one.same_top1, 2),
            "probability moved": round(one.moved, 5),
            "most moved": round(one.most_moved, 5),
            "within the bounds": "yes" if one.accepted else "no",
            "torch": str(torch.__version__),
        }
        print(json.dumps(row), flush=True)
        if asked.record is not None:
            append_row({**row, **provenance_row()}, asked.record)
    holds = statistics.median(chosen.ratios) >= LEAST
    print(f"claim (at least {LEAST:g} times): {'holds' if holds else 'FAILS'} by {chosen}")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
