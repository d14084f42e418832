"""The pages with what they load, and the keys that they get without an account.

``GET /`` is the call page (static/demo). ``ROOMS`` are the pages to build and operate with. What
all of them share is in ``/shared/…`` and ``/vendor/…``; any page may load the client library,
``/sdk/…``.

``POST /demo/session`` mints an ephemeral key for calls in the local workspace, and
``POST /studio/session`` one that may also do whatever the REST platform does there. Both only in
embedded mode, for this machine under a loopback name, for the pages themselves or a program (no
foreign Origin).
"""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from pipelines.engines.jobs import CallOptions
from rest.accounts.keys import SCOPES, EphemeralKeys, Grant, MintedKey, Scope
from rest.http.errors import Forbidden
from store.tenants.agents import Agent

from .requests import is_loopback_request, is_same_origin
from .responses import json_response
from .static_files import FOR_ANY_PAGE, StaticFiles

ROOMS: dict[str, str] = {
    "calls": "calls",
    "agents": "agents",
    "workbench": "workbench",
    "usage": "usage",
    "jobs": "jobs",
    "keys": "keys",
    "webhooks": "webhooks",
}
"""Path of each room, and the folder of static/ that has its ``index.html`` and what that loads.
Every address below the path (``/calls/ID``) is the same page, which reads its own address. The
navigation is in static/shared/rooms.js."""
_ASSETS = ("demo", "shared", "vendor")
_INDEX = "index.html"


class Pages:
    """The handlers of all pages. ``static``: the folder of all pages; ``workspace_id`` None: no
    key without sign-in."""

    def __init__(
        self,
        static: Path,
        ephemeral: EphemeralKeys,
        workspace_id: str | None,
        options: Callable[[], CallOptions] = CallOptions,
        agents: Callable[[str], Awaitable[Sequence[Agent]]] | None = None,
    ) -> None:
        folders = sorted({*_ASSETS, *ROOMS.values()})
        self._folders = {name: StaticFiles(static / name) for name in folders}
        self._sdk = StaticFiles(static / "sdk", FOR_ANY_PAGE)
        self._ephemeral = ephemeral
        self._workspace_id = workspace_id
        self._options = options
        self._agents = agents

    def routes(self) -> list[web.RouteDef]:
        """What to add to the application's router."""
        return [
            web.get("/", self._index("demo")),
            *(web.get(f"/{path}", self._index(folder)) for path, folder in ROOMS.items()),
            *(
                web.get(f"/{path}/{{address:[0-9A-Za-z_/-]+}}", self._index(folder))
                for path, folder in ROOMS.items()
            ),
            *(web.get(f"/{name}/{{name:.+}}", one.get) for name, one in self._folders.items()),
            web.get("/sdk/{name:.+}", self._sdk.get),
            web.post("/demo/session", self.session),
            web.post("/studio/session", self.session_of_rooms),
        ]

    def _index(self, folder: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def index(request: web.Request) -> web.StreamResponse:
            return self._folders[folder].response(_INDEX, request)

        return index

    async def session(self, request: web.Request) -> web.Response:
        """POST /demo/session → ``{value, expires_at, options}``: a key and the choices."""
        key, workspace_id = await self._key(request)
        agents = await self._agents(workspace_id) if self._agents else ()
        options = _shown(self._options(), agents)
        return json_response({"value": key.value, "expires_at": key.expires_at, "options": options})

    async def session_of_rooms(self, request: web.Request) -> web.Response:
        """POST /studio/session → ``{value, expires_at}``."""
        key, _ = await self._key(request, SCOPES)
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
