"""ToolRunner: lists and runs the tools of customers' servers, over HTTP or MCP.

An HTTP tool is one request. Its arguments, a JSON object, go into the query of a GET or DELETE,
otherwise into the body as JSON. The response's text is the output, at most ``MAX_OUTPUT``
characters of it; any status but 2xx is a failure.

MCP servers are reached with the official package over streamable HTTP, one connection per question.
The package speaks httpx: ``GuardedTransport`` sends its requests through CustomerHttp, since they
go to addresses that customers gave.

Every failure is an EngineFailed whose message is safe to show to the model and the user.
"""

import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2
from aiohttp import ClientError, ClientResponse
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from yarl import URL

from pipelines.engines.base import EngineFailed
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
        passed = [
            (name, value) for name, value in response.headers.items() if name.lower() not in _HOP
        ]
        return httpx2.Response(response.status, headers=passed, stream=_Body(response, stack))


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


MAX_OUTPUT = 16_384
_BODILESS = ("GET", "DELETE")


async def call_http(
    http: CustomerHttp, method: str, url: str, headers: Mapping[str, str], arguments: dict[str, Any]
) -> str:
    """The response's text; raises EngineFailed with a message that is safe to show."""
    sent = {"Accept": "application/json, text/plain;q=0.9, */*;q=0.1", **headers}
    body: bytes | None = None
    try:
        if method in _BODILESS:
            url = str(URL(url).update_query({name: _plain(v) for name, v in arguments.items()}))
        else:
            body = json.dumps(arguments, ensure_ascii=False).encode()
            sent = {"Content-Type": "application/json", **sent}
        async with http.open(method, url, headers=sent, body=body) as response:
            text = await _text(response)
            if not 200 <= response.status < 300:
                raise EngineFailed(f"The tool answered with status {response.status}. {text[:500]}")
            return text
    except (UrlRefused, Undelivered) as error:
        raise EngineFailed(str(error)) from error
    except (ValueError, UnicodeError) as error:
        raise EngineFailed("These arguments do not make a valid request.") from error


async def _text(response: ClientResponse) -> str:
    read = bytearray()
    async for piece in response.content.iter_any():
        read += piece
        if len(read) > 4 * MAX_OUTPUT:
            break
    return read.decode("utf-8", "replace")[:MAX_OUTPUT]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


for _name in ("httpx2", "mcp"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)  # they log addresses and answers

MOST_SECONDS = 60.0
"""The longest that a tool may take; each has its own limit within that."""
MAX_LISTED = 128
_PAGES = 8

Listed = tuple[str, str, str]
"""Name, description and JSON schema of a tool."""


class ToolRunner:
    """Runs tools; may be shared by all calls."""

    def __init__(self, http: CustomerHttp) -> None:
        self._http = http

    async def list_tools(self, url: str, headers: Mapping[str, str]) -> list[Listed]:
        """The tools of an MCP server, ``MAX_LISTED`` at most."""
        found: list[Listed] = []
        async with self._server(url, headers) as client:
            cursor = None
            for _ in range(_PAGES):
                page = await client.list_tools(cursor=cursor)
                for tool in page.tools:
                    schema = json.dumps(tool.input_schema, ensure_ascii=False)
                    found.append((tool.name, tool.description or "", schema))
                cursor = page.next_cursor
                if cursor is None:
                    break
        return found[:MAX_LISTED]

    async def call_mcp(
        self, url: str, headers: Mapping[str, str], name: str, arguments: str
    ) -> str:
        """The output of an MCP server's tool, its texts joined."""
        given = _object(arguments)
        async with self._server(url, headers) as client:
            result = await client.call_tool(name, given)
            texts = [text for part in result.content if (text := getattr(part, "text", None))]
            output = "\n".join(texts)[:MAX_OUTPUT]
            if not output and result.structured_content is not None:
                output = json.dumps(result.structured_content, ensure_ascii=False)[:MAX_OUTPUT]
            if result.is_error:
                raise EngineFailed(output or "The tool failed.")
            return output

    async def call_http(
        self, method: str, url: str, headers: Mapping[str, str], arguments: str
    ) -> str:
        """The output of an HTTP tool."""
        return await call_http(self._http, method, url, headers, _object(arguments))

    @asynccontextmanager
    async def _server(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[Client]:
        """A connection to an MCP server; every failure becomes an EngineFailed.

        The MCP client and httpx check addresses in their own ways, and raise InvalidURL, which is
        not an HTTPError: they get the address as our own check parsed it."""
        try:
            address = str(self._http.check(url))
        except UrlRefused as refusal:
            raise EngineFailed(str(refusal)) from refusal
        try:
            async with httpx2.AsyncClient(
                transport=GuardedTransport(self._http), headers=dict(headers), timeout=None
            ) as http:
                carrier = streamable_http_client(address, http_client=http)
                async with Client(carrier, cache=None) as client:
                    yield client
        except* EngineFailed as group:
            raise _first(group) from None
        except* MCPError as group:
            raise EngineFailed(f"The MCP server refused: {_first(group)}"[:500]) from None
        except* httpx2.InvalidURL as group:
            raise EngineFailed("The MCP server's URL is not well-formed.") from group
        except* (httpx2.HTTPError, OSError, ValueError, RuntimeError) as group:
            raise EngineFailed("The MCP server could not be reached or understood.") from group


def _object(arguments: str) -> dict[str, object]:
    try:
        value = json.loads(arguments or "{}")
    except (ValueError, RecursionError) as error:
        raise EngineFailed("The arguments are not JSON.") from error
    if not isinstance(value, dict):
        raise EngineFailed("The arguments are not a JSON object.")
    return value


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group
