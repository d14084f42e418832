"""The call page and the page of all calls with what they load, and the keys that they get without
an account.

``GET /`` and ``/demo/…`` serve static/demo, ``/calls…`` static/calls, ``/shared/…`` what all pages
share, and ``/sdk/…`` the client library, which any page may load. ``POST /demo/session`` mints an
ephemeral key for the local workspace: only in embedded mode, only for this machine under a loopback
name, only for the page itself or a program (no foreign Origin). The key of ``POST /calls/session``
also reads, hangs up and deletes the calls of that workspace.
"""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from gateway.http.requests import is_loopback_request, is_same_origin
from gateway.http.responses import json_response
from gateway.http.static_files import FOR_ANY_PAGE, StaticFiles
from pipelines.engines.jobs import CallOptions
from rest.accounts.keys import EphemeralKeys, Grant, MintedKey, Scope
from rest.http.errors import Forbidden
from store.tenants.agents import Agent

_INDEX = "index.html"
_OF_CALLS: tuple[Scope, ...] = ("agents:read", "agents:write")


class Demo:
    """The page's handlers. ``static``: the folder of all pages; ``workspace_id`` None: no key
    without sign-in."""

    def __init__(
        self,
        static: Path,
        ephemeral: EphemeralKeys,
        workspace_id: str | None,
        options: Callable[[], CallOptions] = CallOptions,
        agents: Callable[[str], Awaitable[Sequence[Agent]]] | None = None,
    ) -> None:
        self._page = StaticFiles(static / "demo")
        self._calls = StaticFiles(static / "calls")
        self._shared = StaticFiles(static / "shared")
        self._sdk = StaticFiles(static / "sdk", FOR_ANY_PAGE)
        self._ephemeral = ephemeral
        self._workspace_id = workspace_id
        self._options = options
        self._agents = agents

    def routes(self) -> list[web.RouteDef]:
        """What to add to the application's router."""
        return [
            web.get("/", self.index),
            web.get("/demo/{name:.+}", self._page.get),
            web.get("/calls", self.calls),
            web.get("/calls/{call:[0-9A-Za-z_-]+}", self.calls),
            web.get("/calls/{name:.+}", self._calls.get),
            web.get("/shared/{name:.+}", self._shared.get),
            web.get("/sdk/{name:.+}", self._sdk.get),
            web.post("/demo/session", self.session),
            web.post("/calls/session", self.session_of_calls),
        ]

    async def index(self, request: web.Request) -> web.StreamResponse:
        """GET /."""
        return self._page.response(_INDEX, request)

    async def calls(self, request: web.Request) -> web.StreamResponse:
        """GET /calls, /calls/compare and /calls/{id}: the page reads its own address."""
        return self._calls.response(_INDEX, request)

    async def session(self, request: web.Request) -> web.Response:
        """POST /demo/session → ``{value, expires_at, options}``: a key and the choices."""
        key, workspace_id = await self._key(request)
        agents = await self._agents(workspace_id) if self._agents else ()
        options = _shown(self._options(), agents)
        return json_response({"value": key.value, "expires_at": key.expires_at, "options": options})

    async def session_of_calls(self, request: web.Request) -> web.Response:
        """POST /calls/session → ``{value, expires_at}``."""
        key, _ = await self._key(request, _OF_CALLS)
        return json_response({"value": key.value, "expires_at": key.expires_at})

    async def _key(
        self, request: web.Request, scopes: tuple[Scope, ...] = ()
    ) -> tuple[MintedKey, str]:
        """A key for a page of this server on this machine, and its workspace; raises Forbidden for
        all others."""
        if self._workspace_id is None:
            raise Forbidden(
                "This server gives keys to signed-in users only: paste an API key instead.",
                openai_code="sign_in_required",
            )
        if not is_loopback_request(request):
            raise Forbidden(
                "A key without sign-in is given on the server's own machine only: open "
                "http://localhost there, or paste an API key.",
                openai_code="not_local",
            )
        if not is_same_origin(request) or not _is_own_fetch(request):
            raise Forbidden(
                "A key without sign-in is given to Blab's own pages only, not to other sites.",
                openai_code="foreign_origin",
            )
        key = await self._ephemeral.mint(Grant(self._workspace_id, scopes=scopes))
        return key, self._workspace_id


def _shown(options: CallOptions, agents: Sequence[Agent]) -> dict[str, Any]:
    """The choices in the page's form."""
    return {
        "voices": [
            {"id": voice.id, "name": voice.name, "language": voice.language}
            for voice in options.voices
        ],
        "languages": options.languages,
        "chat": {"model": options.chat_model, "note": options.chat_note},
        "agents": [{"id": agent.id, "name": agent.name} for agent in agents],
    }


def _is_own_fetch(request: web.Request) -> bool:
    """Browsers say where a request comes from; programs do not."""
    return request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
