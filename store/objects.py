"""ObjectStore: bytes under keys, in a directory or in an S3 bucket.

Rules
- A key is made of segments of letters, digits and ``. _ -`` that begin with none of ``.`` and
  ``-``, joined by ``/``: it can neither leave a directory nor need quoting in a URL. Any other is
  a ValueError, wherever it comes from.
- An object is complete or absent; writing again replaces it in one step. A reader meanwhile reads
  the old bytes to their end (a directory) or fails (a bucket).
- Nothing is held in memory as a whole except what was given as bytes.
- Failures are ObjectMissing and ObjectsUnavailable (store.errors), nothing of the libraries'.

``file:///directory``: from its first byte on only its owner can read a file, and it appears under
its key once it is complete and on disk: it is written in ``staging`` and renamed. What a crash
leaves there is an object without a record, which the cleanup deletes like any other. (obstore's own
LocalStore leaves the mode to the process's umask; it only reads here.)

``s3://bucket/prefix?option=value``: what the URL does not say is looked up where AWS's own clients
look: ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_REGION``, ``AWS_ENDPOINT_URL`` and so
on, a web identity, the machine's role. Options: ``endpoint`` (the URL of a server that speaks S3;
``http://``: without TLS), ``region``, ``access_key_id``, ``secret_access_key``,
``virtual_hosted_style_request`` (true/false), and ``redirects`` (true by default; false where
clients cannot reach the endpoint: then downloads go through this server).
"""

import asyncio
import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, S3Store

from .errors import ObjectMissing, ObjectsUnavailable

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config

_STAGING_FOLDER = "staging"
_TRIES = 5
"""Attempts to write: a folder that became empty may be removed just before a file is put into
it."""


class LocalFiles:
    """A directory of objects; keys are trusted to stay inside it."""

    def __init__(self, root: Path) -> None:
        """``root`` is created, for the owner only, if it is missing; raises OSError."""
        if not root.is_absolute() or root == Path(root.anchor):
            raise ValueError(f"objects need a directory of their own, not {str(root)!r}")
        self.root = root
        _make_folders(root / _STAGING_FOLDER)

    async def put(self, key: str, content: Path | bytes) -> None:
        """Write an object, replacing the one that is there; raises OSError."""
        await asyncio.to_thread(self._put, key, content)

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete those that exist; raises OSError."""
        await asyncio.to_thread(self._delete, keys)

    def _put(self, key: str, content: Path | bytes) -> None:
        target = self.root / key
        with self._staged() as (number, staged):
            with os.fdopen(number, "wb") as file:
                if isinstance(content, Path):
                    with content.open("rb") as source:
                        shutil.copyfileobj(source, file, 1 << 20)
                else:
                    file.write(content)
                file.flush()
                os.fsync(file.fileno())
            for tries_left in reversed(range(_TRIES)):
                _make_folders(target.parent)
                try:
                    staged.replace(target)
                    break
                except FileNotFoundError:
                    if not tries_left:
                        raise
        _sync_folder(target.parent)

    @contextlib.contextmanager
    def _staged(self) -> Iterator[tuple[int, Path]]:
        folder = self.root / _STAGING_FOLDER
        _make_folders(folder)
        number, name = tempfile.mkstemp(prefix="put_", dir=folder)
        try:
            yield number, Path(name)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            path = self.root / key
            try:
                path.unlink()
            except (FileNotFoundError, NotADirectoryError):
                continue
            for folder in path.relative_to(self.root).parents[:-1]:
                try:
                    (self.root / folder).rmdir()
                except OSError:  # not empty, or another was faster
                    break


def _make_folders(folder: Path) -> None:
    """Path.mkdir(parents=True) gives its mode to the last folder only."""
    if folder.is_dir():
        return
    _make_folders(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the name durable, too."""
    with contextlib.suppress(FileNotFoundError):  # deleted already
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


