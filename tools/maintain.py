"""Maintain this repository's records: ``record``, ``search``, ``ship``, ``tables`` and ``queue``.

    python tools/maintain.py COMMAND ...

The commands turn finished runs into rows, documents and shipped weights. They parse and print as
``ghostnet-small`` does, and no wheel contains them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from ghostnet_small.cli import main as run_program
from ghostnet_small.cli.command import Command, Commands, Failed, positive, remark
from ghostnet_small.cli.terminal import print_pairs
from ghostnet_small.streams import libraries_apart

PROGRAM = "python tools/maintain.py"

RESULTS = Path("results")


def record_options(parser: argparse.ArgumentParser) -> None:
    """The options of a record."""
    parser.add_argument("run", metavar="RUN", type=Path, help="a finished run's folder")
    parser.add_argument("results", metavar="FILE.jsonl", type=Path, help="gets one line more")
    parser.add_argument("--weights-to", metavar="DIR", type=Path, help="copy the last weights")


def record(args: argparse.Namespace) -> dict[str, Any]:
    """Append a finished run to a file of records."""
    from evidence.record import publish_run

    return publish_run(args.run, args.results, args.weights_to)


def show_record(value: dict[str, Any]) -> None:
    """Print where the record is."""
    weights = f"; its weights are in {value['weights']}" if value["weights"] else ""
    print(f"{value['run']} is record {value['records']} of {value['results']}{weights}")


def search_options(parser: argparse.ArgumentParser) -> None:
    """The options of a round of a search."""
    parser.add_argument(
        "results", metavar="search-NAME.jsonl", type=Path, help="gets a line for each run"
    )
    parser.add_argument(
        "runs", metavar="RUN", nargs="+", type=Path, help="the round's finished runs"
    )
    parser.add_argument(
        "--keep", metavar="K", type=positive, required=True, help="so many candidates go on"
    )


def search(args: argparse.Namespace) -> dict[str, Any]:
    """Record a round of a search."""
    from evidence.search import record_round

    return record_round(args.runs, args.results, keep=args.keep)


def show_search(value: dict[str, Any]) -> None:
    """Print the round's candidates, the best first."""
    for one in sorted(value["candidates"], key=lambda one: -one["validation_top1"]):
        went = "goes on" if one["kept"] else "ends here"
        changes = ", ".join(one["changes"]) or "nothing changed"
        top1 = f"{one['validation_top1']:.2f} % (n = {one['n']})"
        print(f"{one['candidate']}: validation top-1 {top1}, {went} ({changes})")
    print(f"round {value['round']} is in {value['results']}")


def tables_options(parser: argparse.ArgumentParser) -> None:
    """The options of a document's tables."""
    parser.add_argument("document", metavar="README.md", type=Path)
    parser.add_argument("--results", metavar="DIR", type=Path, default=RESULTS)
    parser.add_argument("--check", action="store_true", help="only compare; exit 3 if they differ")


def tables(args: argparse.Namespace) -> dict[str, Any]:
    """Write a document's tables, figures and values; raises ``Failed`` at others with --check."""
    from evidence.tables import render_tables

    same = render_tables(args.document, args.results, check=args.check)
    if args.check and not same:
        raise Failed(
            f"the tables of {args.document} are not those of {args.results}; write them with: "
            f"{PROGRAM} tables {args.document}",
            3,
        )
    return {"document": str(args.document), "results": str(args.results), "changed": not same}


def show_tables(value: dict[str, Any]) -> None:
    """Print whether the document's tables were those of the records."""
    state = "rewritten from" if value["changed"] else "already those of"
    print(f"the tables of {value['document']} are {state} {value['results']}")


def queue_options(parser: argparse.ArgumentParser) -> None:
    """The options of the queue's page."""
    parser.add_argument(
        "studies",
        metavar="STUDY.yaml",
        nargs="*",
        type=Path,
        help="what may come (all in recipes/studies)",
    )
    parser.add_argument("--results", metavar="DIR", type=Path, default=RESULTS)
    parser.add_argument(
        "--out",
        metavar="FILE.md",
        type=Path,
        default=RESULTS / "queue.md",
        help=f"the page ({RESULTS}/queue.md)",
    )
    parser.add_argument("--check", action="store_true", help="only compare; exit 3 if it differs")


