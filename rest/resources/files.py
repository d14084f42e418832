"""FilesResource: downloads at signed URLs. The signature is the credential.

Rules
- The client gets type, length and name from the record. Browsers display only media and plain text;
  anything else is offered for saving, and no type is guessed from content.
- A store that answers clients itself gets them by redirect, but for our own pages, whose policy
  lets them load nothing from elsewhere; otherwise the bytes pass through this server, a chunk at a
  time. A client that reads nothing for ``WRITE_SECONDS`` is cut off, and so is
  one to which the promised bytes cannot be delivered.
- One range is answered as RFC 9110, section 14 has it; several, and what is not a range of bytes,
  get the whole file, as the RFC allows.
- A foreign or deleted object is absent, whatever its URL says.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import format_datetime
from typing import Literal

import msgspec
from aiohttp import hdrs, web

from rest.accounts.signing import FILES, SignedFile, UrlSigner
from rest.http.endpoint import DEADLINE, REQUEST_ID
from rest.http.errors import NotFound, RangeNotSatisfiable, Unavailable, error_body
from store.database import Database
from store.disposition import disposition
from store.errors import ObjectMissing, StoreError
from store.objects import ObjectStore
from store.tenants.objects import Objects, StoredObject

log = logging.getLogger(__name__)

WRITE_SECONDS = 30.0
LOOK_UP_SECONDS = 30.0
"""Deadline for finding and opening the object."""
_SITE = "Sec-Fetch-Site"
"""Browsers say by it whether a page of this server asks (https://w3c.github.io/webappsec-fetch-metadata/)."""
_SHOWN = ("audio/", "video/")
_SUBTITLES = ("text/plain", "text/vtt", "application/x-subrip")
_SHOWN_TEXTS = (*_SUBTITLES, "application/json")


_ONE = re.compile(r"\s*bytes\s*=\s*(\d{0,19})\s*-\s*(\d{0,19})\s*", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes ``start`` up to, not including, ``end`` of ``size``; never empty."""

    start: int
    end: int
    size: int

    @property
    def length(self) -> int:
        """How many bytes these are."""
        return self.end - self.start

    @property
    def content_range(self) -> str:
        """The value of the header Content-Range."""
        return f"bytes {self.start}-{self.end - 1}/{self.size}"


def read_range(header: str | None, size: int) -> ByteRange | None:
    """The part of a file of ``size`` bytes that the header Range asks for; None: the whole file.

    Raises RangeNotSatisfiable where the file has none of those bytes."""
    found = _ONE.fullmatch(header or "")
    if found is None:
        return None
    first, last = found.groups()
    if not first and not last:
        return None
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < int(first):
            return None
    if start >= size or start >= end:
        raise RangeNotSatisfiable(f"The file has {size} bytes.", param="Range")
    return ByteRange(start, end, size)


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
        """The route; it has its own deadlines."""

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
                moved = {hdrs.LOCATION: elsewhere, hdrs.CACHE_CONTROL: kept, hdrs.VARY: _SITE}
                return web.Response(status=302, headers=moved)
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
            return None  # the store would display it
        if http.headers.get(_SITE) == "same-origin":
            return None
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
    """Path and query, byte for byte as they were sent; a request target may be a whole URL (RFC
    9112)."""
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
    """The text that jobs write is UTF-8; a browser would guess something else."""
    kind = content_type.strip().lower()
    return f"{kind}; charset=utf-8" if kind in _SUBTITLES else content_type


def _unchanged(http: web.Request, found: StoredObject, headers: dict[str, str]) -> bool:
    """Whether the client already has these bytes and asked not to get them again."""
    if hdrs.IF_NONE_MATCH in http.headers:
        known = http.if_none_match or ()
        return any(tag.value in ("*", headers[hdrs.ETAG].strip('"')) for tag in known)
    since = http.if_modified_since
    return since is not None and found.created_at.replace(microsecond=0) <= since


def _range_header(http: web.Request, headers: dict[str, str]) -> str | None:
    """The header Range, unless it is meant for an older version of the file (If-Range)."""
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
    return NotFound("There is no such file, or it was deleted.")


def _cut(http: web.Request) -> None:
    """Abort the connection: the promised bytes cannot be delivered."""
    if http.transport is not None:
        http.transport.abort()
