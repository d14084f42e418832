"""UpstreamClient: the one HTTP session to an upstream, its deadlines, errors and model list.

Rules
- Three deadlines: to connect, to the first byte of the answer, and between two chunks of it.
- The key is sent to ``base_url`` only: redirects are not followed, proxies from the environment
  are not used.
- Leaving a response before its end closes the connection; that is how the upstream learns to stop.
- The model list is cached. While an upstream cannot be reached, the last list stays valid for
  ``models_stale`` seconds.
- An upstream's refusal is rewritten so that it is safe to show to a user: no keys, one line.
"""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from pipelines.engines.base import (
    EngineBusy,
    EngineError,
    EngineFailed,
    EngineTimeout,
    ModelUnavailable,
)

EVENT_LIMIT = 1 << 20
LINE = re.compile(rb"\r\n|\n|\r(?!\Z)")
"""A CR at the very end of the input may be half of a CRLF: it waits for the next byte."""


class EventTooLong(ValueError):
    """An event grew beyond the limit."""


class EventReader:
    """Server-sent events, sans-I/O: chunks of a response body in, the ``data`` of each event out.

    Follows the HTML standard (https://html.spec.whatwg.org/multipage/server-sent-events.html), of
    which OpenAI's contracts use ``data`` only: lines end in CR, LF or CRLF, an empty line ends an
    event, comments and other fields are skipped. An event may hold ``limit`` bytes."""

    def __init__(self, limit: int = EVENT_LIMIT) -> None:
        self._limit = limit
        self._line: list[bytes] = []
        """The pieces of a line without its end yet, and their bytes."""
        self._line_size = 0
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[str]:
        """The data of the events that ``chunk`` completes. Raises EventTooLong."""
        if self._line and self._line[-1].endswith(b"\r"):
            self._line_size -= len(self._line[-1])
            chunk = self._line.pop() + chunk
        begun, *others = LINE.split(chunk)
        lines: list[bytes] = []
        if others:
            lines = [b"".join((*self._line, begun)), *others[:-1]]
            self._line, self._line_size, begun = [], 0, others[-1]
        self._line.append(begun)
        self._line_size += len(begun)
        events = []
        for line in lines:
            if not line and self._data:
                events.append(b"\n".join(self._data).decode("utf-8", "replace"))
                self._data, self._size = [], 0
            elif line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
                self._size += len(line)
        if self._size + self._line_size > self._limit:
            raise EventTooLong(f"an event has more than {self._limit} bytes")
        return events


MESSAGE_LIMIT = 300
SECRETS = re.compile(r"(?i)\b(?:bearer\s+\S+|(?:sk|ek|pk|key|token)[-_][\w*.\-]{4,})")
"""Anything that looks like a key, no matter whose."""

MODEL_CODES = ("model_not_found", "model_not_available", "invalid_model")


def safe(text: str, key: str) -> str:
    """``text`` in one line of at most MESSAGE_LIMIT characters, without ``key`` or its like."""
    if key:
        text = text.replace(key, "[key]")
    text = SECRETS.sub("[key]", text)
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:MESSAGE_LIMIT]


def refusal(status: int, body: bytes, *, model: str, key: str) -> EngineError:
    """The error for a response whose status is not 200."""
    message, code = _described(body)
    text = safe(message, key)
    if status in (401, 403):
        return EngineFailed("the upstream refused the key: check BLAB_UPSTREAM_KEY")
    if model and (code in MODEL_CODES or (status == 404 and "model" in message.lower())):
        return ModelUnavailable(f"the upstream does not serve {model!r}: {text or 'not found'}")
    if status == 404:
        return EngineFailed("the upstream has no such route: check BLAB_UPSTREAM_URL")
    if status == 429 and code != "insufficient_quota":
        return EngineBusy(f"the upstream is busy: {text or 'too many requests'}")
    return EngineFailed(f"the upstream answered {status}: {text or 'no reason given'}")


def _described(body: bytes) -> tuple[str, str]:
    """Message and code of an error body, in OpenAI's shape or one of its common variants."""
    try:
        parsed = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return "", ""  # a proxy's HTML page says nothing to a user
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else parsed
    if isinstance(error, dict):
        message = error.get("message") or error.get("detail") or ""
        return str(message), str(error.get("code") or "")
    return str(error), ""


