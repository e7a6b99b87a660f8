"""A model's card for the hub, of weights that no record came with: made from what is on the disk.

Every number in it is read from the configuration or the run's summary.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ghostnet_small.data.hub.named import SHORT_NAMES
from ghostnet_small.models.ghostnetv3 import GhostNetV3
from ghostnet_small.models.network import Network
from ghostnet_small.models.registry import create_model
from ghostnet_small.models.teachers import TimmNetwork
from ghostnet_small.models.weights import ModelInfo
from ghostnet_small.nn.complexity import both_forms, by_quantity
from ghostnet_small.nn.fold import is_folded
from ghostnet_small.study.folder import RunFolder, is_run

PAPER = "[arXiv:2509.12380](https://arxiv.org/abs/2509.12380)"
MOST_CLASSES = 100  # that are named


def write_card(
    repository: str,
    model: Network,
    info: ModelInfo,
    path: Path,
    folder: Path,
    license: str | None,
) -> str:
    """The Markdown of ``README.md`` of ``repository``, with the hub's front matter.

    ``folder`` holds the weights, ``path`` is what the user named them by: of a run, its summary is
    read.
    """
    summary = RunFolder(path).summary() if is_run(path) and folder.name == "last" else None
    results = _results(summary)
    title = repository.partition("/")[2]
    front = yaml.safe_dump(
        _front(title, model, info, license, results), sort_keys=False, allow_unicode=True
    )
    parts = [f"---\n{front}---", f"# {title}", _what(model, info)]
    if results:
        parts.append(
            f"Top-1 {results['top1']:.2f} % ({results['correct']:,} of {results['total']:,} test "
            f"pictures), of the last epoch of a run with seed {results['seed']}."
        )
    return "\n\n".join([*parts, *_use(repository, model), _limits(info)]) + "\n"


def _front(
    title: str,
    model: Network,
    info: ModelInfo,
    license: str | None,
    results: Mapping[str, Any] | None,
) -> dict[str, Any]:
    front: dict[str, Any] = {} if license is None else {"license": license}
    front |= {
        "library_name": "timm",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "ghostnet-small", model.config["architecture"]],
    }
    name = _data_name(info)
    repository = SHORT_NAMES[name].repository if name in SHORT_NAMES else name
    if "/" in repository:
        front["datasets"] = [repository]
    if results:
        metric = {"type": "accuracy", "name": "Top-1 (%)", "value": results["top1"]}
        front["model-index"] = [
            {
                "name": title,
                "results": [
                    {
                        "task": {"type": "image-classification"},
                        "dataset": {"type": repository, "name": name, "split": "test"},
                        "metrics": [metric],
                    }
                ],
            }
        ]
    return front


def _results(summary: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What a run found on its test split."""
    last = {} if summary is None else summary["last"]
    if summary is None or "test_top1" not in last:
        return None
    return {
        "top1": last["test_top1"],
        "correct": last["test_correct"],
        "total": last["test_total"],
        "seed": summary["seed"],
    }


def _data_name(info: ModelInfo) -> str:
    data = info.recipe.get("data")
    return str(data.get("source", "")) if isinstance(data, dict) else ""


def _what(model: Network, info: ModelInfo) -> str:
    config, (height, width) = model.config, info.size
    names = ", ".join(info.classes[:MOST_CLASSES])
    more = ", ..." if len(info.classes) > MOST_CLASSES else ""
    ours = isinstance(model, GhostNetV3)
    network = (
        f"{config['architecture']} at width {config['width']:g} ({PAPER})"
        if ours
        else (f"timm's {config['architecture']}")
    )
    colour = "grey" if len(info.mean) == 1 else "colour"
    lines = [
        f"{network}, trained by ghostnet-small on pictures of {width}x{height} pixels in {colour}."
    ]
    count = sum(parameter.numel() for parameter in model.parameters())
    form = ""
    if isinstance(model, GhostNetV3):
        form = ", folded" if is_folded(model) else ", in training form"
        # Counting looks at shapes alone, and at a network that is not folded.
        fresh = create_model(
            config["architecture"],
            width=config["width"],
            num_classes=config["num_classes"],
            in_channels=config["in_channels"],
        )
        forms = both_forms(fresh, (config["in_channels"], height, width))
        costs = by_quantity({name: stages["total"] for name, stages in forms.items()})
        lines.append(
            f"Folded it has {costs['params']['deployed']:,} parameters and takes "
            f"{costs['macs']['deployed']:,} multiply-accumulates a picture."
        )
    lines.append(f"These weights hold {count:,} parameters{form}.")
    return " ".join(lines) + f"\n\nClasses, in the order of the logits: {names}{more}."


def _use(repository: str, model: Network) -> list[str]:
    ours = (
        "```shell\n"
        f"ghostnet-small predict hf-hub:{repository} picture.png\n"
        f"ghostnet-small evaluate hf-hub:{repository}\n```"
    )
    if isinstance(model, TimmNetwork):
        return [
            ours,
            "timm alone does not load these weights: they are of its network behind a stem that is "
            "fitted to tiny pictures, or that brings them to another size, and have other names.",
        ]
    theirs = (
        "```python\nimport timm\nimport ghostnet_small.timm_models\n\n"
        f'model = timm.create_model("hf-hub:{repository}", pretrained=True)\n```'
    )
    return [ours, theirs]


def _limits(info: ModelInfo) -> str:
    return (
        f"The network knows these {len(info.classes)} classes only: it names any picture by one of "
        "them. Pixels, scaled to 0 .. 1, are normalised by mean "
        f"{_numbers(info.mean)} and std {_numbers(info.std)}."
    )


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)
