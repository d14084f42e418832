"""Resources behind the server's real middleware, for tests; a credential is whatever it is."""

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gateway.http.middleware import Middleware, show_request_id
from gateway.telemetry.metrics import Metrics
from rest.accounts import keys
from rest.accounts.auth import Authenticator, SignedIn
from rest.accounts.keys import SCOPES, EphemeralKeys
from rest.accounts.signing import Tokens
from rest.http.decoding import show_warnings
from rest.http.endpoint import Authenticate, EndpointOptions, routes
from rest.http.operation import Operation, Resource
from rest.http.ratelimit import show_rate
from store.database import Database
from store.tenants.accounts import ApiKeys, NewApiKey, Users, Workspaces
from tests.support.gateway.http_support import MemoryBus

Client = TestClient[web.Request, web.Application]
SECRET = b"s" * 32
TOKENS = Tokens(SECRET)


@dataclass(frozen=True)
class Listed:
    """A resource made of its operations."""

    listed: list[Operation]

    def operations(self) -> list[Operation]:
        return self.listed


@dataclass(frozen=True)
class Tenant:
    """A user with a workspace, a token and an API key that may do everything."""

    user_id: str
    workspace_id: str
    token: str
    key: str
    key_id: str


async def new_tenant(
    database: Database, email: str = "ours@example.org", scopes: Iterable[str] = SCOPES
) -> Tenant:
    user = await Users(database).create(email, "Somebody", None)
    workspace = await Workspaces(database).create("Work", user.id)
    key = keys.new_key()
    new = NewApiKey(
        name="test",
        prefix=key.prefix,
        digest=key.digest,
        scopes=list(scopes),
    )
    stored = await ApiKeys(database).insert(workspace.id, new)
    return Tenant(
        user_id=user.id,
        workspace_id=workspace.id,
        token=TOKENS.issue(user.id),
        key=key.text,
        key_id=stored.id,
    )


def authenticator(database: Database) -> Authenticator:
    users = SignedIn(TOKENS, Workspaces(database))
    return Authenticator(
        ApiKeys(database), EphemeralKeys(MemoryBus(), time.time), time.monotonic, users=users
    )


@asynccontextmanager
async def serving(
    resources: Iterable[Resource],
    authenticate: Authenticate,
    options: EndpointOptions | None = None,
) -> AsyncIterator[Client]:
    """A server of the resources and a client that sends no credential by itself."""
    app = web.Application(middlewares=Middleware(Metrics()).all)
    app.on_response_prepare.append(show_request_id)
    app.add_routes(routes(resources, authenticate, options or EndpointOptions()))
    app.on_response_prepare.append(show_rate)
    app.on_response_prepare.append(show_warnings)
    async with TestClient(TestServer(app)) as client:
        yield client


@dataclass(frozen=True)
class Answered:
    """An answer that was read. ``body`` is its envelope."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]
    raw: bytes

    @property
    def data(self) -> Any:
        assert self.status < 400, self.body
        return self.body["data"]

    @property
    def details(self) -> dict[str, Any]:
        assert self.status >= 400, self.body
        found: dict[str, Any] = self.body["error"]["details"] or {}
        return found

    @property
    def data_bytes(self) -> bytes:
        """The bytes of ``data`` as they were sent."""
        return self.raw.partition(b'"data":')[2].rpartition(b',"meta":')[0]


async def ask(
    client: Client, method: str, path: str, credential: str | None = None, **more: Any
) -> Answered:
    """One request; ``more``: ``json``, ``headers`` …"""
    headers = dict(more.pop("headers", {}))
    if credential is not None:
        headers["Authorization"] = f"Bearer {credential}"
    async with client.request(method, path, headers=headers, **more) as answer:
        assert answer.content_type == "application/json"
        raw = await answer.read()
        body: dict[str, Any] = await answer.json()
        assert body["ok"] == (answer.status < 400)
        assert body["meta"]["requestId"] == answer.headers["X-Request-Id"]
        return Answered(
            status=answer.status,
            body=body,
            headers=dict(answer.headers),
            raw=raw,
        )
