"""Uploads: multipart forms with a file, streamed to disk.

Rules
- The file is never held in memory: at most about ``BLOCK_BYTES`` of it are, and nothing is read
  from the network while a block is being written.
- A form is refused as soon as it is known to be wrong: by its declared length, by the first byte
  beyond the limit, by the first bad part. What was written is deleted then, as it is when the
  client leaves, and in any case at the end of the request.
- A client that sends nothing for ``stall_seconds``, or less than ``min_rate``, or takes longer
  than ``whole_seconds``, is refused.
- The parts ``file``, ``model``, ``language``, ``label`` and ``conversationId`` are used, each at
  most once; so are those that the receiver names besides, as often as they come. Other parts are
  read and dropped, count towards the limit, and are named in ``ignored``.
"""

import asyncio
import contextlib
import hashlib
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import BodyPartReader, MultipartReader, hdrs, web
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.multipart import BadContentDispositionHeader, BadContentDispositionParam

from store.disposition import plain_filename

from .decoding import BodyPace
from .errors import (
    PayloadTooLarge,
    RequestTimeout,
    Unavailable,
    UnsupportedMediaType,
    ValidationFailed,
)


class UploadFile:
    """A file that grows and is deleted. All methods block and raise OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self.digest = hashlib.sha256()

    def create(self) -> None:
        """Create it, empty, and its folder if that is missing."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))

    def append(self, block: bytearray) -> None:
        """Append ``block``. Never creates the file: it may have been deleted while this waited for
        a thread, and then nobody needs it."""
        number = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        with os.fdopen(number, "ab") as file:
            file.write(block)
        self.digest.update(block)
        self.size += len(block)

    def delete(self) -> None:
        """Delete it, if it is there."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self.path.unlink()


log = logging.getLogger(__name__)

FILE = "file"
TEXTS = ("model", "language", "label")
CONVERSATION = "conversationId"
"""A text field of turns with an agent; beyond the contract."""
_FIELDS = {**dict(zip(TEXTS, TEXTS, strict=True)), CONVERSATION: "conversation_id"}
MAX_TEXT = 200
"""Characters of a text field."""
MAX_PARTS = 100
FORM_BYTES = 64 * 1024
"""How much longer than its file a form may be."""
PIECE_BYTES = 128 * 1024
BLOCK_BYTES = 1024 * 1024
LEFT_OVER_SECONDS = 24 * 3600.0
_PREFIX = "upload-"
_PLAIN = {
    hdrs.CONTENT_ENCODING: ("identity",),
    hdrs.CONTENT_TRANSFER_ENCODING: ("binary", "8bit", "7bit"),
}
_MALFORMED = (
    ValueError,
    RuntimeError,
    BadHttpMessage,
    web.RequestPayloadError,
    BadContentDispositionHeader,
    BadContentDispositionParam,
)
"""What aiohttp's reader raises for malformed forms."""


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Limits of uploads. ``min_rate``: bytes per second, over ``stall_seconds`` of waiting."""

    max_bytes: int = 2 * 1024**3
    stall_seconds: float = 30.0
    min_rate: float = 1024.0
    whole_seconds: float = 6 * 3600.0
    at_once: int = 64
    """Uploads of one process; further ones are refused for a while."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A received form. ``path``: the file's bytes on disk, deleted at the end of the request;
    ``filename``: its name without folders and control characters; ``size`` in bytes, not 0;
    ``digest``: SHA-256 of everything that was sent and is used, names included; ``more``: the
    fields that the receiver names, each with its texts in order; ``ignored``: names of the parts
    that were not used."""

    path: Path
    filename: str
    size: int
    digest: bytes
    model: str | None = None
    language: str | None = None
    label: str | None = None
    conversation_id: str | None = None
    more: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


class Uploads:
    """Receives uploads into a folder. ``context`` must be among the application's contexts."""

    def __init__(
        self, folder: Path, limits: UploadLimits = UploadLimits(), more: tuple[str, ...] = ()
    ) -> None:
        """``more``: names of text fields that are used besides those that all forms have."""
        self._folder = folder
        self._limits = limits
        self._more = more
        self._running = 0

    async def context(self, _app: web.Application) -> AsyncIterator[None]:
        """Delete what a crash left in the folder a day or more ago."""
        await asyncio.to_thread(_sweep, self._folder)
        yield

    def receive(self, http: web.Request) -> AbstractAsyncContextManager[Upload]:
        """The request's form, its file on disk inside the block.

        Raises UnsupportedMediaType, ValidationFailed, PayloadTooLarge, RequestTimeout and
        Unavailable."""
        return self._receive(http)

    @contextlib.asynccontextmanager
    async def _receive(self, http: web.Request) -> AsyncIterator[Upload]:
        self._refuse_early(http)
        file = UploadFile(self._folder / f"{_PREFIX}{secrets.token_hex(16)}")
        self._running += 1
        try:
            await _on_disk(file.create)
            yield await _Form(http, file, self._limits, self._more).read()
        finally:
            self._running -= 1
            await asyncio.shield(asyncio.to_thread(file.delete))

    def _refuse_early(self, http: web.Request) -> None:
        if http.content_type != "multipart/form-data":
            message = "Send the file as multipart/form-data, in the part 'file'."
            if hdrs.CONTENT_TYPE in http.headers:
                raise UnsupportedMediaType(message, param="body")
            raise ValidationFailed(message, param=FILE)
        if (http.content_length or 0) > self._limits.max_bytes + FORM_BYTES:
            raise _too_large(self._limits)
        if self._running >= self._limits.at_once:
            raise Unavailable("Too many uploads are running: try again.", retry_after=10)


