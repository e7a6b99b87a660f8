"""``demo``: its options, and how it begins and ends."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ghostnet_small.cli.command import Failed, interrupts, remark
from ghostnet_small.errors import printable
from ghostnet_small.streams import libraries_apart

PORT = 8765
MODEL = "ghostnetv3_small_w1.0_cifar10"


def demo_settings() -> Collection[str]:
    """The settings of a recipe that ``demo`` takes: where training images lie, for int8."""
    from ghostnet_small.use.export import SETTINGS

    return SETTINGS


def demo_options(parser: argparse.ArgumentParser) -> None:
    """The options of the demo."""
    parser.add_argument(
        "path",
        metavar="MODEL",
        nargs="?",
        type=Path,
        default=Path(MODEL),
        help=f"a run's folder, weights by folder, name or hf-hub:owner/name, or an exported .onnx "
        f"file ({MODEL})",
    )
    parser.add_argument("--weights", choices=("last", "best"), help="of a run (last)")
    parser.add_argument(
        "--pictures", metavar="DIR", type=Path, help="offer images of this folder on the page"
    )
    parser.add_argument(
        "--port", metavar="N", type=_port, default=PORT, help=f"0: any that is free ({PORT})"
    )
    parser.add_argument(
        "--host", metavar="ADDRESS", default="127.0.0.1", help="(127.0.0.1: this machine only)"
    )
    parser.add_argument(
        "--open",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="open the page in the browser (off)",
    )


def demo(args: argparse.Namespace) -> None:
    """Serve the page until a signal; raises ``Failed`` with its status then."""
    with interrupts() as got:
        try:
            _serve(args)
        except KeyboardInterrupt:
            number = got[0] if got else signal.SIGINT
            raise Failed(
                f"stopped by {signal.Signals(number).name}; the page is no longer served",
                128 + number,
            ) from None


def _serve(args: argparse.Namespace) -> None:
    from ghostnet_small.hub.models import is_hub_name

    if not (args.overrides or is_hub_name(args.path)):
        # Before the hub's client is imported. The page asks for nothing from outside, and neither
        # does its server: images to calibrate on come from the hub's cache or not at all. Whoever
        # names a model of the hub asks for it.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from ghostnet_small.demo.opened import open_bundle
    from ghostnet_small.demo.runtime import read_assets
    from ghostnet_small.demo.server import DemoServer
    from ghostnet_small.demo.site import read_page, read_pictures, site
    from ghostnet_small.use.agreement import CheckFailed

    page, assets = read_page(), read_assets()
    # Before the files are made, which takes a while: a port may be taken.
    with DemoServer(args.host, args.port) as server:
        pictures = {} if args.pictures is None else read_pictures(args.pictures, remark)
        try:
            with libraries_apart():
                bundle = open_bundle(
                    args.path, weights=args.weights, overrides=args.overrides, say=remark
                )
        except CheckFailed as error:
            raise Failed(str(error), 3) from None
        server.table = site(bundle, page, assets, pictures)
        if not server.local:
            remark(
                "whoever reaches this machine can open the page; browsers lend the camera only "
                "to localhost"
            )
        if args.json:
            print(json.dumps({"url": server.url, "model": bundle.name}), flush=True)
        else:
            print(f"{printable(bundle.name)}: {server.url} (Ctrl-C ends it)", flush=True)
        if args.open:
            import webbrowser

            if not webbrowser.open(server.url):
                remark(f"no browser could be started; open {server.url} yourself")
        server.serve()


def show_demo(value: Any) -> None:
    """Print nothing."""


def _port(word: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", word) or int(word) > 65535:
        raise argparse.ArgumentTypeError(f"{word!r} is not a whole number from 0 to 65535")
    return int(word)
