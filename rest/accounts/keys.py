"""The keys that clients send: API keys ``blab_sk_…``, and ephemeral keys ``ek_…`` for browsers.

An API key is ``blab_sk_``, 32 random characters (190 bits) and 6 characters of checksum. The layout
is that of GitHub's tokens: base 62, and a CRC-32 of everything before it, so that a mistyped or
invented key is refused without a query, and secret scanners recognise a real one. The checksum is
no secret and proves nothing else. The text is shown once and never stored; its SHA-256 is (with 190
random bits a slow hash would add nothing).

An ephemeral key is bound to one workspace, optionally one agent, and one session configuration; it
may be reused until it expires, or until it is spent (``EphemeralKeys.spend``). It is ``ek_`` and 32
hexadecimal digits (128 random bits), so that a protocol with room for no more than a UUID can carry
it. Redis holds its grant under the key's SHA-256, sealed with the key, for the key's lifetime: a
reader of Redis finds no key and cannot read the session (the headers of its tools may contain
secrets), and an expired key is simply gone.

``repr`` and ``str`` never show the text of either.
"""

import hashlib
import logging
import re
import secrets
import string
import time
import uuid
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import msgspec

from store.bus import Bus

from .signing import Broken, Seal

log = logging.getLogger(__name__)

# ---------------------------------------------------------------------- API keys


Scope = Literal[
    "tts:write",
    "tts:read",
    "stt:write",
    "stt:read",
    "voices:read",
    "voices:write",
    "batch:read",
    "batch:write",
    "dubbing:read",
    "dubbing:write",
    "webhooks:read",
    "webhooks:write",
    "projects:write",
    "projects:read",
    "jobs:read",
    "usage:read",
    "api-keys:read",
    "api-keys:write",
    "agents:read",
    "agents:write",
]
SCOPES: tuple[Scope, ...] = get_args(Scope)


PREFIX = "blab_sk_"
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
"""The digits of base 62, in ascending order."""
RANDOM_LETTERS = 32
CHECKSUM_LETTERS = 6
SHOWN_LETTERS = 4
"""Random characters in the displayed prefix; 166 random bits stay hidden."""
_KEY = re.compile(rf"{PREFIX}([0-9A-Za-z]{{{RANDOM_LETTERS}}})([0-9A-Za-z]{{{CHECKSUM_LETTERS}}})")


class MalformedKey(ValueError):
    """Not an API key: wrong form or wrong checksum. The message does not quote it."""


@dataclass(frozen=True, slots=True)
class Key:
    """An API key as text."""

    text: str = field(repr=False)

    @property
    def prefix(self) -> str:
        """What may be shown and stored: ``blab_sk_`` and the first characters."""
        return self.text[: len(PREFIX) + SHOWN_LETTERS]

    @property
    def digest(self) -> bytes:
        """SHA-256 of the text (32 bytes): what is stored and looked up."""
        return hashlib.sha256(self.text.encode("ascii")).digest()


def new_key() -> Key:
    """A new key from the system's random source."""
    body = PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LETTERS))
    return Key(body + checksum(body))


def parse(text: str) -> Key:
    """``text`` as a key; raises MalformedKey."""
    found = _KEY.fullmatch(text)
    if found is None or checksum(PREFIX + found[1]) != found[2]:
        raise MalformedKey("not an API key of blab: it must be blab_sk_ and 38 letters or digits")
    return Key(text)


def checksum(body: str) -> str:
    """CRC-32 of ``body`` in six digits of base 62, the most significant first."""
    number = zlib.crc32(body.encode("ascii"))
    digits = []
    for _ in range(CHECKSUM_LETTERS):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


# ---------------------------------------------------------------------- ephemeral keys


EPHEMERAL_PREFIX = "ek_"
MIN_SECONDS, MAX_SECONDS, DEFAULT_SECONDS = 10, 7200, 600
_RANDOM_BYTES = 16
_MAX_CHARS = 128
_SEAL = Seal("blab ephemeral grant")


class EmbedGrant(msgspec.Struct, frozen=True):
    """What a key for a visitor of an embed's page is bound to: the visit's one call, of at most so
    many ``seconds``. ``free``: members of SessionConfig that the visitor may change although the
    key is locked."""

    embed_id: str
    visit_id: str
    seconds: int
    free: tuple[str, ...] = ()


class SignInGrant(msgspec.Struct, frozen=True):
    """The sign-in with which a page of ours got a key; the key ends with it. ``place``: where Redis
    holds the sign-in."""

    user_id: str
    password_number: int
    place: str


class Grant(msgspec.Struct, frozen=True):
    """What an ephemeral key allows. ``session``: OpenAI session JSON, already validated;
    ``locked``: the holder of the key cannot change the agent's configuration; ``caller``: a digest
    of who will call; ``embed``: the key is for a visitor of another web page; ``scopes``: of the
    REST operations that it opens besides; ``sign_in``: the key is for a page of ours;
    ``agent_version``: the version of ``agent_id`` that answers, None: the newest; ``yields``: its
    calls leave lines free for other callers."""

    workspace_id: str
    agent_id: str | None = None
    session: dict[str, Any] | None = None
    locked: bool = False
    caller: bytes | None = None
    embed: EmbedGrant | None = None
    scopes: tuple[Scope, ...] = ()
    sign_in: SignInGrant | None = None
    agent_version: int | None = None
    yields: bool = False


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
        value = EPHEMERAL_PREFIX + secrets.token_hex(_RANDOM_BYTES)
        sealed = _SEAL.close(_bytes(value), msgspec.json.encode(grant))
        await self._bus.put(_place(value), sealed, seconds)
        return MintedKey(value, int(self._clock()) + seconds)

    async def find(self, value: str) -> Grant | None:
        """What the key grants; None where it is unknown, expired or its grant was changed, or the
        sign-in is over that it comes from.

        Raises BusUnavailable."""
        if len(value) > _MAX_CHARS:
            return None
        return await self._in_force(_opened(value, await self._bus.get(_place(value))))

    async def spend(self, value: str) -> Grant | None:
        """As ``find``, but only once: the key is unknown from then on."""
        if len(value) > _MAX_CHARS:
            return None
        return await self._in_force(_opened(value, await self._bus.pop(_place(value))))

    async def _in_force(self, grant: Grant | None) -> Grant | None:
        if grant is None or grant.sign_in is None:
            return grant
        return grant if await self._bus.get(grant.sign_in.place) is not None else None


def _opened(value: str, sealed: bytes | None) -> Grant | None:
    if sealed is None:
        return None
    try:
        content = _SEAL.open(_bytes(value), sealed)
    except Broken:
        log.warning("the grant of an ephemeral key was changed in Redis; it is refused")
        return None
    return msgspec.json.decode(content, type=Grant)


def ephemeral_key_of(number: uuid.UUID) -> str:
    """The ephemeral key whose digits are a UUID's."""
    return EPHEMERAL_PREFIX + number.hex


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "replace")


def key_id(value: str) -> str:
    """An id of an ephemeral key that reveals nothing about the key."""
    return hashlib.sha256(b"id of " + _bytes(value)).hexdigest()[:32]


def _place(value: str) -> str:
    return f"ephemeral:{hashlib.sha256(_bytes(value)).hexdigest()}"
