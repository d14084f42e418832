"""Files of ``static/``, as they were at start: compressed once, with their digest as ETag.

Our own scripts and styles are served without the comments that have lines of their own, which are a
tenth of their weight. The lines stay where they are, so that a browser's line numbers are the
file's. The client library and what is vendored are served as they are.

Pages and what they load carry a content security policy that allows no inline script and no
foreign source. The client library may be loaded by pages of any origin, as their own scripts: it
holds no secret, and a call needs a key.
"""

import gzip
import hashlib
import mimetypes
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import hdrs, web

from rest.http.errors import NotFound

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
FOR_OUR_PAGES = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
FOR_ANY_PAGE = {
    "Access-Control-Allow-Origin": "*",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Cache-Control": "no-cache",
}
_TYPES = {
    ".js": "text/javascript",
    ".ts": "text/plain",
    ".webmanifest": "application/manifest+json",
}
_BLOCKS = re.compile(rb"^[ \t]*/\*.*?\*/[ \t]*$", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(rb"^[ \t]+", re.MULTILINE)
_LINES = re.compile(rb"^[ \t]*//.*$", re.MULTILINE)


def without_comments(name: str, body: bytes) -> bytes:
    """A script or style of ours without the comments that begin a line, a page or style without
    indentation. A template literal has no line that begins like a comment: a test compares what
    esbuild makes of a script before and after."""
    if name.endswith((".js", ".css")):
        body = _BLOCKS.sub(lambda found: b"\n" * found[0].count(b"\n"), body)
    if name.endswith(".js"):
        return _LINES.sub(b"", body)
    return _INDENTED.sub(b"", body) if name.endswith((".css", ".html")) else body


class StaticFiles:
    """The files of one folder of ``static/``, by their path below it. ``comments``: whether
    they are served too; ``made``: files that are not in the folder, by their names."""

    def __init__(
        self,
        folder: Path,
        headers: Mapping[str, str] = FOR_OUR_PAGES,
        *,
        comments: bool = False,
        made: Mapping[str, bytes] | None = None,
    ) -> None:
        self._headers = headers
        bodies = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.is_symlink()
        } | dict(made or {})
        self._files = {
            name: _File.of(name, body if comments else without_comments(name, body))
            for name, body in bodies.items()
        }

    async def get(self, request: web.Request) -> web.Response:
        """The handler of a route with a ``name``."""
        return self.response(request.match_info["name"], request)

    def response(self, name: str, request: web.Request) -> web.Response:
        """A file, or 304; raises NotFound."""
        file = self._files.get(name)
        if file is None:
            raise NotFound("There is no such file.")
        headers = {**self._headers, hdrs.ETAG: file.etag, hdrs.VARY: hdrs.ACCEPT_ENCODING}
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
    """A file as it was at start. ``packed``: with gzip, if that is smaller."""

    body: bytes
    packed: bytes | None
    tag: str
    content_type: str
    textual: bool

    @property
    def etag(self) -> str:
        return f'"{self.tag}"'

    @classmethod
    def of(cls, name: str, body: bytes) -> "_File":
        kind = _TYPES.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or ""
        packed = gzip.compress(body, 9, mtime=0)
        return cls(
            body,
            packed if len(packed) < len(body) else None,
            hashlib.sha256(body).hexdigest()[:32],
            kind or "application/octet-stream",
            kind.startswith("text/") or kind == "image/svg+xml",
        )
