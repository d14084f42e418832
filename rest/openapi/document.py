"""The served OpenAPI document, made from the same declarations as the routes, and its pages.

The document contains the contract: it says what the contract says, and more where more is true
(bounds, further answers, idempotency). ``register`` and ``login`` are public, as they must be.

The pages at ``/docs`` are Swagger UI over that document, offline: every byte comes from this
server, our own page and script, and the library's files from the package ``swagger-ui-bundle``,
which is opened as data and never imported. The policy allows no inline script and no foreign
source.
"""

import hashlib
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import msgspec
from aiohttp import web

from pipelines.jobs.job import ApiWarning
from rest.accounts.auth import WORKSPACE_HEADER
from rest.http.errors import Fault, NotFound
from rest.http.idempotency import HEADER, MAX_KEY
from rest.http.operation import EVENT_STREAM, AnyOperation
from rest.http.uploads import FILE, MAX_TEXT, TEXTS
from rest.jobs.kinds import JOBS, OUTPUTS, JobView

from .schemas import (
    COMPONENT_EXAMPLES,
    ERROR_EXAMPLE,
    REQUEST_EXAMPLES,
    Schema,
    bounded,
    discriminated,
    fields_of,
    schemas_of,
)

PATH = "/openapi.json"
VERSION = "1.0.0"
"""Of the API; the contract's."""

_ABOUT = (
    "AI voice infrastructure — TTS, STT, voice cloning, batch, dubbing, webhooks. All responses "
    "use the `{ ok, data, meta }` envelope; errors use `{ ok:false, error }`. Auth: "
    "`Authorization: Bearer <JWT or blab_sk_… API key>`. Long jobs return `{ jobId }` (poll "
    "`GET /api/jobs/:id` or stream `GET /api/jobs/:id/events`)."
)
_CODES = (
    "VALIDATION_ERROR",
    "UNAUTHENTICATED",
    "FORBIDDEN",
    "NOT_FOUND",
    "RATE_LIMITED",
    "MODEL_UNAVAILABLE",
    "PROVIDER_ERROR",
    "PAYLOAD_TOO_LARGE",
    "CONSENT_REQUIRED",
    "IDEMPOTENCY_CONFLICT",
    "REGISTRATION_CLOSED",
    "NOT_IMPLEMENTED",
    "INTERNAL",
)
_ERRORS = {
    400: "Something sent is missing, malformed or out of range",
    401: "No valid credential",
    403: "The credential may not do this",
    404: "Absent, or another workspace's",
    408: "The body came too slowly",
    409: "Not possible in the state it is in",
    413: "The body is too large",
    415: "The body's form is not read here",
    429: "Too many requests",
    500: "A fault of the server",
    503: "Cannot be served just now",
}
_ALWAYS = (400, 401, 403, 404, 429, 500, 503)
_WHOLE_NUMBERS = frozenset({"index", "number"})
"""Parameters of paths that are numbers; the others are text."""
PRINTABLE = r"^[\x20-\x7e]+$"
"""Of a header's value."""
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_WARNINGS: Schema = {
    "type": "array",
    "description": "What was accepted and did not have its full effect.",
    "items": {"$ref": "#/components/schemas/ApiWarning"},
}
_META: Schema = {
    "type": "object",
    "properties": {
        "requestId": {"type": "string"},
        "nextCursor": {"type": "string", "nullable": True},
        "hasMore": {"type": "boolean"},
        "warnings": _WARNINGS,
    },
}
_ERROR_RESPONSE: Schema = {
    "type": "object",
    "properties": {
        "ok": {"type": "boolean", "example": False},
        "error": {
            "type": "object",
            "properties": {
                "code": {"type": "string", "enum": list(_CODES)},
                "message": {"type": "string"},
                "details": {
                    "type": "object",
                    "nullable": True,
                    "properties": {
                        "path": {"type": "string", "description": "The field at fault."},
                        "reason": {"type": "string", "description": "A constant for programs."},
                        "retryAfter": {"type": "integer", "description": "Seconds."},
                        "visitId": {"type": "string", "description": "Of who waits in a queue."},
                        "place": {"type": "integer", "description": "In the queue; 1 is next."},
                        "errors": {
                            "type": "array",
                            "description": "All that is wrong, where it is more than one thing.",
                            "items": {"$ref": "#/components/schemas/Fault"},
                        },
                    },
                },
            },
            "required": ["code", "message"],
        },
        "meta": {
            "type": "object",
            "properties": {"requestId": {"type": "string"}, "warnings": _WARNINGS},
        },
    },
    "required": ["ok", "error"],
}


