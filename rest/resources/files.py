"""FilesResource: downloads at signed addresses. The signature is the credential.

Rules
- What the record says is what the client is told: type, length, name. Only media and plain text
  are shown by browsers; anything else is offered for saving, and no type is guessed from content.
- A store that answers clients itself is where they are sent; else the bytes go through this
  server, a piece at a time. A client that takes nothing for ``WRITE_SECONDS`` is cut, as is one to
  which the promised bytes cannot be delivered.
- A foreign or deleted object is absent, whatever its address says.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from datetime import UTC
from email.utils import format_datetime
from typing import Literal

import msgspec
from aiohttp import hdrs, web

from rest.accounts.signing import FILES, SignedFile, UrlSigner
from rest.http.byte_range import ByteRange, read_range
from rest.http.endpoint import DEADLINE
from rest.http.envelope import REQUEST_ID, error_body
from rest.http.errors import NotFound, RangeNotSatisfiable, Unavailable
from store.database import Database
from store.disposition import disposition
from store.errors import ObjectMissing, StoreError
from store.objects import ObjectStore
from store.tenants.objects import Objects, StoredObject

log = logging.getLogger(__name__)

WRITE_SECONDS = 30.0
LOOK_UP_SECONDS = 30.0
"""For finding the object and opening it."""
_SHOWN = ("audio/", "video/")
_SUBTITLES = ("text/plain", "text/vtt", "application/x-subrip")
_SHOWN_TEXTS = (*_SUBTITLES, "application/json")


class FilesResource:
    """Answers ``GET`` and ``HEAD /api/files/{key}``."""

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        signer: UrlSigner,
        write_seconds: float = WRITE_SECONDS,
    ) -> None:
        self._objects = Objects(database)
        self._store = store
        self._signer = signer
        self._write_seconds = write_seconds

    def routes(self) -> Sequence[web.RouteDef]:
        """The one route; it holds its own deadlines."""

        async def files(http: web.Request) -> web.StreamResponse:
            return await self._answer(http)

        setattr(files, DEADLINE, None)
        return [web.get(FILES + "{key:.+}", files)]

    async def _answer(self, http: web.Request) -> web.StreamResponse:
        """Raises Forbidden, NotFound and Unavailable before the answer has begun."""
        signed = self._signer.check(_target(http))
        async with asyncio.timeout(LOOK_UP_SECONDS):
            found = await self._objects.get(signed.workspace_id, signed.key)
            if found is None:
                raise _absent()
            headers = _headers(found, signed)
            if _unchanged(http, found, headers):
                return web.Response(status=304, headers=headers)
            elsewhere = await self._elsewhere(http, signed)
            if elsewhere is not None:
                kept = f"private, max-age={signed.seconds // 2}"
                told = {hdrs.LOCATION: elsewhere, hdrs.CACHE_CONTROL: kept}
                return web.Response(status=302, headers=told)
            try:
                part = read_range(_range_header(http, headers), found.size_bytes)
            except RangeNotSatisfiable as error:
                return _unsatisfiable(http, error, found)
            if http.method == hdrs.METH_HEAD:
                return _response(found, headers, part)
            pieces = await self._open(found, part)
        async with contextlib.aclosing(pieces):
            return await self._deliver(http, _response(found, headers, part), pieces)

    async def _elsewhere(self, http: web.Request, signed: SignedFile) -> str | None:
        if signed.attachment:
            return None  # the store would show it
        method: Literal["GET", "HEAD"] = "HEAD" if http.method == hdrs.METH_HEAD else "GET"
        return await self._store.presigned(signed.key, signed.seconds, method=method)

    async def _open(
        self, found: StoredObject, part: ByteRange | None
    ) -> AsyncGenerator[bytes, None]:
        try:
            if part is None:
                reading = await self._store.read(found.key)
            else:
                reading = await self._store.read(found.key, part.start, part.end)
        except ObjectMissing as error:
            raise _absent() from error
        if reading.size != found.size_bytes:
            raise Unavailable("The file is just being replaced: try again.", retry_after=1)
        return reading.pieces

    async def _deliver(
        self, http: web.Request, response: web.StreamResponse, pieces: AsyncIterator[bytes]
    ) -> web.StreamResponse:
        try:
            async with asyncio.timeout(self._write_seconds):
                await response.prepare(http)
            async for piece in pieces:
                async with asyncio.timeout(self._write_seconds):
                    await response.write(piece)
            async with asyncio.timeout(self._write_seconds):
                await response.write_eof()
        except (ConnectionError, TimeoutError):
            _cut(http)
        except StoreError as error:
            log.warning("a download was cut: %s", type(error).__name__)
            _cut(http)
        return response


def _target(http: web.Request) -> str:
    """Path and query, byte for byte as they came; whole URLs are a form of them (RFC 9112)."""
    sent = http.raw_path
    return sent if sent.startswith("/") else "/" + sent.partition("://")[2].partition("/")[2]


def _headers(found: StoredObject, signed: SignedFile) -> dict[str, str]:
    kind = found.content_type.partition(";")[0].strip().lower()
    shown = kind.startswith(_SHOWN) or kind in _SHOWN_TEXTS
    attachment = signed.attachment or not shown
    written = int(found.created_at.timestamp() * 1_000_000)
    return {
        hdrs.ACCEPT_RANGES: "bytes",
        hdrs.CACHE_CONTROL: f"private, max-age={signed.seconds}",
        hdrs.CONTENT_DISPOSITION: disposition(found.filename, attachment=attachment),
        hdrs.ETAG: f'"{written:x}-{found.size_bytes:x}"',
        hdrs.LAST_MODIFIED: format_datetime(found.created_at.astimezone(UTC), usegmt=True),
        "X-Content-Type-Options": "nosniff",
    }


def _response(
    found: StoredObject, headers: dict[str, str], part: ByteRange | None
) -> web.StreamResponse:
    response = web.StreamResponse(status=200 if part is None else 206, headers=headers)
    response.headers[hdrs.CONTENT_TYPE] = _with_charset(found.content_type)
    if part is not None:
        response.headers[hdrs.CONTENT_RANGE] = part.content_range
    response.content_length = found.size_bytes if part is None else part.length
    return response


def _with_charset(content_type: str) -> str:
    """What jobs write as text is UTF-8; a browser would guess otherwise."""
    kind = content_type.strip().lower()
    return f"{kind}; charset=utf-8" if kind in _SUBTITLES else content_type


def _unchanged(http: web.Request, found: StoredObject, headers: dict[str, str]) -> bool:
    """Whether the client has these bytes already and asked not to be sent them again."""
    if hdrs.IF_NONE_MATCH in http.headers:
        known = http.if_none_match or ()
        return any(tag.value in ("*", headers[hdrs.ETAG].strip('"')) for tag in known)
    since = http.if_modified_since
    return since is not None and found.created_at.replace(microsecond=0) <= since


def _range_header(http: web.Request, headers: dict[str, str]) -> str | None:
    """The header Range, unless it was meant for an older version of the file (If-Range)."""
    condition = http.headers.get(hdrs.IF_RANGE)
    if condition is not None and condition not in (headers[hdrs.ETAG], headers[hdrs.LAST_MODIFIED]):
        return None
    return http.headers.get(hdrs.RANGE)


def _unsatisfiable(
    http: web.Request, error: RangeNotSatisfiable, found: StoredObject
) -> web.Response:
    body = error_body(error, http.path, http[REQUEST_ID])
    headers = {hdrs.CONTENT_RANGE: f"bytes */{found.size_bytes}", hdrs.CACHE_CONTROL: "no-store"}
    return web.Response(
        body=msgspec.json.encode(body),
        status=error.status,
        headers=headers,
        content_type="application/json",
    )


def _absent() -> NotFound:
    return NotFound("There is no such file (any more).")


def _cut(http: web.Request) -> None:
    """End the connection: what was promised cannot be delivered."""
    if http.transport is not None:
        http.transport.abort()
