"""Any resource as an application of its own; a credential is the workspace's id."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from rest.accounts.auth import Principal
from rest.http.endpoint import routes
from rest.http.operation import Resource
from tests.support.rest.job_app import Client, refusals


@asynccontextmanager
async def serving(
    resource: Resource, workspace_id: str, scopes: Sequence[str]
) -> AsyncIterator[Client]:
    """A client of the workspace, whose key has ``scopes``."""

    async def authenticate(request: web.Request) -> Principal:
        own = request.headers["Authorization"]
        return Principal(own, "api_key", key_id="key", scopes=tuple(scopes))

    app = web.Application(middlewares=[refusals])
    app.add_routes(routes([resource], authenticate))
    headers = {"Authorization": workspace_id}
    async with TestClient(TestServer(app), headers=headers) as client:
        yield client


async def ask(
    client: Client, method: str, path: str, body: Any = None, *, as_workspace: str | None = None
) -> tuple[int, Any]:
    """Status and ``data`` of the answer, or its ``error``."""
    headers = {"Authorization": as_workspace} if as_workspace else {}
    sent: dict[str, Any] = {} if body is None else {"json": body}
    async with client.request(method, path, headers=headers, **sent) as answer:
        envelope = await answer.json()
        return answer.status, envelope["data"] if envelope["ok"] else envelope["error"]
