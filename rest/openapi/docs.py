"""The interactive documentation at ``/docs``: Swagger UI over the served document, offline.

Every byte comes from this server: our own page and script, and the library's files out of the
package ``swagger-ui-bundle``, which is opened as data and not imported. The policy allows no
inline script and no foreign source.
"""

from importlib.util import find_spec
from pathlib import Path

from aiohttp import web

from rest.http.errors import NotFound

PACKAGE = "swagger_ui_bundle"
PAGE = "index.html"
_OURS = {
    PAGE: "text/html",
    "docs.css": "text/css",
    "docs.js": "text/javascript",
}
_THEIRS = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


class Docs:
    """Serves the pages. ``folder``: that of our own files (static/docs)."""

    def __init__(self, folder: Path) -> None:
        """Raises FileNotFoundError where a file or the package is missing."""
        library = _library()
        self._files = {name: (folder / name, kind) for name, kind in _OURS.items()}
        self._files |= {name: (library / name, kind) for name, kind in _THEIRS.items()}
        for path, _ in self._files.values():
            path.stat()

    def routes(self) -> list[web.RouteDef]:
        """What to add to the application's router; nobody need be known."""
        return [web.get("/docs", self._page), web.get("/docs/{name}", self._file)]

    async def _page(self, _request: web.Request) -> web.StreamResponse:
        return self._serve(PAGE)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in self._files:
            raise NotFound(f"There is nothing at {request.method} {request.path[:200]}.")
        return self._serve(name)

    def _serve(self, name: str) -> web.StreamResponse:
        path, kind = self._files[name]
        charset = "; charset=utf-8" if kind.startswith("text/") else ""
        return web.FileResponse(path, headers={**_HEADERS, "Content-Type": kind + charset})


def _library() -> Path:
    """The folder of Swagger UI's files in the installed package."""
    package = find_spec(PACKAGE)
    for place in (package.submodule_search_locations or ()) if package else ():
        for folder in sorted(Path(place).glob("vendor/swagger-ui-*")):
            return folder
    raise FileNotFoundError(f"the package {PACKAGE} is not installed")
