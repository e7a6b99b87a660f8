"""``push`` and ``pull``: their options and results."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from ghostnet_small.cli.command import PROGRAM
from ghostnet_small.cli.terminal import print_pairs


def push_options(parser: argparse.ArgumentParser) -> None:
    """The options of an upload."""
    parser.add_argument(
        "path",
        metavar="PATH",
        type=Path,
        help="a run's folder, or weights by folder, name or hf-hub:owner/name",
    )
    parser.add_argument(
        "name", metavar="OWNER/NAME[@BRANCH]", help="the repository, made where it is missing"
    )
    parser.add_argument("--weights", choices=("last", "best"), default="last", help="(last)")
    parser.add_argument(
        "--private", action="store_true", help="make the repository for its owner alone"
    )
    parser.add_argument("--license", metavar="ID", help="of the weights, such as mit")
    parser.add_argument("--message", metavar="TEXT", help="of the commit")


def push(args: argparse.Namespace) -> dict[str, Any]:
    """Send weights to the hub."""
    from ghostnet_small.publish.push_pull import push_model

    return push_model(
        args.path,
        args.name,
        weights=args.weights,
        private=args.private,
        license=args.license,
        message=args.message,
    )


def show_push(value: dict[str, Any]) -> None:
    """Print where the weights are now, and how to load them."""
    name = value["repository"] + ("" if value["branch"] == "main" else f"@{value['branch']}")
    sizes = ", ".join(f"{file} ({size:,} bytes)" for file, size in value["size_bytes"].items())
    print_pairs(
        [
            ("sent", sizes),
            ("to", f"{value['url']}{' (new)' if value['created'] else ''}"),
            ("commit", value["commit"]),
            ("next", f"{PROGRAM} evaluate hf-hub:{name}"),
        ]
    )


def pull_options(parser: argparse.ArgumentParser) -> None:
    """The options of a download."""
    parser.add_argument("name", metavar="OWNER/NAME[@REVISION]", help="the model's repository")
    parser.add_argument("--revision", metavar="R", help="branch, tag or commit (the newest)")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="a new folder")


def pull(args: argparse.Namespace) -> dict[str, Any]:
    """Fetch weights from the hub."""
    from ghostnet_small.publish.push_pull import pull_model

    return pull_model(args.name, args.out, revision=args.revision)


def show_pull(value: dict[str, Any]) -> None:
    """Print what was fetched."""
    height, width = value["size"]
    print_pairs(
        [
            (
                "model",
                f"{value['architecture']}, width {value['width']:g}, {value['classes']} classes, "
                f"{width}x{height} images",
            ),
            ("from", f"{value['repository']} at {value['commit']}"),
            ("in", f"{value['out']}  ({', '.join(value['files'])})"),
            ("next", f"{PROGRAM} evaluate {shlex.quote(value['out'])}"),
        ]
    )