class _Form:
    """One form while it is read."""

    def __init__(
        self, http: web.Request, file: UploadFile, limits: UploadLimits, more: tuple[str, ...]
    ) -> None:
        self._http = http
        self._file = file
        self._limits = limits
        self._pace = BodyPace(
            limits.stall_seconds, limits.min_rate, lambda: http.content.total_bytes
        )
        self._texts: dict[str, str] = {}
        self._more: dict[str, list[str]] = {name: [] for name in more}
        self._ignored: dict[str, None] = {}
        self._filename: str | None = None
        self._received = 0

    async def read(self) -> Upload:
        """Read all of it; raises ApiError."""
        try:
            async with asyncio.timeout(self._limits.whole_seconds):
                with _well_formed():
                    reader = await self._http.multipart()
                await self._read_parts(reader)
        except TimeoutError as error:
            raise RequestTimeout("The upload took too long.", param="body") from error
        if self._filename is None:
            raise ValidationFailed("The part 'file' is missing.", param=FILE)
        file = self._file
        if not file.size:
            raise ValidationFailed("The file is empty.", param=FILE)
        texts = {_FIELDS[name]: text for name, text in self._texts.items()}
        more = {name: tuple(sent) for name, sent in self._more.items() if sent}
        return Upload(
            path=file.path,
            filename=self._filename,
            size=file.size,
            digest=self._digest(),
            **texts,
            more=more,
            ignored=tuple(self._ignored),
        )

    async def _read_parts(self, reader: MultipartReader) -> None:
        for _ in range(MAX_PARTS + 1):
            with _well_formed():
                part = await self._pace.keep(reader.next())
            if part is None:
                return
            if not isinstance(part, BodyPartReader):
                raise ValidationFailed("A form within the form is not read.", param="body")
            _refuse_encoded(part)
            with _well_formed():
                name, filename = part.name, part.filename
            if name == FILE:
                await self._read_file(part, filename or "")
            elif name in self._more:
                self._more[name].append(await self._text(part, name))
            elif name in _FIELDS:
                if name in self._texts:
                    raise ValidationFailed(f"{name} is given more than once.", param=name)
                self._texts[name] = await self._text(part, name)
            else:
                self._ignored[name or ""] = None
                while await self._piece(part) is not None:
                    continue
        raise ValidationFailed(f"The form has more than {MAX_PARTS} parts.", param="body")

    async def _read_file(self, part: BodyPartReader, filename: str) -> None:
        if self._filename is not None:
            raise ValidationFailed("Send one file at a time.", param=FILE)
        self._filename = plain_filename(filename, "upload")
        block = bytearray()
        while (piece := await self._piece(part)) is not None:
            block += piece
            if self._file.size + len(block) > self._limits.max_bytes:
                raise _too_large(self._limits)
            if len(block) >= BLOCK_BYTES:
                await _on_disk(self._file.append, block)
                block = bytearray()
        await _on_disk(self._file.append, block)

    async def _text(self, part: BodyPartReader, name: str) -> str:
        too_long = ValidationFailed(f"{name} is longer than {MAX_TEXT} characters.", param=name)
        raw = bytearray()
        while (piece := await self._piece(part)) is not None:
            raw += piece
            if len(raw) > 4 * MAX_TEXT:  # no character takes more bytes
                raise too_long
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            raise ValidationFailed(f"{name} is not valid UTF-8.", param=name) from error
        if len(text) > MAX_TEXT:
            raise too_long
        if "\0" in text:
            raise ValidationFailed("NUL characters are not accepted.", param=name)
        return text

    async def _piece(self, part: BodyPartReader) -> bytes | None:
        """The next bytes of the part; None at its end."""
        if part.at_eof():
            return None
        with _well_formed():
            piece = await self._pace.keep(part.read_chunk(PIECE_BYTES))
        self._received += len(piece)
        if self._received > self._limits.max_bytes + FORM_BYTES:
            raise _too_large(self._limits)
        return piece

    def _digest(self) -> bytes:
        whole = hashlib.sha256()
        more = [(name, text) for name, sent in self._more.items() for text in sent]
        texts = {**self._texts, "filename": self._filename or ""}
        for name, text in sorted([*texts.items(), *more]):
            whole.update(f"{name}={len(text)}:{text};".encode())
        whole.update(self._file.digest.digest())
        return whole.digest()


def _refuse_encoded(part: BodyPartReader) -> None:
    """Refuse an encoded part: parts are stored as they are sent, and so would one in gzip or
    base64."""
    for header, plain in _PLAIN.items():
        encoding = part.headers.get(header, "").strip().lower()
        if encoding and encoding not in plain:
            raise UnsupportedMediaType(
                f"Encoded parts are not read: send them without {header}.", param="body"
            )


@contextlib.contextmanager
def _well_formed() -> Iterator[None]:
    """Turn what the reader raises into a refusal."""
    try:
        yield
    except ConnectionError as error:
        raise ValidationFailed("The upload broke off.", param="body") from error
    except _MALFORMED as error:
        raise ValidationFailed(
            "The body is not a well-formed multipart form.", param="body"
        ) from error


async def _on_disk(work: Callable[..., None], *arguments: Any) -> None:
    try:
        await asyncio.to_thread(work, *arguments)
    except OSError as error:
        log.error("cannot write an upload: %s", type(error).__name__)
        raise Unavailable(
            "The server cannot take uploads just now: try again later.", retry_after=60
        ) from error


def _sweep(folder: Path) -> None:
    before = time.time() - LEFT_OVER_SECONDS
    for path in folder.glob(f"{_PREFIX}*"):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < before:
                path.unlink()


def _too_large(limits: UploadLimits) -> PayloadTooLarge:
    return PayloadTooLarge(f"The file is longer than {limits.max_bytes} bytes.", param=FILE)
