"""Terminal output of ``benchmark deploy --mlperf-tiny``."""

from __future__ import annotations

from typing import Any

from ghostnet_small.cli.terminal import new_table, print_pairs, print_table


def show_mlperf_tiny(value: dict[str, Any]) -> None:
    """Print a column for the network and one for the benchmark's own."""
    reference, few, every = value["reference"], value["subset"], value["all"]
    table = new_table()
    table.add_column("")
    table.add_column(
        f"{value['network']}, {value['runtime']}, {value['precision']}", justify="right"
    )
    table.add_column(reference["network"], justify="right")
    for about, ours, theirs in (
        *(
            [(f"top-1, {few['images']:,} images, %", _percent(few["top1"]), "85 asked for")]
            if few
            else []
        ),
        (
            f"top-1, {every['images']:,} images, %",
            _percent(every["top1"]),
            _percent(reference["top1"]),
        ),
        ("parameters", _whole(value["params"]), _whole(reference["params"])),
        ("MACs", _whole(value["macs"]), _whole(reference["macs"])),
        ("flash, bytes", _whole(value["flash_bytes"]), _whole(reference["flash_bytes"])),
        ("working memory, bytes", _whole(value["memory_bytes"]), _whole(reference["memory_bytes"])),
        ("instructions, emulated Cortex-M4", _whole(value["instructions"]), "-"),
        ("cycles, Cortex-M4", "-", _whole(reference["cycles"])),
    ):
        table.add_row(about, ours, theirs)
    print_table(table)
    per_mac = value["instructions_per_mac"]
    print_pairs(
        [
            *([] if per_mac is None else [("per MAC", f"{per_mac:.2f} instructions, no time")]),
            ("flash", "code and tables, -Os; of the reference, its file"),
            ("reference", reference["source"]),
            ("code", ", ".join([value["commit"], *value["programs"]])),
        ]
    )


def _percent(value: float) -> str:
    return f"{value:.2f}"


def _whole(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