def document(operations: Sequence[AnyOperation]) -> Schema:
    """The OpenAPI 3.0.3 document of ``operations``."""
    bodies = [operation.body for operation in operations if operation.body is not None]
    data = [operation.data for operation in operations]
    schemas, components = schemas_of([*data, *bodies, ApiWarning, Fault, JobView, *JOBS.values()])
    for name, example in COMPONENT_EXAMPLES.items():
        if name in components:
            components[name]["example"] = example
    kinds = {str(type): job.__name__ for type, job in JOBS.items()}
    discriminated(components["Job"], kinds, [output.__name__ for output in OUTPUTS.values()])
    of_data, of_bodies = schemas[: len(data)], iter(schemas[len(data) : len(data) + len(bodies)])
    bounded(schemas[len(data) : len(data) + len(bodies)], components)
    paths: dict[str, Schema] = {}
    for operation, answer in zip(operations, of_data, strict=True):
        body = next(of_bodies) if operation.body is not None else None
        described = _operation(operation, answer, body)
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    tags = dict.fromkeys(operation.tag for operation in operations)
    bearer = "A user JWT or a `blab_sk_…` API key."
    return {
        "openapi": "3.0.3",
        "info": {"title": "Blab API", "version": VERSION, "description": _ABOUT},
        "servers": [{"url": "/", "description": "This server"}],
        "security": [{"bearerAuth": []}],
        "tags": [{"name": tag} for tag in tags],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearerAuth": {"type": "http", "scheme": "bearer", "description": bearer}
            },
            "schemas": {"ErrorResponse": _ERROR_RESPONSE, **components},
            "responses": {f"Error{status}": _error(about) for status, about in _ERRORS.items()},
        },
    }


class OpenApi:
    """Serves the document."""

    def __init__(self, operations: Sequence[AnyOperation]) -> None:
        self._content = msgspec.json.encode(document(operations))
        self._tag = f'"{hashlib.sha256(self._content).hexdigest()[:32]}"'

    def routes(self) -> list[web.RouteDef]:
        """The document's route; nobody need be known."""
        return [web.get(PATH, self._serve)]

    async def _serve(self, request: web.Request) -> web.Response:
        headers = {"ETag": self._tag, "Cache-Control": "no-cache"}
        if any(tag.value == self._tag.strip('"') for tag in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=self._content, content_type="application/json", headers=headers)


def _operation(operation: AnyOperation, answer: Schema, body: Schema | None) -> Schema:
    scopes = f"Required API-key scopes: {operation.scope}." if operation.scope else ""
    made: Schema = {
        "operationId": _id(operation),
        "tags": [operation.tag],
        "summary": operation.summary,
        "security": [] if operation.public else [{"bearerAuth": []}],
    }
    if about := " ".join(part for part in (scopes, operation.description) if part):
        made["description"] = about
    if parameters := _parameters(operation):
        made["parameters"] = parameters
    if operation.upload:
        made["requestBody"] = _body("multipart/form-data", _form(operation))
    elif body is not None:
        made["requestBody"] = _body("application/json", body)
        example = REQUEST_EXAMPLES.get(f"{operation.method} {operation.path}")
        if example is not None:
            made["requestBody"]["content"]["application/json"]["example"] = example
    made["responses"] = {str(operation.status): _answer(operation, answer)} | {
        str(status): {"$ref": f"#/components/responses/Error{status}"}
        for status in _refusals(operation)
    }
    return made


def _id(operation: AnyOperation) -> str:
    words = re.findall(r"\w+", operation.path.replace("-", "_").removeprefix("/api"))
    return "_".join([operation.method.lower(), *words])


def _parameters(operation: AnyOperation) -> list[Schema]:
    made: list[Schema] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "integer" if name in _WHOLE_NUMBERS else "string"},
        }
        for name in _PLACEHOLDER.findall(operation.path)
    ]
    if operation.query is not None:
        for name, schema, required in fields_of(operation.query):
            bounded(schema, {})
            made.append({"name": name, "in": "query", "required": required, "schema": schema})
    if operation.idempotent:
        made.append(_header(HEADER, "Do it once, however often it is sent.", MAX_KEY))
    if not operation.public:
        made.append(_header(WORKSPACE_HEADER, "For users of several workspaces.", 100))
    return made


def _header(name: str, about: str, length: int) -> Schema:
    schema = {"type": "string", "minLength": 1, "maxLength": length, "pattern": PRINTABLE}
    return {"name": name, "in": "header", "required": False, "description": about, "schema": schema}


def _form(operation: AnyOperation) -> Schema:
    names = (*TEXTS, *operation.form)
    texts: Schema = {name: {"type": "string", "maxLength": MAX_TEXT} for name in names}
    bounded(list(texts.values()), {})
    file = {"type": "string", "format": "binary"}
    return {"type": "object", "properties": {FILE: file, **texts}, "required": [FILE]}


def _body(media: str, schema: Schema) -> Schema:
    return {"required": True, "content": {media: {"schema": schema}}}


def _answer(operation: AnyOperation, data: Schema) -> Schema:
    content: Schema = {"schema": {"type": "string"}}
    if operation.media == "application/json":
        envelope = {"ok": {"type": "boolean", "example": True}, "data": data, "meta": _META}
        schema = {"type": "object", "properties": envelope, "required": ["ok", "data"]}
        content = {"schema": schema}
    elif operation.media == EVENT_STREAM:
        content = {}  # OpenAPI has no words for what a stream holds
    return {"description": operation.outcome, "content": {operation.media: content}}


def _refusals(operation: AnyOperation) -> list[int]:
    sends = operation.body is not None or operation.upload
    clashes = operation.conflicts or operation.idempotent
    more = {408: sends, 409: clashes, 413: sends, 415: sends}
    return sorted([*_ALWAYS, *[status for status, happens in more.items() if happens]])


def _error(about: str) -> Schema:
    schema = {"$ref": "#/components/schemas/ErrorResponse"}
    content = {"schema": schema, "example": ERROR_EXAMPLE}
    return {"description": about, "content": {"application/json": content}}


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