def queue(args: argparse.Namespace) -> dict[str, Any]:
    """Write the page of studies that come next; raises ``Failed`` where it differs with --check."""
    from evidence.queue_page import write_queue
    from ghostnet_small.recipe.shipped_recipes import shipped_studies

    studies = args.studies or shipped_studies().values()
    value = write_queue(studies, args.results, args.out, check=args.check)
    if args.check and value["changed"]:
        raise Failed(
            f"{args.out} is not what the studies and {args.results} make; write it with: "
            f"{PROGRAM} queue",
            3,
        )
    return value


def show_queue(value: dict[str, Any]) -> None:
    """Print the next studies, and where the page is."""
    for place, one in enumerate(value["queue"], 1):
        costs = "; ".join(f"{cost} on {machine}" for machine, cost in one["costs"].items())
        print(f"{place}. {one['name']}: {one['runs']} ({costs})")
    state = "rewritten" if value["changed"] else "as it was"
    print(f"{value['out']} is {state}")


def ship_options(parser: argparse.ArgumentParser) -> None:
    """The options of new shipped weights."""
    parser.add_argument(
        "path", metavar="PATH", type=Path, help="a finished run's folder, or recorded weights"
    )
    parser.add_argument(
        "results",
        metavar="FILE.jsonl",
        type=Path,
        help="of records; gets the run where it lacks it",
    )
    parser.add_argument("--name", metavar="NAME", help="(of network, width and data)")
    parser.add_argument(
        "--to", metavar="DIR", type=Path, default=Path("results/weights"), help="(results/weights)"
    )
    parser.add_argument("--force", action="store_true", help="replace weights of that name")
    parser.add_argument(
        "--demo",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also the ONNX files that ghostnet-small demo runs, float32 and int8 (on)",
    )


def ship_settings() -> Collection[str]:
    """The settings of a recipe that ``ship`` takes: where the data lie."""
    from ghostnet_small.use.evaluation import SETTINGS

    return SETTINGS


def ship(args: argparse.Namespace) -> dict[str, Any]:
    """Ship weights; raises ``Failed`` where they do not give their record's count, or an ONNX
    file not their answers."""
    from evidence.ship import ship_weights
    from ghostnet_small.deploy.formats import FORMATS
    from ghostnet_small.use.agreement import CheckFailed

    if args.demo:
        FORMATS["onnx"].check()
    try:
        value = ship_weights(
            args.path,
            args.results,
            name=args.name,
            to=args.to,
            overrides=args.overrides,
            force=args.force,
            say=remark,
        )
        if args.demo:
            # It imports much.
            from ghostnet_small.demo.bundle import write_bundle

            folder = Path(value["folder"])
            with libraries_apart():
                made = write_bundle(folder, folder, overrides=args.overrides, say=remark)
            value["demo"] = made["compared"]
        return value
    except CheckFailed as error:
        raise Failed(str(error), 3) from None


def show_ship(value: dict[str, Any]) -> None:
    """Print where the weights are, and their accuracy."""
    recorded = "appended to" if value["recorded"] else "was already in"
    pairs = [
        ("weights", value["folder"]),
        (
            value["split"],
            f"top-1 {value['top1']:.2f} % ({value['correct']:,} of {value['total']:,}), "
            "as recorded",
        ),
        ("record", f"{recorded} {value['results']}; runs of this recipe: {value['runs']}"),
        ("card", f"{value['folder']}/README.md"),
    ]
    if "demo" in value:
        pairs.append(("demo", ", ".join(value["demo"])))
    print_pairs(pairs)


COMMANDS: Commands = {
    "record": Command(
        "Append a finished run to a file of records.",
        *(record_options, record, show_record),
    ),
    "search": Command(
        "Append the finished runs of a search's round, and which of them go on.",
        *(search_options, search, show_search),
    ),
    "ship": Command(
        "Put trained weights, checked against their record, among the shipped ones.",
        *(ship_options, ship, show_ship, ship_settings),
    ),
    "tables": Command(
        "Write the records' tables, figures and values into a document.",
        *(tables_options, tables, show_tables),
    ),
    "queue": Command(
        "Write the page of the studies that come next, with what they cost.",
        *(queue_options, queue, show_queue),
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    return run_program(argv, COMMANDS, PROGRAM)


if __name__ == "__main__":
    sys.exit(main())
