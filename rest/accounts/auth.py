"""Authentication: an API key, an ephemeral key or a user's token becomes a Principal.

Rules
- A malformed API key is refused without asking the database; a well-formed one is looked up by its
  SHA-256. The result, "unknown" included, is kept for ``CACHE_SECONDS`` (a key that another node
  revoked may work that much longer; one revoked here ends at once) in a cache of ``CACHE_KEYS``
  entries, the oldest leaving first. Users' memberships are cached alike.
- Absent, unknown, revoked, expired: the refusal is the same. A user who is no longer a member of
  any workspace is as unknown as one who never was.
- A sign-in (a token, a cookie, the keys that our pages get with it) counts as long as its user has
  the password that it was made with. Nodes notice a new one within ``MEMBERSHIP_SECONDS``.
- ``X-Workspace-Id`` chooses among a user's workspaces; with an API key it may only name the key's
  own. Any other, existing or not, gets the same refusal.
- Keys appear in no log, message or repr.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from aiohttp import hdrs, web

from rest.http.errors import Forbidden, Unauthenticated
from store.errors import StoreError
from store.tenants.accounts import ApiKey, ApiKeys, Membership, Standing, Workspaces

from . import keys
from .keys import EPHEMERAL_PREFIX, EmbedGrant, EphemeralKeys, Grant, key_id
from .signing import InvalidToken, Tokens, is_token

log = logging.getLogger(__name__)

CACHE_SECONDS = 10.0
CACHE_KEYS = 1024
WORKSPACE_HEADER = "X-Workspace-Id"
_BEARER = "bearer "


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking, and for which workspace. An ephemeral key comes with its own session,
    ``locked`` or not, perhaps with its ``caller`` (a digest), and owns the calls that it started
    (``ephemeral_id``), or the one call of an ``embed``'s visitor; one that a page got for a user
    who has signed in names them (``user_id``). A user may do everything in a workspace of which
    they are a member; a carrier (telephony) has proven itself by its signature and connects calls
    to the workspace of the agent that it names. ``agent_version`` and ``yields``: as in Grant."""

    workspace_id: str
    kind: Literal["api_key", "ephemeral", "user", "carrier"]
    key_id: str | None = None
    user_id: str | None = None
    scopes: tuple[str, ...] = ()
    agent_id: str | None = None
    session: dict[str, Any] | None = None
    locked: bool = False
    ephemeral_id: str | None = None
    caller: bytes | None = None
    embed: EmbedGrant | None = None
    agent_version: int | None = None
    yields: bool = False


class Authenticator:
    """Turns the credential of a request into a Principal. Without ``users`` only keys are
    accepted."""

    def __init__(
        self,
        api_keys: ApiKeys,
        ephemeral: EphemeralKeys,
        clock: Callable[[], float] = time.monotonic,
        *,
        users: "SignedIn | None" = None,
    ) -> None:
        self._api_keys = api_keys
        self._ephemeral = ephemeral
        self._clock = clock
        self._users = users
        self._cache: OrderedDict[bytes, tuple[float, Principal | None]] = OrderedDict()
        self._revoked = 0

    async def of_request(self, http: web.Request) -> Principal:
        """Who sent a request; raises Unauthenticated, Forbidden or StoreUnavailable."""
        token = bearer_token(http.headers.get(hdrs.AUTHORIZATION))
        return await self.authenticate(token, http.headers.get(WORKSPACE_HEADER))

    async def authenticate(self, token: str | None, workspace_id: str | None = None) -> Principal:
        """The principal behind a credential, in ``workspace_id`` where one is named; raises
        Unauthenticated, Forbidden or StoreUnavailable."""
        if not token:
            raise Unauthenticated(
                "No API key was sent: send 'Authorization: Bearer <key>'.",
                openai_code="missing_api_key",
            )
        if self._users is not None and is_token(token):
            return await self._users.principal(token, workspace_id)
        principal = await self._by_key(token)
        if workspace_id is not None and workspace_id != principal.workspace_id:
            raise not_a_member()
        return principal

    async def spend(self, token: str) -> Principal | None:
        """The principal behind an ephemeral key, which is worth nothing afterwards; None where it
        is worth nothing already. Raises StoreUnavailable."""
        grant = await self._ephemeral.spend(token)
        return None if grant is None or not await self._counts(grant) else granted(grant, token)

    def forget(self, key_id: str) -> None:
        """Drop a revoked key from the cache."""
        self._revoked += 1
        for digest, (_, principal) in list(self._cache.items()):
            if principal is not None and principal.key_id == key_id:
                del self._cache[digest]

    async def _by_key(self, token: str) -> Principal:
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
        if grant is None or not await self._counts(grant):
            raise Unauthenticated(
                "The ephemeral key is unknown or has expired: get a new one.",
                openai_code="invalid_api_key",
            )
        return granted(grant, token)

    async def _counts(self, grant: Grant) -> bool:
        """Whether the sign-in that a key comes from, if any, still counts in its workspace."""
        if (sign_in := grant.sign_in) is None:
            return True
        if self._users is None:
            return False
        mine = await self._users.memberships(sign_in.user_id, sign_in.password_number)
        return grant.workspace_id in [one.workspace_id for one in mine]

    async def _by_digest(self, digest: bytes) -> Principal | None:
        now = self._clock()
        known = self._cache.get(digest)
        if known is not None and known[0] > now:
            return known[1]
        revoked = self._revoked
        found = await self._api_keys.find_by_digest(digest)
        principal, seconds = None, CACHE_SECONDS
        if found is not None:
            scopes = tuple(found.scopes)
            principal = Principal(found.workspace_id, "api_key", key_id=found.id, scopes=scopes)
            if found.expires_at is not None:
                left = (found.expires_at - datetime.now(UTC)).total_seconds()
                seconds = min(seconds, left)
            await self._touch(found)
        if revoked != self._revoked:
            return principal  # perhaps this key was revoked meanwhile: the next request asks again
        self._cache[digest] = (now + seconds, principal)
        self._cache.move_to_end(digest)
        while len(self._cache) > CACHE_KEYS:
            self._cache.popitem(last=False)
        return principal

    async def _touch(self, key: ApiKey) -> None:
        """Store the time of last use if possible; the request does not depend on it."""
        try:
            await self._api_keys.touch(key.workspace_id, key.id)
        except StoreError as error:
            log.warning("the last use of key %s was not stored: %s", key.id, type(error).__name__)