_OPTIONS = ("endpoint", "region", "access_key_id", "secret_access_key")
_VIRTUAL_HOST = "virtual_hosted_style_request"
_REDIRECTS = "redirects"
_TRUTH = {"true": True, "false": False}
_CONNECT_SECONDS = 5
_READ_SECONDS = 60
"""A server that sends nothing for so long counts as unreachable."""
_RETRY: "RetryConfig" = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket. ``redirects``: whether clients may be sent to it."""

    store: S3Store
    redirects: bool

    @classmethod
    def open(cls, url: str) -> "Bucket":
        """The bucket at ``url``; raises ValueError. Does not connect."""
        parts = urlsplit(url)
        if not parts.hostname:
            raise ValueError("the address of a bucket is s3://bucket/prefix")
        given = dict(parse_qsl(parts.query, keep_blank_values=True))
        accepted = (*_OPTIONS, _VIRTUAL_HOST, _REDIRECTS)
        unknown = sorted(given.keys() - set(accepted))
        if unknown:
            raise ValueError(
                f"{unknown[0]!r} is not an option of a bucket; use {', '.join(accepted)}"
            )
        options: dict[str, str | bool] = {name: given[name] for name in _OPTIONS if name in given}
        if _VIRTUAL_HOST in given:
            options[_VIRTUAL_HOST] = _switch(given, _VIRTUAL_HOST)
        client: ClientConfig = {
            "allow_http": True,  # where the endpoint says http://
            "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
            "read_timeout": timedelta(seconds=_READ_SECONDS),
            # of a whole download, which a slow client may prolong
            "timeout": timedelta(days=1),
        }
        address = parts._replace(query="").geturl()
        try:
            store = S3Store.from_url(
                address,
                config=cast("S3Config", options),
                client_options=client,
                retry_config=_RETRY,
            )
        except BaseError as error:
            raise ValueError(f"not the address of a bucket: {type(error).__name__}") from error
        redirects = _switch(given, _REDIRECTS) if _REDIRECTS in given else True
        return cls(store, redirects)


def _switch(given: dict[str, str], name: str) -> bool:
    try:
        return _TRUTH[given[name]]
    except KeyError:
        raise ValueError(f"{name} is true or false") from None


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

        The options are listed above. Raises ValueError for a malformed URL, OSError
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
            raise ValueError(f"not a range of bytes: {start} to {end}")
        options: obstore.GetOptions = {}
        if end is not None:
            options = {"range": (start, end)}
        elif start:
            options = {"range": {"offset": start}}
        with _translated(key, reading=True):
            found = await obstore.get_async(self._store, key, options=options)
            return ObjectBytes(found.meta["size"], _pieces(key, found))

    async def head(self, key: str) -> ObjectHead:
        """Size and age; raises ObjectMissing and ObjectsUnavailable."""
        _check(key)
        with _translated(key, reading=True):
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
    with _translated(key, reading=True):
        async for piece in found.stream(min_chunk_size=PIECE_BYTES):
            yield piece


def _head(meta: "obstore.ObjectMeta") -> ObjectHead:
    return ObjectHead(meta["path"], meta["size"], meta["last_modified"])


def _check(key: str) -> None:
    if not is_key(key):
        raise ValueError(f"not a key of an object: {key[:80]!r}")


_REFUSED = (PermissionDeniedError, UnauthenticatedError)


@contextlib.contextmanager
def _translated(what: str, *, reading: bool = False) -> Iterator[None]:
    """``reading``: what cannot be found is the object, not the bucket."""
    try:
        yield
    except FileNotFoundError as error:
        if reading:
            raise ObjectMissing(f"there is no object {what}") from error
        reason = "its bucket or directory does not exist"
        raise ObjectsUnavailable(f"the object store failed at {what}: {reason}") from error
    except _REFUSED as error:
        reason = "it refused the credentials"
        raise ObjectsUnavailable(f"the object store failed at {what}: {reason}") from error
    except (BaseError, OSError) as error:
        message = f"the object store failed at {what}: {type(error).__name__}"
        raise ObjectsUnavailable(message) from error
