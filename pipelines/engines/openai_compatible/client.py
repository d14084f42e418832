"""UpstreamClient: the one HTTP session to an upstream, its deadlines, errors and model list.

Rules
- Three deadlines: to connect, to the first byte of the answer, and between two pieces of it.
- The key goes to ``base_url`` only: no redirects are followed, no proxies of the environment used.
- A response that is left before its end closes its connection, which is what tells the upstream
  to stop.
- The model list is cached; an upstream that cannot be reached leaves the last list standing for
  ``models_stale`` seconds.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from pipelines.engines.base import EngineError, EngineFailed, EngineTimeout

from .errors import refusal

ERROR_BODY_LIMIT = 64 * 1024
MODELS_LIMIT = 4 * 1024 * 1024
PIECE = 16 * 1024


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
    """Shared by every engine of one upstream. ``close()`` it."""

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
            raise EngineFailed("the connection to the upstream broke off") from None
        finally:
            if response is not None:
                response.close()

    async def pieces(self, response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
        """The body as it comes; raises TimeoutError (made an EngineTimeout by ``open``)."""
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
            raise EngineFailed("the upstream's answer is not the JSON object it should be")
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
