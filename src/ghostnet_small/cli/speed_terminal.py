"""Terminal output of the benchmarks."""

from __future__ import annotations

from typing import Any

from ghostnet_small.cli.terminal import new_table, print_pairs, print_table


def show_train_speed(value: dict[str, Any]) -> None:
    """A line for each variant of a training step: its speed, ratios and memory."""
    if "batch_sizes" in value:
        _show_batches(value)
        return
    table = new_table(
        title=_title(value, f"batches of {value['batch_size']} "),
        padding=(0, 1, 0, 0),  # The whole table in 80 columns.
    )
    table.add_column("\nvariant", no_wrap=True)
    for title in ("\nimages/s", "\nrange", "of\nplain", "of\nmulti", "step\nMiB", "held\nMiB"):
        table.add_column(title, justify="right", overflow="fold")
    for name, one in value["variants"].items():
        low, middle, high = (_speed(one[f"images_per_s{end}"]) for end in ("_min", "", "_max"))
        ratios = (one["ratio_to_plain"], one["ratio_to_multibranch"])
        table.add_row(
            name,
            middle,
            f"{low}-{high}",
            *("-" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
            *(_mebibytes(one[f"{what}_memory_bytes"]) for what in ("peak", "held")),
        )
    print_table(table)
    print_pairs(
        [
            ("images/s", f"median and range of {value['repetitions']} turns"),
            ("of", "plain_channels_last, multibranch: medians of the ratios turn by turn"),
            ("step", "the most memory that a step takes beside what is held between steps"),
            *_circumstances(value),
        ]
    )


def _show_batches(value: dict[str, Any]) -> None:
    """A line for each variant and batch size, and one for the fixed cost of each variant."""
    speeds = new_table(title=_title(value, ""), padding=(0, 1, 0, 0))
    speeds.add_column("variant", no_wrap=True)
    for title in ("batch", "images/s", "range", "of plain", "step MiB"):
        speeds.add_column(title, justify="right", overflow="fold")
    costs = new_table(padding=(0, 1, 0, 0))
    costs.add_column("variant", no_wrap=True)
    for title in ("fixed ms", "range", "ms an image", "line off"):
        costs.add_column(title, justify="right", overflow="fold")
    for name, one in value["variants"].items():
        for batch, found in one["batches"].items():
            low, middle, high = (
                _speed(found[f"images_per_s{end}"]) for end in ("_min", "", "_max")
            )
            ratio = found["ratio_to_plain"]
            speeds.add_row(
                name,
                batch,
                middle,
                f"{low}-{high}",
                "-" if ratio is None else f"{ratio:.2f}",
                _mebibytes(found["peak_memory_bytes"]),
            )
        low, middle, high = (f"{one[f'fixed_ms{end}']:.1f}" for end in ("_min", "", "_max"))
        costs.add_row(
            name, middle, f"{low} to {high}", f"{one['image_ms']:.3f}", f"{one['line_off']:.0%}"
        )
    print_table(speeds)
    print_table(costs)
    print_pairs(
        [
            ("images/s", f"median and range of {value['repetitions']} turns"),
            ("of plain", "plain_channels_last: median of the ratios turn by turn"),
            ("step", "the most memory that a step takes beside what is held between steps"),
            ("fixed", "of a step: where the line of its time over batch sizes begins, by turn"),
            ("off", "the most that a median time differs from that line"),
            *_circumstances(value),
        ]
    )


def _title(value: dict[str, Any], batches_of: str) -> str:
    channels, height, width = value["picture"]
    return (
        f"{value['model']}, width {value['width']:g}, {value['classes']} classes, "
        f"{batches_of}images of {channels} x {height} x {width}, {value['precision']}"
    )


def _circumstances(value: dict[str, Any]) -> list[tuple[str, str]]:
    beside = f"cores that other processes kept busy: {value['beside']}"
    return [
        ("turns", f"steps in each: {value['steps']}; before the first: {value['warm_up']}"),
        ("device", f"{value['device']}, threads: {value['threads']}"),
        *([("beside", beside)] if value["beside"] else []),
        ("code", f"{value['commit']}, torch {value['torch']}"),
    ]


def show_distill_speed(value: dict[str, Any]) -> None:
    """A line for each variant of distillation: its ratio to plain training, and a step's time."""
    channels, height, width = value["picture"]
    table = new_table(
        title=f"{value['model']}, width {value['width']:g}, batches of {value['batch_size']} "
        f"made-up images of {channels} x {height} x {width}, {value['precision']}",
        padding=(0, 1, 0, 0),  # The whole table in 80 columns.
    )
    table.add_column("variant", no_wrap=True)
    for title in ("of plain", "range", "ms a step", "range"):
        table.add_column(title, justify="right", overflow="fold")
    for name, one in value["variants"].items():
        table.add_row(
            name,
            f"{one['ratio_to_plain']:.3f}",
            f"{one['ratio_to_plain_min']:.3f}-{one['ratio_to_plain_max']:.3f}",
            f"{_speed(one['ms_per_step'])}",
            f"{_speed(one['ms_per_step_min'])}-{_speed(one['ms_per_step_max'])}",
        )
    print_table(table)
    print_pairs(
        [
            ("of plain", "median and range of the ratios turn by turn"),
            ("turns", f"of each: {value['repetitions']}; steps in a turn: {value['steps']}"),
            ("teachers", "random weights"),
            *(("left out", f"{name}: {why}") for name, why in value["left_out"].items()),
            ("device", f"{value['device']}, threads: {value['threads']}"),
            ("code", f"{value['commit']}, torch {value['torch']}"),
        ]
    )


def _speed(images_per_s: float) -> str:
    return f"{images_per_s:,.0f}" if images_per_s >= 100 else f"{images_per_s:.1f}"


def _mebibytes(size: int | None) -> str:
    return "-" if size is None else f"{size / 2**20:,.1f}"
