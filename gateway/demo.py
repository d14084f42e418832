"""The demo page, and the key it may have without an account.

``GET /`` and ``/demo/…`` serve static/demo: the files found there at start, nothing else, under a
policy that allows no inline script and no foreign source. ``POST /demo/session`` mints an
ephemeral key for the local workspace: only in embedded mode, only for this machine under a
loopback name, only for the page itself or a program (no foreign Origin).
"""

import asyncio
import mimetypes
from pathlib import Path

from aiohttp import web

from rest.ephemeral import EphemeralKeys, Grant
from rest.errors import Forbidden, NotFound

from .http_errors import json_response
from .origins import is_loopback_request, is_same_origin

_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
_INDEX = "index.html"
_TYPES = {".js": "text/javascript", ".webmanifest": "application/manifest+json"}


class Demo:
    """The page's handlers. ``workspace_id`` None: no key without sign-in."""

    def __init__(self, folder: Path, ephemeral: EphemeralKeys, workspace_id: str | None) -> None:
        self._files = {
            path.relative_to(folder).as_posix(): path
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.is_symlink()
        }
        self._ephemeral = ephemeral
        self._workspace_id = workspace_id

    def routes(self) -> list[web.RouteDef]:
        """What to add to the application's router."""
        return [
            web.get("/", self.index),
            web.get("/demo/{name:.+}", self.file),
            web.post("/demo/session", self.session),
        ]

    async def index(self, _request: web.Request) -> web.StreamResponse:
        """GET /."""
        return await self._serve(_INDEX)

    async def file(self, request: web.Request) -> web.StreamResponse:
        """GET /demo/NAME."""
        return await self._serve(request.match_info["name"])

    async def session(self, request: web.Request) -> web.Response:
        """POST /demo/session → ``{value, expires_at}``."""
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
                "A key without sign-in is given to the demo page only, not to other sites.",
                openai_code="foreign_origin",
            )
        key = await self._ephemeral.mint(Grant(self._workspace_id))
        return json_response({"value": key.value, "expires_at": key.expires_at})

    async def _serve(self, name: str) -> web.Response:
        path = self._files.get(name)
        if path is None:
            raise NotFound("There is no such file.")
        kind = _TYPES.get(path.suffix) or mimetypes.guess_type(name)[0]
        body = await asyncio.get_running_loop().run_in_executor(None, path.read_bytes)
        textual = kind is not None and (kind.startswith("text/") or kind == "image/svg+xml")
        return web.Response(
            body=body,
            headers=_HEADERS,
            content_type=kind or "application/octet-stream",
            charset="utf-8" if textual else None,
        )


def _is_own_fetch(request: web.Request) -> bool:
    """Browsers say where a request comes from; programs say nothing."""
    return request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