ERROR_BODY_LIMIT = 64 * 1024
MODELS_LIMIT = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """Where an upstream is and how long it may take; times in seconds.

    ``base_url`` is OpenAI's base URL (``https://host/v1``); without a path ``/v1`` is added."""

    base_url: str
    key: str = ""
    connect: float = 5.0
    first_byte: float = 20.0
    idle: float = 10.0
    models_ttl: float = 60.0
    models_stale: float = 3600.0
    connections: int = 64

    def __repr__(self) -> str:
        return f"UpstreamSettings({self.base_url!r})"  # never the key


class UpstreamClient:
    """Shared by every engine of one upstream; must be closed."""

    def __init__(
        self, settings: UpstreamSettings, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        parts = urlsplit(settings.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("BLAB_UPSTREAM_URL must look like https://host/v1")
        self.settings = settings
        self._base = settings.base_url.rstrip("/") + ("" if parts.path.strip("/") else "/v1")
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._models: tuple[str, ...] = ()
        self._models_at: float | None = None
        self._models_turn = asyncio.Lock()

    @asynccontextmanager
    async def open(
        self, method: str, path: str, *, model: str = "", **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A successful response, its body still to be read with ``pieces`` or ``body``.

        Raises EngineTimeout, EngineBusy, ModelUnavailable (naming ``model``), EngineFailed."""
        response: aiohttp.ClientResponse | None = None
        try:
            async with asyncio.timeout(self.settings.first_byte):
                response = await self._opened().request(
                    method, self._base + path, allow_redirects=False, **options
                )
            if response.status != 200:
                body = await self.body(response, ERROR_BODY_LIMIT)
                raise refusal(response.status, body, model=model, key=self.settings.key)
            yield response
        except (TimeoutError, aiohttp.ServerTimeoutError):
            raise EngineTimeout("the upstream did not answer in time") from None
        except aiohttp.ClientConnectorError:
            raise EngineFailed("the upstream cannot be reached: check BLAB_UPSTREAM_URL") from None
        except (aiohttp.ClientError, OSError):
            raise EngineFailed("the connection to the upstream was lost") from None
        finally:
            if response is not None:
                response.close()

    async def pieces(self, response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
        """The body as it arrives; raises TimeoutError (``open`` turns it into an EngineTimeout)."""
        patience = self.settings.first_byte
        while True:
            async with asyncio.timeout(patience):
                piece = await response.content.readany()
            if not piece:
                return
            patience = self.settings.idle
            yield piece

    async def body(self, response: aiohttp.ClientResponse, limit: int) -> bytes:
        """The whole body. Raises EngineFailed when it is longer than ``limit`` bytes."""
        whole = bytearray()
        async for piece in self.pieces(response):
            whole += piece
            if len(whole) > limit:
                raise EngineFailed(f"the upstream's answer is longer than {limit} bytes")
        return bytes(whole)

    async def json(self, response: aiohttp.ClientResponse, limit: int = MODELS_LIMIT) -> Any:
        """The body, which must be a JSON object."""
        try:
            parsed = msgspec.json.decode(await self.body(response, limit))
        except (ValueError, RecursionError):
            parsed = None
        if not isinstance(parsed, dict):
            raise EngineFailed("the upstream's answer is not a JSON object")
        return parsed

    async def models(self) -> tuple[str, ...]:
        """Ids of the models the upstream serves now, or served when it last answered."""
        async with self._models_turn:
            age = None if self._models_at is None else self._clock() - self._models_at
            if age is not None and age < self.settings.models_ttl:
                return self._models
            try:
                async with self.open("GET", "/models") as response:
                    listed = await self.json(response)
            except EngineError:
                if age is None or age > self.settings.models_stale:
                    raise
                return self._models
            entries = listed.get("data")
            names = (e.get("id") for e in entries or () if isinstance(e, dict))
            self._models = tuple(name for name in names if isinstance(name, str))
            self._models_at = self._clock()
            return self._models

    async def close(self) -> None:
        """Close every connection; later requests fail."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._closed:
            raise EngineFailed("the upstream client is shut down")
        if self._session is None:
            key = self.settings.key
            self._session = aiohttp.ClientSession(
                headers={"Authorization": f"Bearer {key}"} if key else None,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.settings.connect),
                connector=aiohttp.TCPConnector(limit=self.settings.connections),
                trust_env=False,
            )
        return self._session
