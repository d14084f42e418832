"""What every request goes through: an id, a deadline, errors in the client's shape, one log line.

Rules: the log line holds method, route pattern, status, duration and id; never a query, header,
body or key. A WebSocket has no deadline here: its channel has its own.
"""

import asyncio
import logging
import time

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from aiohttp.typedefs import Middleware as WebMiddleware

from rest.endpoint import DEADLINE
from rest.envelope import REQUEST_ID

from .http_errors import as_api_error, as_api_error_of_http, as_response
from .metrics import Metrics
from .request_ids import REQUEST_ID_HEADER, new_request_id

log = logging.getLogger(__name__)
access_log = logging.getLogger("gateway.access")

_METHODS = frozenset(hdrs.METH_ALL)
_FOR_ANY_PAGE = ("/v1/realtime", "/v1/whip")
_QUIET = ("/healthz", "/readyz", "/metrics")


class Middleware:
    """The middlewares of one application, outermost first in ``all``."""

    def __init__(self, metrics: Metrics, *, deadline: float = 30.0) -> None:
        self._metrics = metrics
        self._deadline = deadline

    @property
    def all(self) -> list[WebMiddleware]:
        """What to hand to web.Application."""
        return [self.observe, self.guard]

    @web.middleware
    async def observe(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Give the request an id; count, time and log it."""
        request[REQUEST_ID] = new_request_id()
        began = time.monotonic()
        status = 499
        try:
            response = await handler(request)
            status = response.status
            return response
        finally:
            self._note(request, status, time.monotonic() - began)

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Hold the deadline; turn every exception into an answer."""
        try:
            if is_upgrade(request):
                response = await handler(request)
            else:
                async with asyncio.timeout(self._deadline_of(request)):
                    response = await handler(request)
        except web.HTTPException as error:
            api_error = as_api_error_of_http(error, request)
            if api_error is None:
                raise
            response = as_response(api_error, request, request[REQUEST_ID])
            if isinstance(error, web.HTTPMethodNotAllowed):
                response.headers[hdrs.ALLOW] = ", ".join(_allowed(request, error))
        except Exception as error:  # noqa: BLE001 - the connection's edge
            response = self._failed(request, error)
        if request.path.startswith(_FOR_ANY_PAGE) and not response.prepared:
            # Keys are sent by hand, never as cookies: any page may read the answer.
            response.headers.setdefault("Access-Control-Allow-Origin", "*")
        return response

    def _deadline_of(self, request: web.Request) -> float | None:
        """Seconds that the request may take; None where its handler holds its own deadline."""
        deadline: float | None = getattr(request.match_info.handler, DEADLINE, self._deadline)
        return deadline

    def _failed(self, request: web.Request, error: Exception) -> web.Response:
        api_error = as_api_error(error)
        if api_error.status == 500:
            log.error("request %s failed", request[REQUEST_ID], exc_info=error)
        return as_response(api_error, request, request[REQUEST_ID])

    def _note(self, request: web.Request, status: int, seconds: float) -> None:
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else "unknown"
        method = request.method if request.method in _METHODS else "other"
        self._metrics.request_done(method, route, status, seconds)
        level = logging.DEBUG if route in _QUIET else logging.INFO
        milliseconds = seconds * 1000
        access_log.log(
            level, "%s %s %d %.0f ms %s", method, route, status, milliseconds, request[REQUEST_ID]
        )


def _allowed(request: web.Request, error: web.HTTPMethodNotAllowed) -> list[str]:
    """The methods of the path; where it stands as such in the table (``/api/tts/stream``), those
    that patterns would take it for (``/api/tts/{id}``) are not counted."""
    methods = set(error.allowed_methods)
    for resource in request.app.router.resources():
        if resource.canonical == request.path:
            methods = {route.method for route in resource}
    return sorted(methods)


async def show_request_id(request: web.Request, response: web.StreamResponse) -> None:
    """The request's id on every answer, streams included; for ``on_response_prepare``."""
    if REQUEST_ID in request:
        response.headers[REQUEST_ID_HEADER] = request[REQUEST_ID]


def is_upgrade(request: web.Request) -> bool:
    """Whether the request asks for a WebSocket."""
    return request.headers.get(hdrs.UPGRADE, "").lower() == "websocket"
