"""What every request goes through: an id, a deadline, errors in the client's shape, one log line.

Rules
- The log line holds method, route pattern, status, duration and id; never a query, header, body or
  key.
- A compressed body is refused with 415 on every path, before authentication: a few kilobytes may
  expand to gigabytes, and nothing that is sent here needs compression.
- A client that goes away mid-request gets status 499; that is not an error of ours.
- A WebSocket has no deadline here: its channel has its own.
"""

import asyncio
import logging
import time

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from aiohttp.typedefs import Middleware as WebMiddleware

from gateway import logs
from gateway.telemetry.metrics import Metrics
from rest.http.endpoint import DEADLINE, REQUEST_ID
from rest.http.errors import ApiError, UnsupportedMediaType

from .requests import REQUEST_ID_HEADER, is_upgrade, new_request_id
from .responses import ClientGone, as_api_error, as_api_error_of_http, as_response

log = logging.getLogger(__name__)
access_log = logging.getLogger("gateway.access")

_METHODS = frozenset(hdrs.METH_ALL)
_FOR_ANY_PAGE = ("/v1/realtime", "/v1/whip", "/readyz")
_QUIET = ("/healthz", "/readyz", "/readyz/resumed", "/metrics")


class Middleware:
    """The middlewares of one application, outermost first in ``all``."""

    def __init__(self, metrics: Metrics, *, deadline: float = 30.0) -> None:
        self._metrics = metrics
        self._deadline = deadline

    @property
    def all(self) -> list[WebMiddleware]:
        """The list for web.Application."""
        return [self.observe, self.guard]

    @web.middleware
    async def observe(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Give the request an id; count, time and log it."""
        request[REQUEST_ID] = new_request_id()
        logs.request_id.set(request[REQUEST_ID])
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
        """Enforce the deadline; turn every exception into a response."""
        try:
            _refuse_compressed(request)
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
        except Exception as error:  # noqa: BLE001 - the edge of the connection
            response = self._failed(request, error)
        if request.path.startswith(_FOR_ANY_PAGE) and not response.prepared:
            # Keys are sent explicitly, never as cookies, so any page may read the response.
            response.headers.setdefault("Access-Control-Allow-Origin", "*")
        return response

    def _deadline_of(self, request: web.Request) -> float | None:
        """Seconds the request may take; None if its handler has a deadline of its own."""
        deadline: float | None = getattr(request.match_info.handler, DEADLINE, self._deadline)
        return deadline

    def _failed(self, request: web.Request, error: Exception) -> web.Response:
        gone = request.transport is None or request.transport.is_closing()
        if gone and isinstance(error, OSError | web.RequestPayloadError):
            api_error: ApiError = ClientGone("The client closed the connection.")
        else:
            api_error = as_api_error(error)
        if api_error.status == 500:
            log.error("request %s failed", request[REQUEST_ID], exc_info=error)
        response = as_response(api_error, request, request[REQUEST_ID])
        if api_error.status == 408:
            response.force_close()
        return response

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


def _refuse_compressed(request: web.Request) -> None:
    encodings = ",".join(request.headers.getall(hdrs.CONTENT_ENCODING, ())).split(",")
    if any(encoding.strip().lower() not in ("", "identity") for encoding in encodings):
        raise UnsupportedMediaType(
            "Compressed bodies are not read: send the body without Content-Encoding.",
            param="Content-Encoding",
        )


def _allowed(request: web.Request, error: web.HTTPMethodNotAllowed) -> list[str]:
    """The methods of the path. A path that is a route itself (``/api/tts/stream``) does not get
    those of a pattern that also matches it (``/api/tts/{id}``)."""
    methods = set(error.allowed_methods)
    for resource in request.app.router.resources():
        if resource.canonical == request.path:
            methods = {route.method for route in resource}
    return sorted(methods)


async def show_request_id(request: web.Request, response: web.StreamResponse) -> None:
    """Put the request's id on every response, streams included; for ``on_response_prepare``."""
    if REQUEST_ID in request:
        response.headers[REQUEST_ID_HEADER] = request[REQUEST_ID]
