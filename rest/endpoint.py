"""Endpoint: an operation as an HTTP handler, from the credential to the envelope.

The order is fixed: who asks, may they, how often, what do they ask, was it asked before, do it.
A refusal is raised (rest.errors) and becomes an answer in the server's middleware; nothing is
answered here but success.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec
from aiohttp import web

from .auth import Principal
from .decoding import read_json, read_query
from .envelope import REQUEST_ID, success
from .errors import Forbidden
from .operation import Answer, Operation, Request, Resource

Authenticate = Callable[[web.Request], Awaitable[Principal]]
"""Who sends a request; raises Unauthenticated."""

DEADLINE = "blab_deadline"
"""Attribute of a route's handler: its deadline in seconds, None for none."""


class Endpoint:
    """One operation, served."""

    def __init__(self, operation: Operation, authenticate: Authenticate) -> None:
        self._operation = operation
        self._authenticate = authenticate

    async def handle(self, http: web.Request) -> web.StreamResponse:
        """Answer one request; raises ApiError and what the handler raises."""
        operation = self._operation
        principal = None if operation.public else await self._admit(http)
        query = read_query(http, operation.query) if operation.query is not None else None
        body = await read_json(http, operation.body) if operation.body is not None else None
        request = Request(http, http[REQUEST_ID], principal, body, query)
        answer = await operation.handler(request)
        if isinstance(answer, web.StreamResponse):
            return answer
        return envelope(answer, request.id, operation.status)

    def route(self) -> web.RouteDef:
        """The operation's route."""

        async def endpoint(http: web.Request) -> web.StreamResponse:
            return await self.handle(http)

        setattr(endpoint, DEADLINE, self._operation.deadline)
        return web.route(self._operation.method, self._operation.path, endpoint)

    async def _admit(self, http: web.Request) -> Principal:
        principal = await self._authenticate(http)
        if principal.kind == "ephemeral":
            raise Forbidden("An ephemeral key opens calls only: send an API key.")
        scope = self._operation.scope
        if principal.kind == "api_key" and scope is not None and scope not in principal.scopes:
            raise Forbidden(
                f"The API key lacks the scope {scope!r}.", param="scope", reason="missing_scope"
            )
        return principal


def routes(resources: Iterable[Resource], authenticate: Authenticate) -> list[web.RouteDef]:
    """The routes of all operations of ``resources``."""
    return [
        Endpoint(operation, authenticate).route()
        for resource in resources
        for operation in resource.operations()
    ]


def envelope(answer: Answer, request_id: str, status: int) -> web.Response:
    """The contract's envelope as a response that no cache keeps."""
    body: dict[str, Any] = success(
        answer.data, request_id, next_cursor=answer.next_cursor, has_more=answer.has_more
    )
    return web.Response(
        body=msgspec.json.encode(body),
        status=status,
        headers={"Cache-Control": "no-store", **answer.headers},
        content_type="application/json",
    )
