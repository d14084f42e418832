"""``blab simulate FILE.toml``: make the calls of a file, and check what comes of them."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path

from msgspec import structs

from gateway.commands.talk import server_url
from gateway.settings import Settings
from gateway.simulation.calls import Outcome, Setting, call_all
from gateway.simulation.report import junit, lines_of, records, summary, summary_line
from gateway.simulation.scenarios import FileFault, Scenario, read
from gateway.simulation.voice import Voice, VoiceFault, kept_folder

MOST_REPEATS = 1000
MOST_AT_ONCE = 100


def arguments(parser: argparse.ArgumentParser) -> None:
    """What ``blab simulate`` accepts."""
    parser.add_argument("file", type=Path, metavar="FILE.toml", help="the scenarios")
    parser.add_argument("--url", help="the server (default: this machine's, from the settings)")
    parser.add_argument("--key", help="API or ephemeral key (default: one from the demo page)")
    parser.add_argument("--agent", help="the agent that is called, in place of the file's")
    parser.add_argument("--json", action="store_true", help="print JSON lines")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="write each call's audio heard, and its events"
    )
    parser.add_argument(
        "--repeat",
        type=_number(MOST_REPEATS),
        default=1,
        metavar="N",
        help="make each call so many times",
    )
    parser.add_argument(
        "--at-once",
        type=_number(MOST_AT_ONCE),
        default=1,
        metavar="N",
        help="make so many calls at the same time",
    )


def _number(most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"a number from 1 to {most}, not {text!r}")
        return int(text)

    return read


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Make the calls: 0 if every check passed, 1 if not, 2 if the file or a path is wrong."""
    try:
        scenarios = read(options.file)
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
        folder = kept_folder()
    except (FileFault, OSError, VoiceFault) as error:
        print(f"blab simulate: {error}", file=sys.stderr)
        return 2
    if options.agent is not None:
        scenarios = [structs.replace(each, agent=options.agent) for each in scenarios]
    url = server_url(options, settings)
    setting = Setting(
        url=url,
        key=options.key,
        voice=Voice(url, options.key, folder),
        folder=options.file.parent,
        out=options.out,
    )
    try:
        outcomes = asyncio.run(_calls(scenarios, setting, options))
        if options.junit is not None:
            options.junit.write_bytes(junit(outcomes, options.file.name))
    except OSError as error:
        print(f"blab simulate: {error}", file=sys.stderr)
        return 2
    return 0 if all(outcome.passed for outcome in outcomes) else 1


async def _calls(
    scenarios: list[Scenario], setting: Setting, options: argparse.Namespace
) -> list[Outcome]:
    outcomes = await call_all(
        scenarios,
        setting,
        repeat=options.repeat,
        at_once=options.at_once,
        done=_print_records if options.json else _print_lines,
    )
    if options.json:
        print(json.dumps({"type": "summary", **summary(outcomes)}))
    else:
        print(summary_line(outcomes))
    return outcomes


def _print_records(outcome: Outcome) -> None:
    for record in records(outcome):
        print(json.dumps(record), flush=True)


def _print_lines(outcome: Outcome) -> None:
    print("\n".join(lines_of(outcome)), end="\n\n", flush=True)
