"""The pages with what they load, and the keys that they get without an account.

``GET /`` is the call page (static/demo). ``ROOMS`` are the pages to build and operate with. What
all of them share is in ``/shared/…`` and ``/vendor/…``; any page may load the client library,
``/sdk/…``.

``POST /demo/session`` mints an ephemeral key for calls, and ``POST /studio/session`` one that may
also do whatever the REST platform does. Both only for the pages themselves or a program (no foreign
Origin): for whoever is signed in with the browser, in their workspace, until they sign out, or else
in embedded mode for this machine under a loopback name, in the local workspace. They change nothing
and no other page can read what they answer, so they need no CSRF token.
"""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from textwrap import indent
from typing import Any

from aiohttp import web

from pipelines.engines.jobs import CallOptions
from rest.accounts.keys import SCOPES, EphemeralKeys, Grant, MintedKey, Scope
from rest.accounts.origins import is_own_page
from rest.accounts.sign_in import BrowserSignIn
from rest.http.errors import Forbidden

from .requests import is_loopback_request
from .responses import json_response
from .static_files import FOR_ANY_PAGE, StaticFiles

ROOMS: dict[str, str] = {
    "calls": "calls",
    "agents": "agents",
    "simulate": "simulate",
    "workbench": "workbench",
    "usage": "usage",
    "jobs": "jobs",
    "keys": "keys",
    "webhooks": "webhooks",
    "sign-in": "sign-in",
}
"""Path of each room, and the folder of static/ that has its ``room.html`` and what that loads.
Every address below the path (``/calls/ID``) is the same page, which reads its own address. The
navigation is in static/shared/rooms.js."""
SignedIn = Callable[[web.Request], Awaitable[BrowserSignIn | None]]
_INDEX = "index.html"
_HEAD = "<!-- head of the room -->"
_REST = "<!-- rest of the room -->"


class Pages:
    """The handlers of all pages. ``static``: the folder of all pages; ``signed_in``: the user whose
    browser sends a request; ``workspace_id`` None: no key without sign-in; ``agents``: id and name
    of those of a workspace."""

    def __init__(
        self,
        static: Path,
        ephemeral: EphemeralKeys,
        signed_in: SignedIn,
        workspace_id: str | None,
        options: Callable[[], CallOptions] = CallOptions,
        agents: Callable[[str], Awaitable[Sequence[tuple[str, str]]]] | None = None,
    ) -> None:
        self._folders = {
            name: StaticFiles(static / name, made={_INDEX: page_of(static, name)})
            for name in ("demo", *sorted(set(ROOMS.values())))
        }
        self._folders["shared"] = StaticFiles(static / "shared")
        self._folders["vendor"] = StaticFiles(static / "vendor", comments=True)
        self._sdk = StaticFiles(static / "sdk", FOR_ANY_PAGE, comments=True)
        self._ephemeral = ephemeral
        self._signed_in = signed_in
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
        """A key for a page of this server, and its workspace; raises Forbidden where there is
        none to give."""
        if not is_own_page(request):
            raise Forbidden(
                "A key without sign-in is given to Blab's own pages only, not to other sites.",
                openai_code="foreign_origin",
            )
        found = await self._signed_in(request)
        workspace_id = self._free(request) if found is None else found.principal.workspace_id
        sign_in = found.grant if found is not None else None
        grant = Grant(workspace_id, scopes=scopes, sign_in=sign_in)
        return await self._ephemeral.mint(grant), workspace_id

    def _free(self, request: web.Request) -> str:
        """The workspace that nobody need sign in for; raises Forbidden."""
        if self._workspace_id is None:
            raise Forbidden(
                "This server is for those who sign in, or who have an API key.",
                openai_code="sign_in_required",
            )
        if not is_loopback_request(request):
            raise Forbidden(
                "Sign in, or use an API key. Neither is needed on the server's own machine, at "
                "http://localhost.",
                openai_code="not_local",
            )
        return self._workspace_id


def page_of(static: Path, folder: str) -> bytes:
    """The page of a folder: its ``index.html``, or the frame of all rooms (shared/frame.html),
    with the head (up to the first empty line) and the rest of its ``room.html``."""
    if (static / folder / _INDEX).is_file():
        return (static / folder / _INDEX).read_bytes()
    frame = (static / "shared" / "frame.html").read_text()
    head, _, rest = (static / folder / "room.html").read_text().partition("\n\n")
    indented = {_HEAD: indent(head.strip(), "  "), _REST: indent(rest.strip(), "  ")}
    for place, text in indented.items():
        frame = frame.replace(f"  {place}\n", f"{text}\n" if text else "")
    return frame.encode()


def _shown(options: CallOptions, agents: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The choices in the page's form."""
    return {
        "voices": [
            {"id": voice.id, "name": voice.name, "language": voice.language}
            for voice in options.voices
        ],
        "languages": options.languages,
        "chat": {"model": options.chat_model, "note": options.chat_note},
        "agents": [{"id": agent_id, "name": name} for agent_id, name in agents],
    }
