"""ObjectStore: bytes under keys, in a directory or in an S3 bucket.

Rules
- A key is made of segments of letters, digits and ``. _ -`` that begin with none of ``.`` and
  ``-``, joined by ``/``: it can neither leave a directory nor need quoting in a URL. Any other is
  a ValueError, wherever it comes from.
- An object is complete or absent; writing again replaces it in one step. A reader meanwhile reads
  the old bytes to their end (a directory) or fails (a bucket).
- Nothing is held in memory as a whole except what was given as bytes.
- Failures are ObjectMissing and ObjectsUnavailable (store.errors), nothing of the libraries'.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore

from .bucket import Bucket
from .errors import ObjectMissing, ObjectsUnavailable
from .local_files import STAGING as _STAGING_FOLDER
from .local_files import LocalFiles

BINARY = "application/octet-stream"
PIECE_BYTES = 256 * 1024
"""Bytes of an object in memory for each reader, roughly."""
PART_BYTES = 8 * 1024 * 1024
"""A larger object goes into a bucket in parts of this size (10,000 at most: 80 GB)."""
PARTS_AT_ONCE = 4
STAGING = f"{_STAGING_FOLDER}/"
"""The prefix of objects that are being written, and of no others."""
MAX_KEY = 500
_LIST_PAGE = 1000
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*")


@dataclass(frozen=True, slots=True)
class ObjectHead:
    """An object without its bytes; ``modified`` in UTC."""

    key: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class ObjectBytes:
    """An object that is being read: its full ``size``, and the requested chunks (close
    them unless you read them to their end)."""

    size: int
    pieces: AsyncGenerator[bytes, None]


def is_key(text: str) -> bool:
    """Whether ``text`` has the form of a key."""
    return len(text) <= MAX_KEY and _KEY.fullmatch(text) is not None


class ObjectStore:
    """A store of objects. Safe for many tasks; needs no closing."""

    def __init__(self, place: LocalFiles | Bucket) -> None:
        """See ``open``."""
        self._files = place if isinstance(place, LocalFiles) else None
        self._bucket = place if isinstance(place, Bucket) else None
        self._store = LocalStore(place.root) if isinstance(place, LocalFiles) else place.store

    @classmethod
    def open(cls, url: str) -> "ObjectStore":
        """The store at ``file:///directory`` (made if need be) or ``s3://bucket/prefix?options``.

        The options are those of ``store.bucket``. Raises ValueError for a malformed URL, OSError
        where the directory cannot be created. Does not connect."""
        parts = urlsplit(url)
        if parts.scheme == "file" and parts.netloc in ("", "localhost"):
            return cls(LocalFiles(Path(unquote(parts.path))))
        if parts.scheme == "s3":
            return cls(Bucket.open(url))
        raise ValueError("objects are kept at file:///directory or s3://bucket/prefix")

    async def put_file(
        self, key: str, path: Path, *, content_type: str = BINARY, disposition: str = "inline"
    ) -> None:
        """Write the file's bytes; raises ObjectsUnavailable, and OSError for the file itself.

        ``content_type`` and ``disposition``: the headers of a store that answers clients itself."""
        await asyncio.to_thread(path.stat)
        await self._put(key, path, content_type, disposition)

    async def put(
        self, key: str, data: bytes, *, content_type: str = BINARY, disposition: str = "inline"
    ) -> None:
        """As ``put_file``, of bytes; raises ObjectsUnavailable."""
        await self._put(key, data, content_type, disposition)

    async def _put(
        self, key: str, content: Path | bytes, content_type: str, disposition: str
    ) -> None:
        _check(key)
        with _translated(key):
            if self._files is not None:
                await self._files.put(key, content)
                return
            await obstore.put_async(
                self._store,
                key,
                content,
                attributes={"Content-Type": content_type, "Content-Disposition": disposition},
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )

    async def read(self, key: str, start: int = 0, end: int | None = None) -> ObjectBytes:
        """The bytes from ``start`` up to, not including, ``end`` (None: the object's), in pieces.

        ``start`` must lie within the object. Raises ObjectMissing and ObjectsUnavailable, the
        pieces too."""
        _check(key)
        if start < 0 or (end is not None and end <= start):
            raise ValueError(f"no bytes lie between {start} and {end}")
        options: obstore.GetOptions = {}
        if end is not None:
            options = {"range": (start, end)}
        elif start:
            options = {"range": {"offset": start}}
        with _translated(key):
            found = await obstore.get_async(self._store, key, options=options)
            return ObjectBytes(found.meta["size"], _pieces(key, found))

    async def head(self, key: str) -> ObjectHead:
        """Size and age; raises ObjectMissing and ObjectsUnavailable."""
        _check(key)
        with _translated(key):
            return _head(await obstore.head_async(self._store, key))

    async def delete(self, keys: Sequence[str], /) -> None:
        """Delete objects; missing ones are not an error. Raises ObjectsUnavailable; some may be
        left then."""
        for key in keys:
            _check(key)
        if not keys:
            return
        with _translated(f"{len(keys)} objects"):
            if self._files is not None:
                await self._files.delete(keys)
            else:
                await obstore.delete_async(self._store, keys)

    async def list(self) -> AsyncIterator[list[ObjectHead]]:
        """Every object in no order, in pages. Raises ObjectsUnavailable."""
        with _translated("the list"):
            async for page in obstore.list(self._store, chunk_size=_LIST_PAGE):
                yield [_head(meta) for meta in page]

    async def presigned(
        self, key: str, seconds: int, *, method: Literal["GET", "HEAD"] = "GET"
    ) -> str | None:
        """A URL at which the store itself answers ``method`` for so long; None where clients cannot
        reach the store."""
        _check(key)
        if self._bucket is None or not self._bucket.redirects:
            return None
        with _translated(key):
            return await obstore.sign_async(
                self._bucket.store, method, key, timedelta(seconds=seconds)
            )


async def _pieces(key: str, found: "obstore.GetResult") -> AsyncGenerator[bytes, None]:
    with _translated(key):
        async for piece in found.stream(min_chunk_size=PIECE_BYTES):
            yield piece


def _head(meta: "obstore.ObjectMeta") -> ObjectHead:
    return ObjectHead(meta["path"], meta["size"], meta["last_modified"])


def _check(key: str) -> None:
    if not is_key(key):
        raise ValueError(f"not a key of an object: {key[:80]!r}")


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ObjectMissing(f"there is no object {what}") from error
    except (BaseError, OSError) as error:
        message = f"the object store failed at {what}: {type(error).__name__}"
        raise ObjectsUnavailable(message) from error
