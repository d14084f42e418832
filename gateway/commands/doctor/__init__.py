"""``blab doctor``: what a voice conversation needs, and what is missing or slow.

Without options it looks at this machine. ``--public URL`` tries a server from outside in, as its
callers reach it: run it on a machine of their kind. Every check is a function that returns one or
more ``Finding``; none changes anything, except that ``--public`` with a key makes two short calls.
"""

import argparse
import asyncio
from urllib.parse import urlsplit

from gateway.engines import engine_settings
from gateway.settings import Settings
from pipelines.engines.catalogue import Catalogue

from .engines import time_engines
from .findings import exit_code, show
from .machine import browser, disk, machine, models, plugins, port, processes, services
from .public import IDLE_SECONDS, public_findings


def arguments(parser: argparse.ArgumentParser) -> None:
    """What ``blab doctor`` accepts."""
    parser.add_argument("--quick", action="store_true", help="do not load and time the engines")
    parser.add_argument("--json", action="store_true", help="print findings as JSON lines")
    parser.add_argument(
        "--public",
        type=_address,
        metavar="URL",
        help="try the server at this address from outside in, instead of this machine",
    )
    parser.add_argument(
        "--key", help="for --public: an API key or an ephemeral key, to try calls and streams"
    )
    parser.add_argument(
        "--idle",
        type=float,
        default=IDLE_SECONDS,
        metavar="SECONDS",
        help="for --public: how long a silent call must stay open "
        f"(default: {IDLE_SECONDS:g}, more than most proxies' default)",
    )


def run(options: argparse.Namespace, settings: Settings) -> int:
    """1 if something keeps calls from working."""
    if options.public:
        findings = asyncio.run(public_findings(options.public, options.key, options.idle))
        show(findings, as_json=options.json)
        return exit_code(findings)
    findings = [
        *machine(),
        *processes(settings),
        *disk(settings),
        *port(settings),
        *models(settings),
        *plugins(),
        *asyncio.run(services(settings)),
    ]
    if not options.quick:
        findings += asyncio.run(time_engines(Catalogue(engine_settings(settings))))
    findings += browser()
    show(findings, as_json=options.json)
    return exit_code(findings)


def _address(raw: str) -> str:
    parts = urlsplit(raw)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise argparse.ArgumentTypeError("an http:// or https:// address without a path")
    _ = parts.port  # raises ValueError if it is not a port
    return f"{parts.scheme}://{parts.netloc}"
