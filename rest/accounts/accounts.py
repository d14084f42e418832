"""Accounts as a resource: people sign up, sign in and see who they are.

Rules
- How long a refused sign-in takes, what it says and how often it may be tried do not depend on
  whether the account exists: where there is no hash to compare with, the same work is done anyway.
- Signing up cannot hide that an address is taken (no mail is sent that could say so instead): the
  refusal says it, after the same work as a success, and is throttled. Operators who mind keep
  registration closed.
- A user and their first workspace are made together or not at all.
- An address is checked for one ``@``, a local part and a domain of sensible lengths and characters,
  no more: that is neither the grammar of RFC 5322 nor a proof that somebody reads it. Addresses are
  compared without regard to case and kept as written.
- Passwords (argon2id, off the event loop): at least OWASP's floor (19 MiB, 2 passes); at most
  ``AT_ONCE`` are computed at a time and ``WAITING`` wait, more are refused. They are normalised
  (NFKC), so that the same characters typed on another machine are the same password.
- Attempts are counted per address, against those who try many accounts, and per account, against
  those who try many passwords from many addresses. An attempt is counted before it is judged, so
  that attempts at the same moment count too; a success clears its account. The wait grows: once the
  first quota is used up an attempt is allowed every few minutes, once the second is, every half
  hour. The price: somebody who keeps failing for an account can keep its owner from signing in anew
  (not from using the tokens and keys that they have).
"""

import asyncio
import base64
import hashlib
import logging
import secrets
import unicodedata
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from aiohttp import web
from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError
from msgspec import UNSET, Meta, Struct, UnsetType

from rest.http.errors import (
    RegistrationClosed,
    Unauthenticated,
    Unavailable,
    ValidationFailed,
    WrongState,
)
from rest.http.fields import Name, timestamp
from rest.http.operation import Answer, AnyOperation, Operation, Request
from rest.http.ratelimit import ClientAddress, Rate, RateLimiter
from store.database import Database
from store.errors import StoreError
from store.tenants.accounts import ApiKeys, Membership, User, Users, Workspaces

from .signing import Tokens

log = logging.getLogger(__name__)

T = TypeVar("T")

# ---------------------------------------------------------------------- passwords and attempts


MEMORY_KIB, PASSES, LANES = 19 * 1024, 2, 1
SALT_BYTES, HASH_BYTES = 16, 32
AT_ONCE, WAITING = 4, 64
MIN_CHARS, MAX_CHARS = 8, 1024


class Passwords:
    """Hashes and verifies passwords."""

    def __init__(self, *, memory_kib: int = MEMORY_KIB, passes: int = PASSES) -> None:
        self._hasher = PasswordHasher(
            passes, memory_kib, LANES, hash_len=HASH_BYTES, salt_len=SALT_BYTES, type=Type.ID
        )
        self._threads = ThreadPoolExecutor(AT_ONCE, "passwords")
        self._pending = 0
        settings = f"m={memory_kib},t={passes},p={LANES}"
        self._nobodys = f"$argon2id$v=19${settings}${_random(SALT_BYTES)}${_random(HASH_BYTES)}"

    async def hash(self, password: str) -> str:
        """The hash to store; raises Unavailable where too many are waiting."""
        return await self._run(lambda: self._hasher.hash(_normal(password)))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether the password matches the hash; None (no such user) takes as long."""
        return await self._run(lambda: self._matches(stored or self._nobodys, password))

    def outdated(self, stored: str) -> bool:
        """Whether a hash was made with other parameters than the present ones."""
        return self._hasher.check_needs_rehash(stored)

    def close(self) -> None:
        """Release the threads; what they are computing ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _matches(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, _normal(password))
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._pending >= AT_ONCE + WAITING:
            raise Unavailable("Too many people are signing in just now.", retry_after=2)
        self._pending += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._pending -= 1


def _normal(password: str) -> bytes:
    return unicodedata.normalize("NFKC", password).encode()


def _random(size: int) -> str:
    return base64.b64encode(secrets.token_bytes(size)).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class SignInRates:
    """Attempts per address, and per account: each rate of ``accounts`` counts them."""

    address: Rate = Rate(10, 60)
    accounts: Sequence[Rate] = (Rate(5, 15 * 60), Rate(12, 6 * 3600))


