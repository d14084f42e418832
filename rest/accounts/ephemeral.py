"""Ephemeral keys ``ek_…``: what a browser gets instead of an API key.

A key is bound to one workspace, optionally one agent, and one session configuration; it may be
reused until it expires. Redis holds its grant under the key's SHA-256, sealed with the key, for the
key's lifetime: a reader of Redis finds no key and cannot read the session (the headers of its tools
may contain secrets), and an expired key is simply not there.
"""

import hashlib
import logging
import secrets
import time
from collections.abc import Callable
from typing import Any

import msgspec

from store.bus import Bus

from .signing import Broken, Seal

logger = logging.getLogger(__name__)

PREFIX = "ek_"
MIN_SECONDS, MAX_SECONDS, DEFAULT_SECONDS = 10, 7200, 600
_RANDOM_BYTES = 24
_MAX_CHARS = 128
_SEAL = Seal("blab ephemeral grant")


class Grant(msgspec.Struct, frozen=True):
    """What an ephemeral key allows. ``session``: OpenAI session JSON, already validated;
    ``locked``: the holder of the key cannot change the agent's configuration."""

    workspace_id: str
    agent_id: str | None = None
    session: dict[str, Any] | None = None
    locked: bool = False


class MintedKey(msgspec.Struct, frozen=True):
    """A new key; ``expires_at`` in Unix seconds."""

    value: str
    expires_at: int

    def __repr__(self) -> str:
        """The repr, without the key."""
        return f"MintedKey(expires_at={self.expires_at})"


class EphemeralKeys:
    """Mints and finds ephemeral keys."""

    def __init__(self, bus: Bus, clock: Callable[[], float] = time.time) -> None:
        self._bus = bus
        self._clock = clock

    async def mint(self, grant: Grant, seconds: int = DEFAULT_SECONDS) -> MintedKey:
        """A new key for ``grant``; raises BusUnavailable, and ValueError outside 10..7200 s."""
        if not MIN_SECONDS <= seconds <= MAX_SECONDS:
            raise ValueError(f"an ephemeral key lives {MIN_SECONDS} to {MAX_SECONDS} seconds")
        value = PREFIX + secrets.token_hex(_RANDOM_BYTES)
        sealed = _SEAL.close(_bytes(value), msgspec.json.encode(grant))
        await self._bus.put(_place(value), sealed, seconds)
        return MintedKey(value, int(self._clock()) + seconds)

    async def find(self, value: str) -> Grant | None:
        """What the key grants; None where it is unknown, expired or its grant was changed.

        Raises BusUnavailable."""
        if len(value) > _MAX_CHARS:
            return None
        sealed = await self._bus.get(_place(value))
        if sealed is None:
            return None
        try:
            content = _SEAL.open(_bytes(value), sealed)
        except Broken:
            logger.warning("the grant of an ephemeral key was changed in Redis; it is refused")
            return None
        return msgspec.json.decode(content, type=Grant)


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "replace")


def key_id(value: str) -> str:
    """An id of an ephemeral key that reveals nothing about the key."""
    return hashlib.sha256(b"id of " + _bytes(value)).hexdigest()[:32]


def _place(value: str) -> str:
    return f"ephemeral:{hashlib.sha256(_bytes(value)).hexdigest()}"
