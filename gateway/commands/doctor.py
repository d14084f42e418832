"""``blab doctor``: what is installed, live, slow or missing on this machine."""

import argparse
import asyncio
import json
from dataclasses import asdict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway import diagnosis
from gateway.diagnosis import Finding, Verdict, time_engines
from gateway.engines import engine_settings
from gateway.services import ServiceError, attached_services
from gateway.settings import Settings
from pipelines.engines.catalogue import Catalogue
from store.bus import Bus
from store.database import Database
from store.errors import StoreError

COLOURS = {
    Verdict.OK: "green",
    Verdict.NOTE: "cyan",
    Verdict.SLOW: "yellow",
    Verdict.MISSING: "red",
    Verdict.FAILED: "red",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """What ``blab doctor`` accepts."""
    parser.add_argument("--quick", action="store_true", help="do not load and time the engines")
    parser.add_argument("--json", action="store_true", help="findings as JSON lines")


def run(options: argparse.Namespace, settings: Settings) -> int:
    """1 if something keeps calls from working."""
    findings = [
        *diagnosis.machine(),
        *diagnosis.disk(settings),
        *diagnosis.port(settings),
        *diagnosis.models(settings),
        *diagnosis.plugins(),
        *asyncio.run(services(settings)),
    ]
    if not options.quick:
        findings += asyncio.run(time_engines(Catalogue(engine_settings(settings))))
    findings += diagnosis.browser()
    if options.json:
        for finding in findings:
            print(json.dumps(asdict(finding)))
    else:
        _print(findings)
    return diagnosis.exit_code(findings)


async def services(settings: Settings) -> list[Finding]:
    """Whether Postgres and Redis answer; embedded ones are started for this if none run."""
    try:
        async with attached_services(settings) as urls:
            return [
                await _postgres(Database(urls.database_url), settings.database_url is None),
                await _redis(Bus(urls.redis_url), settings.redis_url is None),
            ]
    except ServiceError as error:
        return [Finding("services", Verdict.FAILED, str(error))]


async def _postgres(database: Database, embedded: bool) -> Finding:
    try:
        await database.connect()
        version = str(await database.fetchval("SHOW server_version"))
    except StoreError as error:
        return Finding("postgres", Verdict.FAILED, str(error))
    finally:
        await database.close()
    return Finding("postgres", Verdict.OK, f"{version}, {'embedded' if embedded else 'external'}")


async def _redis(bus: Bus, embedded: bool) -> Finding:
    try:
        await bus.ping()
    except StoreError as error:
        return Finding("redis", Verdict.FAILED, str(error))
    finally:
        await bus.close()
    return Finding("redis", Verdict.OK, "embedded Valkey" if embedded else "external")


def _print(findings: list[Finding]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        colour = COLOURS[finding.verdict]
        table.add_row(f"[{colour}]{finding.verdict}[/]", finding.subject, escape(finding.detail))
    Console(highlight=False).print(table)