class SignInThrottle:
    """Counts attempts to sign in or to register."""

    def __init__(
        self, limiter: RateLimiter, address: ClientAddress, rates: SignInRates = SignInRates()
    ) -> None:
        self._limiter = limiter
        self._address = address
        self._rates = rates

    async def enter(self, http: web.Request, action: str, email: str) -> None:
        """Count an attempt; raises RateLimited where there were too many."""
        message = "Too many attempts: wait as long as Retry-After says."
        address = f"{action}:address:{self._address.of(http)}"
        await self._limiter.take(http, address, self._rates.address, message)
        for name, rate in zip(self._names(action, email), self._rates.accounts, strict=True):
            await self._limiter.take(http, name, rate, message)

    async def succeeded(self, action: str, email: str) -> None:
        """Forget the attempts for an account."""
        for name in self._names(action, email):
            await self._limiter.forget(name)

    def _names(self, action: str, email: str) -> list[str]:
        account = hashlib.sha256(email.casefold().encode()).hexdigest()[:32]
        return [f"{action}:account:{place}:{account}" for place in range(len(self._rates.accounts))]


# ---------------------------------------------------------------------- the resource


MAX_EMAIL = 320
_MAX_LOCAL, _MAX_DOMAIN, _MAX_LABEL = 64, 253, 63
_FORBIDDEN = frozenset('()<>[]:;,\\"')


def is_email(text: str) -> bool:
    """Whether ``text``, already trimmed, looks like an e-mail address."""
    local, at, domain = text.rpartition("@")
    return bool(
        at
        and 1 <= len(local) <= _MAX_LOCAL
        and 1 <= len(domain) <= _MAX_DOMAIN
        and "@" not in local
        and all(char.isprintable() and not char.isspace() for char in text)
        and not _FORBIDDEN.intersection(local)
        and all(_is_label(label) for label in domain.split("."))
    )


def _is_label(label: str) -> bool:
    return (
        1 <= len(label) <= _MAX_LABEL
        and label.replace("-", "a").isalnum()
        and not label.startswith("-")
        and not label.endswith("-")
    )


Email = Annotated[str, Meta(max_length=MAX_EMAIL)]
REGISTER, LOGIN = "register", "login"


class Register(Struct):
    """The contract's Register."""

    email: Annotated[Email, Meta(extra_json_schema={"format": "email"})]
    password: Annotated[str, Meta(min_length=MIN_CHARS, max_length=MAX_CHARS)]
    name: Name


class Login(Struct):
    """The contract's Login."""

    email: Email
    password: Annotated[str, Meta(max_length=MAX_CHARS)]


class UserView(Struct, rename="camel"):
    """A user as they see themselves."""

    id: str
    email: str
    name: str
    created_at: str


class WorkspaceView(Struct):
    """A workspace of the caller's; a key has no role in it."""

    id: str
    name: str
    role: str | UnsetType = UNSET


class AuthResult(Struct):
    """The contract's AuthResult."""

    token: str
    user: UserView
    workspaces: list[WorkspaceView]


class KeyView(Struct, rename="camel"):
    """The API key that asks."""

    id: str
    name: str
    scopes: list[str]
    expires_at: str | UnsetType = UNSET


class Me(Struct, rename="camel"):
    """Who asks: a user or an API key, or neither with an ephemeral key that was minted for nobody
    in particular; ``workspace_id`` is the workspace it counts for."""

    workspace_id: str
    workspaces: list[WorkspaceView]
    user: UserView | None = None
    api_key: KeyView | None = None


