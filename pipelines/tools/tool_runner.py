"""ToolRunner: lists and carries out the tools of customers' servers, whatever they speak.

MCP servers are spoken to by the official package, over streamable HTTP, one connection for each
question. Every failure is an EngineFailed whose words are safe to show to the model and the user.
"""

import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from pipelines.engines.base import EngineFailed
from pipelines.ssrf import CustomerHttp, UrlRefused

from .guarded_transport import GuardedTransport
from .http_tool import MAX_OUTPUT, call_http

for _name in ("httpx2", "mcp"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)  # they log addresses and answers

MOST_SECONDS = 60.0
"""How long a tool may take at most; each has its own time within that."""
MAX_LISTED = 128
_PAGES = 8

Listed = tuple[str, str, str]
"""Name, description and JSON schema of a tool."""


class ToolRunner:
    """Speaks to tools; may be shared by all calls."""

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
        """A connection to an MCP server; whatever fails behind it is an EngineFailed.

        The MCP client and httpx check addresses in their own ways, and raise InvalidURL outside of
        HTTPError: the address goes to them as our own check has it."""
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
        raise EngineFailed("The arguments are no JSON object.")
    return value


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group
