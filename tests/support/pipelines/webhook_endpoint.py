"""A customer's endpoint on loopback, which checks signatures with the official library."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from standardwebhooks import Webhook as Verifier

from pipelines.ssrf import CustomerHttp
from pipelines.webhooks import new_secret
from store.database import Database
from store.tenants.webhooks import Webhook, Webhooks


@dataclass
class Endpoint:
    """Answers with ``statuses`` in their order, then with 204."""

    secret: str = field(default_factory=new_secret)
    statuses: list[int] = field(default_factory=list)
    received: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    url: str = ""

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.bodies.append(body)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        self.received.append(Verifier(self.secret).verify(body, dict(request.headers)))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 204)


@asynccontextmanager
async def receiving(*statuses: int) -> AsyncIterator[tuple[Endpoint, CustomerHttp]]:
    """An endpoint, and what reaches it."""
    endpoint = Endpoint(statuses=list(statuses))
    app = web.Application()
    app.router.add_post("/hook", endpoint.take)
    http = CustomerHttp(allow_private=True)
    async with TestServer(app) as server:
        endpoint.url = str(server.make_url("/hook"))
        yield endpoint, http
    await http.close()


async def listen(
    database: Database, workspace_id: str, endpoint: Endpoint, *events: str, enabled: bool = True
) -> Webhook:
    """A webhook of the workspace that leads to ``endpoint``."""
    webhook = await Webhooks(database).create(
        workspace_id, endpoint.url, events or ("*",), endpoint.secret, enabled=enabled
    )
    assert webhook is not None
    return webhook