def granted(grant: Grant, token: str) -> Principal:
    """Who asks by an ephemeral key with that grant."""
    return Principal(
        grant.workspace_id,
        "ephemeral",
        agent_id=grant.agent_id,
        session=grant.session,
        locked=grant.locked,
        scopes=grant.scopes,
        caller=grant.caller,
        user_id=grant.sign_in.user_id if grant.sign_in is not None else None,
        ephemeral_id=key_id(token),
        embed=grant.embed,
        agent_version=grant.agent_version,
        yields=grant.yields,
    )


def bearer_token(authorization: str | None) -> str | None:
    """The bearer token of an Authorization header; None where it has none."""
    if authorization and authorization[: len(_BEARER)].lower() == _BEARER:
        return authorization[len(_BEARER) :].strip() or None
    return None


def not_a_member() -> Forbidden:
    """The refusal of a workspace that is not the caller's, whether there is one or not."""
    return Forbidden(
        f"You are not a member of the workspace that {WORKSPACE_HEADER} names.",
        param=WORKSPACE_HEADER,
        reason="not_a_member",
    )


def _invalid() -> Unauthenticated:
    return Unauthenticated("The API key is not valid: it is unknown, revoked or expired.")


MEMBERSHIP_SECONDS = 10.0
CACHE_USERS = 1024


class SignedIn:
    """Turns users' sign-ins into principals of one of their workspaces."""

    def __init__(
        self,
        tokens: Tokens,
        workspaces: Workspaces,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tokens = tokens
        self._workspaces = workspaces
        self._clock = clock
        self._cache: OrderedDict[str, tuple[float, Standing | None]] = OrderedDict()

    async def principal(self, token: str, workspace_id: str | None) -> Principal:
        """The user of a token, in the workspace that they name or else in their oldest one.

        Raises Unauthenticated, Forbidden where it is not theirs, or StoreUnavailable."""
        try:
            user_id, password_number = self._tokens.user_of(token)
        except InvalidToken as error:
            raise _invalid_token() from error
        mine = await self.memberships(user_id, password_number)
        if not mine:
            raise _invalid_token()
        return self.member(user_id, mine, workspace_id)

    @staticmethod
    def member(
        user_id: str, mine: Sequence[Membership], workspace_id: str | None, usual: str | None = None
    ) -> Principal:
        """The user in the workspace that they name; if they name none, in their ``usual`` one, or
        else in the oldest. Raises Forbidden where it is not theirs."""
        ids = [one.workspace_id for one in mine]
        if workspace_id is not None and workspace_id not in ids:
            raise not_a_member()
        chosen = workspace_id or (usual if usual in ids else None) or ids[0]
        return Principal(chosen, "user", user_id=user_id)

    async def memberships(self, user_id: str, password_number: int) -> Sequence[Membership]:
        """The workspaces of a user who signed in with that password, oldest first, perhaps as they
        were up to ``MEMBERSHIP_SECONDS`` ago; none where the user has another password."""
        known = self._cache.get(user_id)
        if known is not None and known[0] > self._clock():
            standing = known[1]
            if standing is None or standing.password_number == password_number:
                return standing.memberships if standing is not None else ()
        return await self.fresh_memberships(user_id, password_number)

    async def fresh_memberships(self, user_id: str, password_number: int) -> Sequence[Membership]:
        """As ``memberships``, as they are now."""
        now = self._clock()
        standing = await self._workspaces.standing(user_id)
        self._cache[user_id] = (now + MEMBERSHIP_SECONDS, standing)
        self._cache.move_to_end(user_id)
        while len(self._cache) > CACHE_USERS:
            self._cache.popitem(last=False)
        if standing is None or standing.password_number != password_number:
            return ()
        return standing.memberships


def _invalid_token() -> Unauthenticated:
    return Unauthenticated("The token is not valid or has expired: sign in again.")
