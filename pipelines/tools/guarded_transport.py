"""GuardedTransport: httpx's requests, sent through CustomerHttp.

The MCP package speaks httpx; what it sends goes to addresses that customers gave, so the same
guard stands before it. At most ``MAX_BYTES`` of an answer are passed on.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx2
from aiohttp import ClientError, ClientResponse

from pipelines.ssrf import CustomerHttp, Undelivered, UrlRefused

MAX_BYTES = 4 << 20
_HOP = ("host", "connection", "transfer-encoding", "accept-encoding", "content-length")


class GuardedTransport(httpx2.AsyncBaseTransport):
    """An httpx transport over ``http``."""

    def __init__(self, http: CustomerHttp) -> None:
        self._http = http

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request; raises ConnectError."""
        headers = {name: value for name, value in request.headers.items() if name not in _HOP}
        body = await request.aread()
        stack = AsyncExitStack()
        try:
            response = await stack.enter_async_context(
                self._http.open(
                    request.method, str(request.url), headers=headers, body=body or None
                )
            )
        except (UrlRefused, Undelivered) as error:
            raise httpx2.ConnectError(str(error), request=request) from error
        told = [
            (name, value) for name, value in response.headers.items() if name.lower() not in _HOP
        ]
        return httpx2.Response(response.status, headers=told, stream=_Body(response, stack))


class _Body(httpx2.AsyncByteStream):
    """An answer's body; closing it closes the connection."""

    def __init__(self, response: ClientResponse, stack: AsyncExitStack) -> None:
        self._response = response
        self._stack = stack

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for piece in self._response.content.iter_any():
                size += len(piece)
                if size > MAX_BYTES:
                    raise httpx2.ReadError(f"the answer has more than {MAX_BYTES} bytes")
                yield piece
        except (Undelivered, ClientError, OSError, TimeoutError) as error:
            raise httpx2.ReadError("the connection broke") from error

    async def aclose(self) -> None:
        """Close the connection."""
        try:
            await self._stack.aclose()
        except Undelivered:
            return
