"""The card of trained weights: what they are, made from their record and their configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ghostnet_small.data.hub.named import SHORT_NAMES, is_name
from ghostnet_small.models.ghostnetv3 import ARCHITECTURES
from ghostnet_small.models.heads import head_in, head_text
from ghostnet_small.models.weights import ModelInfo
from ghostnet_small.provenance import commit_text
from ghostnet_small.recipe.recipe_file import yaml_text
from ghostnet_small.recipe.shareable import changed_settings, portable_recipe, portable_record
from ghostnet_small.report.table_cells import (
    both_forms_text,
    device_text,
    markdown_block,
    markdown_code,
    markdown_table,
    markdown_text,
    recipe_name,
    spread,
    time_text,
)
from ghostnet_small.run.records import Record, terms_but_seed

# What timm and the hub of Hugging Face sort models by.
TAGS = ["image-classification", "timm", "ghostnet-small", "tiny-images"]
PAPER = "arXiv:2509.12380"
MOST_CLASSES = 100

Facts = Mapping[str, Any]


def model_card(
    name: str,
    config: Facts,
    info: ModelInfo,
    facts: Facts | None,
    *,
    hub: str | None = None,
    license: str | None = "mit",
) -> str:
    """Markdown with the front matter of a model hub.

    ``config`` as ``Network.config``; ``facts`` are those that ``ship`` kept of the run
    (``record``, ``runs``, ``evaluation``), None where there are none: the card then has no figures.
    ``hub`` is the repository that the weights are loaded from, None: they come with the package, by
    ``name``.
    """
    parts = [
        _front_matter(name, config, info, facts, license),
        _title(name, config, info, facts),
        *([] if facts is None else [_accuracy(facts), _per_class(facts), _training(info, facts)]),
        _use(name if hub is None else f"hf-hub:{hub}"),
        *([] if hub is None else [_in_timm(hub, config)]),
        _limits(info, facts),
    ]
    return "\n\n".join(parts) + "\n"


def facts_of(
    record: Record, records: Sequence[Record], evaluation: dict[str, Any]
) -> dict[str, Any]:
    """Return the facts of a card, without places of this machine: the ``record`` of a run among
    ``records``, the runs of its recipe there, and the evaluation of its weights.
    """
    return {
        "record": portable_record(record),
        "runs": runs_of(record, records),
        "evaluation": evaluation,
        "read_from": "a local folder" if record["recipe"]["data"]["root"] else "its source",
    }


def runs_of(record: Record, records: Sequence[Record]) -> list[dict[str, Any]]:
    """Seed and test figures of the runs that differ from ``record`` only in their seed, in the
    order of seeds.
    """
    same = [one for one in records if terms_but_seed(one) == terms_but_seed(record)]
    return [
        {"seed": one["seed"], **{key: one["last"][key] for key in ("test_top1", "test_correct")}}
        for one in sorted(same, key=lambda one: one["seed"])
    ]


def _front_matter(
    name: str, config: Facts, info: ModelInfo, facts: Facts | None, license: str | None
) -> str:
    ours = config["architecture"] in ARCHITECTURES or config.get("upsample") is not None
    matter: dict[str, Any] = {
        **({} if license is None else {"license": license}),
        # What loads the weights: timm does not know a stem that is fitted to tiny images.
        **({"library_name": "timm"} if ours else {}),
        "pipeline_tag": "image-classification",
        "tags": TAGS if ours else [tag for tag in TAGS if tag != "timm"],
    }
    source = _source(info)
    repository = SHORT_NAMES[source].repository if source in SHORT_NAMES else source
    if is_name(repository):
        matter["datasets"] = [repository]
    if facts is not None and "evaluation" in facts:
        task = {"type": "image-classification"}
        data = {"name": source, "type": repository, "split": facts["evaluation"]["split"]}
        metric = {"type": "accuracy", "value": facts["evaluation"]["top1"]}
        result = {"task": task, "dataset": data, "metrics": [metric]}
        matter["model-index"] = [{"name": name, "results": [result]}]
    return f"---\n{yaml_text(matter)}---"


def _title(name: str, config: Facts, info: ModelInfo, facts: Facts | None) -> str:
    height, width = info.size
    colour = "grey" if len(info.mean) == 1 else "colour"
    network = f"{config['architecture']}, a network of timm"
    if config["architecture"] in ARCHITECTURES:
        network = f"{config['architecture']}, width {float(config['width'])}"
        network += f"{head_text(int(head_in(config)))} ({PAPER})"
    about = f"{network}, for {width}x{height} {colour} images of {len(info.classes)} classes."
    rows = [
        ["classes", _classes(info.classes)],
        ["input", f"{len(info.mean)} x {height} x {width}, pixels scaled to 0 .. 1, normalised"],
        ["mean", _numbers(info.mean)],
        ["std", _numbers(info.std)],
    ]
    if facts is not None:
        costs = facts["record"]["model"]
        for quantity, title in (("params", "parameters"), ("macs", "MACs for an image")):
            rows.append([f"{title}, training / deployed", both_forms_text(costs[quantity])])
    return f"# {name}\n\n{about}\n\n{markdown_table(['', ''], rows)}"


def _accuracy(facts: Facts) -> str:
    found, runs = facts["evaluation"], facts["runs"]
    split = markdown_text(found["split"])
    rows = [
        [
            f"{split} top-1",
            f"{found['top1']:.2f} % ({found['correct']:,} of {found['total']:,})",
        ],
        [f"{split} loss", f"{found['loss']:.4f} nats"],
        ["balanced accuracy", f"{found['balanced_accuracy']:.2f} %"],
        ["expected calibration error", f"{100 * found['calibration_error']:.2f} %"],
    ]
    seeds = ", ".join(f"{run['test_top1']:.2f} (seed {run['seed']})" for run in runs)
    last = facts["record"]["last"]
    about = (
        f"The weights are those of the last epoch of seed {facts['record']['seed']}. Top-1 of the "
        f"runs of this recipe, in %: {spread(runs)}; {seeds}."
    )
    if "validation_top1" in last:
        about += f" On validation these weights have {last['validation_top1']:.2f} %."
    return f"## Accuracy\n\n{markdown_table(['', ''], rows)}\n\n{about}"


def _per_class(facts: Facts) -> str:
    found = facts["evaluation"]["per_class"][:MOST_CLASSES]
    rows = [
        [
            markdown_text(one["class"]),
            *(f"{one[key]:.1f} %" for key in ("precision", "recall")),
            f"{one['pictures']:,}",
        ]
        for one in found
    ]
    return f"## By class\n\n{markdown_table(['class', 'precision', 'recall', 'images'], rows)}"


def _training(info: ModelInfo, facts: Facts) -> str:
    record = facts["record"]
    data = record["data"]
    rows = [
        ["recipe", markdown_text(recipe_name(record))],
        ["data", markdown_text(f"{_source(info)}, read from {facts['read_from']}")],
        *(
            [f"{split} images", f"{data[f'{split}_images']:,}"]
            for split in ("train", "validation", "test")
        ),
        ["fingerprint of the data", markdown_code(data["fingerprint"][:16])],
        ["epochs", f"{len(record['epochs'])}"],
        ["device", markdown_text(device_text(record["device"]))],
        ["time", time_text(record["wall_seconds"])],
        ["commit", markdown_code(commit_text(record["commit"], record["dirty"]))],
        ["PyTorch", markdown_text(record["libraries"]["torch"])],
    ]
    recipe = yaml_text(changed_settings(portable_recipe(info.recipe)))
    return (
        f"## Training\n\n{markdown_table(['', ''], rows)}\n\nThe recipe, less what it leaves at "
        f"its defaults:\n\n{markdown_block(recipe, 'yaml')}"
    )


def _use(name: str) -> str:
    return (
        "## Use\n\nWith the package `ghostnet-small`:\n\n"
        f"```sh\nghostnet-small predict {name} picture.png\n```\n\n"
        "```python\nimport ghostnet_small as gns\n\n"
        f'model, info = gns.load("{name}")\n'
        "deployed = gns.reparameterize(model)  # one convolution for each, the same function\n```"
    )


def _in_timm(hub: str, config: Facts) -> str:
    if config["architecture"] in ARCHITECTURES:
        return (
            "In timm:\n\n```python\nimport timm\nimport ghostnet_small.timm_models\n\n"
            f'model = timm.create_model("hf-hub:{hub}", pretrained=True)\n```'
        )
    if config.get("upsample") is not None:
        return (
            f"In timm, for images that are resized to {config['upsample']} pixels a side:\n\n"
            f'```python\nimport timm\n\nmodel = timm.create_model("hf-hub:{hub}", '
            "pretrained=True)\n```"
        )
    return (
        "timm alone does not load these weights: they are of its network with a stem that is "
        "fitted to tiny images."
    )


def _limits(info: ModelInfo, facts: Facts | None) -> str:
    height, width = info.size
    lines = [
        f"- It knows its {len(info.classes)} classes and nothing else: every image is given one "
        "of them. A high probability is no proof that the image shows any.",
        f"- It was trained on images of {width}x{height} pixels that each show one thing. Larger "
        "ones are resized, and what is small in them is lost.",
        "- Its mistakes are not spread evenly over the classes, nor over what the images of a "
        "class look like.",
    ]
    if facts is not None and len(facts["runs"]) == 1:
        lines.append("- n = 1: another seed may do better or worse.")
    return "## What it cannot do\n\n" + "\n".join(lines)


def _source(info: ModelInfo) -> str:
    return str(portable_recipe(info.recipe).get("data", {}).get("source") or "a folder")


def _classes(classes: Sequence[str]) -> str:
    more = f", ... ({len(classes)} in all)" if len(classes) > MOST_CLASSES else ""
    # A folder's name may be what no UTF-8 can hold.
    shown = (name.encode("utf-8", "backslashreplace").decode() for name in classes[:MOST_CLASSES])
    return ", ".join(map(markdown_text, shown)) + more


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)
