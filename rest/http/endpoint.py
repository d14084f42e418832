"""Endpoint: an operation as an HTTP handler, from the credential to the envelope.

The order is fixed: who is asking, may they, how often, what do they ask for, was it asked before,
do it. A refusal is raised (rest.http.errors) and becomes an answer in the server's middleware; only
success is answered here. A request without a valid credential counts towards its address's rate.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import hdrs, web

from pipelines.jobs.job import ApiWarning
from rest.accounts.auth import Principal
from rest.jobs.kinds import JobView

from .decoding import MAX_BODY_BYTES, WARNINGS, read_json, read_query, warn, warn_of_names
from .errors import Forbidden, Unauthenticated
from .idempotency import HEADER, Asked, Idempotency, fingerprint, key_of
from .operation import Answer, AnyOperation, AnyRequest, Request, Resource
from .ratelimit import RequestRates
from .uploads import CONVERSATION, Upload, Uploads

Authenticate = Callable[[web.Request], Awaitable[Principal]]
"""Who sent a request; raises Unauthenticated."""

PUBLIC_BODY_BYTES = 64 * 1024
"""Limit of a body that is decoded without authentication: a sign-in has a few fields."""
REQUEST_ID = web.RequestKey("request_id", str)
"""Where the server's middleware puts the request's id."""
DEADLINE = "blab_deadline"
"""Attribute of a route's handler: its deadline in seconds, None for none."""


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """What endpoints have besides authentication. Without ``rates`` nothing is counted, without
    ``idempotency`` the key is ignored, and without ``uploads`` no operation may take a file."""

    rates: RequestRates | None = None
    idempotency: Idempotency | None = None
    uploads: Uploads | None = None


class Endpoint:
    """One operation, served."""

    def __init__(
        self,
        operation: AnyOperation,
        authenticate: Authenticate,
        options: EndpointOptions = EndpointOptions(),
    ) -> None:
        """Raises ValueError for an operation that takes a file, without ``uploads``."""
        if operation.upload and options.uploads is None:
            raise ValueError(f"{operation.method} {operation.path} needs EndpointOptions.uploads")
        self._operation = operation
        self._authenticate = authenticate
        self._rates = options.rates
        self._idempotency = options.idempotency if operation.idempotent else None
        self._uploads = options.uploads if operation.upload else None

    async def handle(self, http: web.Request) -> web.StreamResponse:
        """Answer one request; raises ApiError and what the handler raises."""
        operation = self._operation
        principal = await self._enter(http)
        if not operation.idempotent and HEADER in http.headers and http.method != hdrs.METH_GET:
            message = f"{HEADER} has no effect on this operation."
            warn(http, [ApiWarning("ignored_header", message, HEADER)])
        query = None
        if operation.query is not None:
            query = read_query(http, operation.query)
        else:
            warn_of_names(http, http.query, (), "query parameter")
        if self._uploads is not None:
            async with self._uploads.receive(http) as upload:
                warn_of_names(http, _unused(upload, operation), operation.form_names, "form field")
                request = Request(
                    http=http,
                    id=http[REQUEST_ID],
                    principal=principal,
                    body=None,
                    query=query,
                    upload=upload,
                )
                return await self._answer(request)
        body = None
        if operation.body is not None:
            limit = PUBLIC_BODY_BYTES if operation.public else MAX_BODY_BYTES
            body = await read_json(http, operation.body, limit)
        elif http.can_read_body:
            warn(http, [ApiWarning("ignored_body", "This operation reads no body.")])
        request = Request(
            http=http, id=http[REQUEST_ID], principal=principal, body=body, query=query
        )
        return await self._answer(request)

    def route(self) -> web.RouteDef:
        """The operation's route."""

        async def endpoint(http: web.Request) -> web.StreamResponse:
            return await self.handle(http)

        setattr(endpoint, DEADLINE, self._operation.deadline)
        return web.route(self._operation.method, self._operation.path, endpoint)

    # ------------------------------------------------------------------ who is asking, how often

    async def _enter(self, http: web.Request) -> Principal | None:
        try:
            principal = None if self._operation.public else await self._admit(http)
        except (Unauthenticated, Forbidden):
            await self._count(http, None)
            raise
        await self._count(http, principal)
        return principal

    async def _admit(self, http: web.Request) -> Principal:
        principal = await self._authenticate(http)
        scope = self._operation.scope
        granted = principal.scopes if scope is None else scope in principal.scopes
        if principal.kind == "ephemeral" and not granted:
            raise Forbidden("An ephemeral key opens calls only: send an API key.")
        if principal.kind == "api_key" and scope is not None and scope not in principal.scopes:
            raise Forbidden(
                f"The API key lacks the scope {scope!r}.", param="scope", reason="missing_scope"
            )
        return principal

    async def _count(self, http: web.Request, principal: Principal | None) -> None:
        if self._rates is not None:
            await self._rates.count(http, principal)

    # ------------------------------------------------------------------ asked before? do it

    async def _answer(self, request: AnyRequest) -> web.StreamResponse:
        operation = self._operation
        key = key_of(request.http) if self._idempotency is not None else None
        if self._idempotency is None or key is None:
            answer = await operation.handler(request)
        else:
            asked = Asked(
                workspace_id=request.workspace_id,
                route=f"{operation.method} {operation.path}",
                key=key,
                fingerprint=fingerprint(request),
                request_id=request.id,
            )
            answer = await self._idempotency.once(asked, lambda: operation.handler(request))
        if isinstance(answer, web.StreamResponse):
            return answer
        return envelope(answer, request, operation.status)


def routes(
    resources: Iterable[Resource],
    authenticate: Authenticate,
    options: EndpointOptions = EndpointOptions(),
) -> list[web.RouteDef]:
    """The routes of all operations of ``resources``."""
    return [
        Endpoint(operation, authenticate, options).route()
        for resource in resources
        for operation in resource.operations()
    ]


def success(
    data: Any,
    request_id: str,
    *,
    next_cursor: str | None = None,
    has_more: bool | None = None,
    warnings: Sequence[ApiWarning] = (),
) -> dict[str, Any]:
    """``{ok: true, data, meta}``; lists with pages say whether there is more, and where.
    ``meta.warnings`` is there only where something was accepted without its full effect."""
    meta: dict[str, Any] = {"requestId": request_id}
    if has_more is not None:
        meta |= {"nextCursor": next_cursor, "hasMore": has_more}
    if warnings:
        meta["warnings"] = list(warnings)
    return {"ok": True, "data": data, "meta": meta}


def envelope(answer: Answer, request: AnyRequest, status: int) -> web.Response:
    """The contract's envelope as a response that no cache keeps."""
    shown = answer.data.warnings if isinstance(answer.data, JobView) else ()
    body: dict[str, Any] = success(
        answer.data,
        request.id,
        next_cursor=answer.next_cursor,
        has_more=answer.has_more,
        warnings=[
            *request.http.get(WARNINGS, ()),
            *answer.warnings,
            *shown,
        ],
    )
    return web.Response(
        body=msgspec.json.encode(body),
        status=status,
        headers={"Cache-Control": "no-store", **answer.headers},
        content_type="application/json",
    )


def _unused(upload: Upload, operation: AnyOperation) -> list[str]:
    """Names of the parts in the form that have no effect on the operation."""
    sent = {
        "model": upload.model,
        "language": upload.language,
        "label": upload.label,
        CONVERSATION: upload.conversation_id,
    }
    known = [name for name, text in sent.items() if text is not None]
    return [*upload.ignored, *[name for name in known if name not in operation.form_names]]
