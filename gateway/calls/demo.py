"""The demo page, and the key that it gets without an account.

``GET /`` and ``/demo/…`` serve static/demo: the files as they were at start, compressed once, with
their digest as ETag, and nothing else. The content security policy allows no inline script and no
foreign source. ``POST /demo/session`` mints an ephemeral key for the local workspace: only in
embedded mode, only for this machine under a loopback name, only for the page itself or a program
(no foreign Origin).
"""

import gzip
import hashlib
import mimetypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import hdrs, web

from gateway.http.requests import is_loopback_request, is_same_origin
from gateway.http.responses import json_response
from pipelines.engines.jobs import CallOptions
from rest.accounts.keys import EphemeralKeys, Grant
from rest.http.errors import Forbidden, NotFound

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

    def __init__(
        self,
        folder: Path,
        ephemeral: EphemeralKeys,
        workspace_id: str | None,
        options: Callable[[], CallOptions] = CallOptions,
    ) -> None:
        self._files = {
            path.relative_to(folder).as_posix(): _File.read(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.is_symlink()
        }
        self._ephemeral = ephemeral
        self._workspace_id = workspace_id
        self._options = options

    def routes(self) -> list[web.RouteDef]:
        """What to add to the application's router."""
        return [
            web.get("/", self.index),
            web.get("/demo/{name:.+}", self.file),
            web.post("/demo/session", self.session),
        ]

    async def index(self, request: web.Request) -> web.StreamResponse:
        """GET /."""
        return self._serve(_INDEX, request)

    async def file(self, request: web.Request) -> web.StreamResponse:
        """GET /demo/NAME."""
        return self._serve(request.match_info["name"], request)

    async def session(self, request: web.Request) -> web.Response:
        """POST /demo/session → ``{value, expires_at, options}``: a key and the choices."""
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
        options = _shown(self._options())
        return json_response({"value": key.value, "expires_at": key.expires_at, "options": options})

    def _serve(self, name: str, request: web.Request) -> web.Response:
        file = self._files.get(name)
        if file is None:
            raise NotFound("There is no such file.")
        headers = {**_HEADERS, hdrs.ETAG: file.etag, hdrs.VARY: hdrs.ACCEPT_ENCODING}
        if any(tag.value == file.tag for tag in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        body = file.body
        if file.packed is not None and "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
            body, headers[hdrs.CONTENT_ENCODING] = file.packed, "gzip"
        return web.Response(
            body=body,
            headers=headers,
            content_type=file.content_type,
            charset="utf-8" if file.textual else None,
        )


@dataclass(frozen=True, slots=True)
class _File:
    """A file of the page, as it was at start. ``packed``: with gzip, if that is smaller."""

    body: bytes
    packed: bytes | None
    tag: str
    content_type: str
    textual: bool

    @property
    def etag(self) -> str:
        return f'"{self.tag}"'

    @classmethod
    def read(cls, path: Path) -> "_File":
        kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or ""
        body = path.read_bytes()
        packed = gzip.compress(body, 9, mtime=0)
        return cls(
            body,
            packed if len(packed) < len(body) else None,
            hashlib.sha256(body).hexdigest()[:32],
            kind or "application/octet-stream",
            kind.startswith("text/") or kind == "image/svg+xml",
        )


def _shown(options: CallOptions) -> dict[str, Any]:
    """The choices in the page's form."""
    return {
        "voices": [
            {"id": voice.id, "name": voice.name, "language": voice.language}
            for voice in options.voices
        ],
        "languages": options.languages,
        "chat": {"model": options.chat_model, "note": options.chat_note},
    }


def _is_own_fetch(request: web.Request) -> bool:
    """Browsers say where a request comes from; programs do not."""
    return request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
