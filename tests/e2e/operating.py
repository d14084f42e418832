"""The rooms to operate Blab in Chromium: a server with scripted engines, a worker, and what every
room must be."""

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Page, expect

from gateway.commands.worker import job_kinds
from gateway.services import ServiceUrls
from gateway.settings import Settings
from gateway.stores import Stores
from pipelines.jobs.usage import Prices, Usage
from pipelines.ssrf import CustomerHttp
from pipelines.webhooks import WebhookEvents
from store.database import Database
from tests.support.gateway.scripted_server import ScriptedServer, running_node
from tests.support.pipelines.job_support import working

WAIT = 15_000.0
"""ms until a page must show something."""
SIZES = [(360, 640), (1366, 650), (683, 325)]
"""A phone, a flat screen, and that screen at 200 %."""
PRICES = Prices()


@dataclass
class Operated:
    """A server and how a worker of it is started."""

    server: ScriptedServer
    stores: Stores
    settings: Settings

    @property
    def url(self) -> str:
        return self.server.url.replace("127.0.0.1", "localhost")

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """A worker with every kind of job, on the server's scripted engines."""
        http = CustomerHttp(allow_private=True)
        engines: Any = self.server.engines
        kinds: Any = job_kinds(self.settings, self.stores, engines, http)
        hooks = [
            Usage(self.stores.database, PRICES).hook,
            WebhookEvents(self.stores.database).hook,
        ]
        async with working(self.stores.database, *kinds, hooks=hooks):
            yield
        await http.close()


@pytest.fixture
async def operated(
    database: Database, own_database_url: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[Operated]:
    """Webhooks may go to this machine."""
    urls = ServiceUrls(own_database_url, redis_url)
    settings = dataclasses.replace(Settings(), data_dir=tmp_path, webhook_private=True)
    async with running_node(database, urls, tmp_path, webhook_private=True) as server:
        stores = await Stores.open(settings, urls)
        try:
            yield Operated(server, stores, settings)
        finally:
            await stores.close()


@asynccontextmanager
async def receiver(*statuses: int) -> AsyncIterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """A customer's endpoint on loopback, which answers with ``statuses``, then with 204; and the
    headers and bodies of what it got."""
    got: list[tuple[dict[str, str], bytes]] = []
    answers = list(statuses)

    async def take(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        got.append((headers, await request.read()))
        return web.Response(status=answers.pop(0) if answers else 204)

    app = web.Application()
    app.router.add_post("/hook", take)
    async with TestServer(app) as server:
        yield str(server.make_url("/hook")), got


async def ready(page: Page, url: str) -> None:
    await page.goto(url)
    await expect(page.locator("body")).to_have_attribute("data-ready", "true", timeout=WAIT)


async def everybody_can_use(page: Page, axe: str, where: str) -> None:
    """No fault that axe finds, and nothing outside the window: light, dark, small, flat, large."""
    for width, height in SIZES:
        await page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            await page.emulate_media(
                color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce"
            )
            faults = [
                (one["id"], [node["html"][:120] for node in one["nodes"]])
                for one in await violations(page, axe)
            ]
            assert faults == [], (where, width, scheme, faults)
            wide = await page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, (where, scheme)


async def violations(page: Page, axe: str) -> list[dict[str, Any]]:
    """What axe finds; it is given to a document once, and keeps to itself what passed."""
    if not await page.evaluate("'axe' in globalThis"):
        await page.evaluate(axe)
    only = "{ resultTypes: ['violations'] }"
    found: list[dict[str, Any]] = await page.evaluate(
        f"axe.run({only}).then(({{ violations }}) => violations)"
    )
    return found