class Accounts:
    """Makes accounts and checks passwords; throttled. ``open``: whether people may create accounts
    themselves."""

    def __init__(
        self, database: Database, passwords: Passwords, throttle: SignInThrottle, *, open: bool
    ) -> None:
        self._database = database
        self._users = Users(database)
        self._passwords = passwords
        self._throttle = throttle
        self.open = open

    async def register(self, http: web.Request, asked: Register) -> User:
        """The user of a new account, with a workspace; raises ApiError."""
        if not self.open:
            raise RegistrationClosed("This server does not let people create accounts.")
        email = asked.email.strip()
        if not is_email(email):
            raise ValidationFailed("This is not an e-mail address.", param="email")
        await self._throttle.enter(http, REGISTER, email)
        hashed = await self._passwords.hash(asked.password)
        async with self._database.transaction() as connection:
            user = await Users(connection).register(email, asked.name, hashed)
            if user is not None:
                name = f"{asked.name}'s workspace" if asked.name else "Workspace"
                await Workspaces(connection).create(name, user.id)
        if user is None:
            raise WrongState(
                "There is already an account with that address: sign in instead.",
                param="email",
                reason="email_taken",
            )
        return user

    async def sign_in(self, http: web.Request, asked: Login) -> User:
        """The user whose address and password these are; raises ApiError."""
        email = asked.email.strip()
        await self._throttle.enter(http, LOGIN, email)
        user = await self._users.find_by_email(email)
        stored = user.password_hash if user is not None else None
        matches = await self._passwords.verify(stored, asked.password)
        if user is None or stored is None or not matches:
            raise Unauthenticated("The e-mail address or the password is wrong.")
        await self._throttle.succeeded(LOGIN, email)
        if self._passwords.outdated(stored):
            await self._rehash(user, stored, asked.password)
        return user

    async def _rehash(self, user: User, stored: str, password: str) -> None:
        """Store a stronger hash if possible; the sign-in does not depend on it."""
        hashed = await self._passwords.hash(password)
        try:
            await self._users.set_password_hash(user.id, stored, hashed)
        except StoreError as error:
            log.warning("the hash of %s was not renewed: %s", user.id, type(error).__name__)


class AccountResource:
    """The contract's tag Auth."""

    def __init__(self, database: Database, accounts: Accounts, tokens: Tokens) -> None:
        self._users = Users(database)
        self._workspaces = Workspaces(database)
        self._keys = ApiKeys(database)
        self._accounts = accounts
        self._tokens = tokens

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        signed: dict[str, Any] = {"data": AuthResult, "public": True}
        return [
            Operation(
                method="POST",
                path="/api/auth/register",
                tag="Auth",
                summary="Register a user + default workspace",
                handler=self._register,
                body=Register,
                outcome="Created",
                conflicts=True,
                **signed,
            ),
            Operation(
                method="POST",
                path="/api/auth/login",
                tag="Auth",
                summary="Log in",
                handler=self._login,
                body=Login,
                **signed,
            ),
            Operation(
                method="GET",
                path="/api/auth/me",
                tag="Auth",
                summary="Current user + workspaces",
                handler=self._me,
                data=Me,
            ),
        ]

    async def _register(self, request: Request[Register, None]) -> Answer:
        return await self._signed_in(await self._accounts.register(request.http, request.body))

    async def _login(self, request: Request[Login, None]) -> Answer:
        return await self._signed_in(await self._accounts.sign_in(request.http, request.body))

    async def _signed_in(self, user: User) -> Answer:
        workspaces = await self._workspaces.memberships(user.id)
        token = self._tokens.issue(user.id, user.password_number)
        shown = [workspace_view(one) for one in workspaces]
        return Answer(AuthResult(token, user_view(user), shown))

    async def _me(self, request: Request[None, None]) -> Answer:
        caller = request.caller
        if caller.user_id is not None:
            user = await self._users.get(caller.user_id)
            if user is None:
                raise Unauthenticated("The account no longer exists.")
            workspaces = await self._workspaces.memberships(user.id)
            shown = [workspace_view(one) for one in workspaces]
            return Answer(Me(caller.workspace_id, shown, user=user_view(user)))
        workspace = await self._workspaces.get(caller.workspace_id)
        if workspace is None:
            raise Unauthenticated("The key's workspace no longer exists.")
        shown = [WorkspaceView(workspace.id, workspace.name)]
        if caller.key_id is None:
            return Answer(Me(caller.workspace_id, shown))
        key = await self._keys.get(caller.workspace_id, caller.key_id)
        if key is None:
            raise Unauthenticated("The API key is not valid: it is unknown, revoked or expired.")
        until = timestamp(key.expires_at) if key.expires_at is not None else UNSET
        view = KeyView(
            id=key.id,
            name=key.name,
            scopes=key.scopes,
            expires_at=until,
        )
        return Answer(Me(caller.workspace_id, shown, api_key=view))


def user_view(user: User) -> UserView:
    """A user as they see themselves."""
    return UserView(
        id=user.id,
        email=user.email,
        name=user.name,
        created_at=timestamp(user.created_at),
    )


def workspace_view(membership: Membership) -> WorkspaceView:
    """A workspace as its member sees it."""
    return WorkspaceView(membership.workspace_id, membership.name, membership.role)
