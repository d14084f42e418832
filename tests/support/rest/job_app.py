"""The resource of jobs as an application of its own; a credential is the workspace's id."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.typedefs import Handler

from pipelines.jobs.artifacts import Artifacts
from rest.accounts.auth import Principal
from rest.accounts.signing import UrlSigner
from rest.http.endpoint import REQUEST_ID, routes
from rest.http.errors import ApiError, error_body
from rest.http.pagination import Cursors
from rest.jobs.jobs import READ, JobResource
from rest.jobs.kinds import JobViews
from store.database import Database
from store.objects import ObjectStore

Client = TestClient[web.Request, web.Application]


class Signer(UrlSigner):
    def __init__(self) -> None:
        super().__init__(b"")

    def url(
        self, request_base: str, workspace_id: str, key: str, *, attachment: bool = False
    ) -> str:
        return f"{request_base}/files/{key}?signed"


class PlainCursors(Cursors):
    def __init__(self) -> None:
        super().__init__(b"")

    def encode(self, id: str, /) -> str:
        return id

    def decode(self, text: str, /) -> str:
        return text


@web.middleware
async def refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    request[REQUEST_ID] = "req_test"
    try:
        return await handler(request)
    except ApiError as error:
        body = error_body(error, request.path, "req_test")
        return web.json_response(body, status=error.status)


async def authenticate(request: web.Request) -> Principal:
    workspace_id = request.headers["Authorization"]
    return Principal(workspace_id, "api_key", key_id="key", scopes=(READ,))


@asynccontextmanager
async def jobs_client(
    database: Database, workspace_id: str, artifacts: Artifacts | None = None
) -> AsyncIterator[Client]:
    """One node that serves jobs, and a client of the workspace."""
    views = JobViews(Signer())
    made = artifacts or Artifacts(database, ObjectStore.open(f"file://{tempfile.gettempdir()}"))
    resource = JobResource(database, made, views, PlainCursors())
    app = web.Application(middlewares=[refusals])
    app.add_routes(routes([resource], authenticate))
    app.cleanup_ctx.append(resource.watch.context)
    headers = {"Authorization": workspace_id}
    async with TestClient(TestServer(app), headers=headers) as client:
        yield client
