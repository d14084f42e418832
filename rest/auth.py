"""Who is asking: an API key or an ephemeral key becomes a Principal.

Rules
- A malformed API key is refused without asking the database; a well-formed one is looked up by
  its SHA-256. The answer, also "unknown", is remembered for ``CACHE_SECONDS`` (a revoked key may
  work that much longer) in a cache of ``CACHE_KEYS`` entries, the oldest leaving first.
- Absent, unknown, revoked, expired: one and the same refusal.
- Keys are in no log, message or repr.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from store.errors import StoreError
from store.tenants.api_keys import ApiKey

from . import keys
from .ephemeral import PREFIX as EPHEMERAL_PREFIX
from .ephemeral import EphemeralKeys
from .errors import Unauthenticated

log = logging.getLogger(__name__)

CACHE_SECONDS = 10.0
CACHE_KEYS = 1024
_BEARER = "bearer "


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking, and for which workspace. An ephemeral key brings its own session; a user
    may do everything in a workspace of which they are a member."""

    workspace_id: str
    kind: Literal["api_key", "ephemeral", "user"]
    key_id: str | None = None
    user_id: str | None = None
    scopes: tuple[str, ...] = ()
    agent_id: str | None = None
    session: dict[str, Any] | None = None


class KeyDirectory(Protocol):
    """What is needed of store.tenants.api_keys."""

    async def find_by_digest(self, digest: bytes) -> ApiKey | None: ...

    async def touch(self, workspace_id: str, key_id: str) -> None: ...


class Authenticator:
    """Turns what a request brings into a Principal."""

    def __init__(
        self,
        api_keys: KeyDirectory,
        ephemeral: EphemeralKeys,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api_keys = api_keys
        self._ephemeral = ephemeral
        self._clock = clock
        self._cache: OrderedDict[bytes, tuple[float, Principal | None]] = OrderedDict()

    async def authenticate(self, token: str | None) -> Principal:
        """The principal behind a key; raises Unauthenticated or StoreUnavailable."""
        if not token:
            raise Unauthenticated(
                "No API key was sent: send 'Authorization: Bearer <key>'.",
                openai_code="missing_api_key",
            )
        if token.startswith(EPHEMERAL_PREFIX):
            return await self._by_ephemeral(token)
        try:
            key = keys.parse(token)
        except keys.MalformedKey as error:
            raise _invalid() from error
        principal = await self._by_digest(key.digest)
        if principal is None:
            raise _invalid()
        return principal

    async def _by_ephemeral(self, token: str) -> Principal:
        grant = await self._ephemeral.find(token)
        if grant is None:
            raise Unauthenticated(
                "The ephemeral key is unknown or has expired: get a new one.",
                openai_code="invalid_api_key",
            )
        return Principal(
            grant.workspace_id, "ephemeral", agent_id=grant.agent_id, session=grant.session
        )

    async def _by_digest(self, digest: bytes) -> Principal | None:
        now = self._clock()
        known = self._cache.get(digest)
        if known is not None and known[0] > now:
            return known[1]
        found = await self._api_keys.find_by_digest(digest)
        principal = None
        if found is not None:
            scopes = tuple(found.scopes)
            principal = Principal(found.workspace_id, "api_key", key_id=found.id, scopes=scopes)
            await self._touch(found)
        self._cache[digest] = (now + CACHE_SECONDS, principal)
        self._cache.move_to_end(digest)
        while len(self._cache) > CACHE_KEYS:
            self._cache.popitem(last=False)
        return principal

    async def _touch(self, key: ApiKey) -> None:
        """The time of last use is a courtesy: without it the request still goes on."""
        try:
            await self._api_keys.touch(key.workspace_id, key.id)
        except StoreError as error:
            log.warning("last use of key %s was not noted: %s", key.id, type(error).__name__)


def bearer_token(authorization: str | None) -> str | None:
    """The token of an Authorization header; None where there is no bearer token in it."""
    if authorization and authorization[: len(_BEARER)].lower() == _BEARER:
        return authorization[len(_BEARER) :].strip() or None
    return None


def _invalid() -> Unauthenticated:
    return Unauthenticated("The API key is not valid: it is unknown, revoked or expired.")
