"""Accounts as a resource: people sign up, sign in and see who they are.

Rules
- How long a refused sign-in takes, what it says and how often it may be tried do not depend on
  whether the account exists.
- Signing up cannot hide that an address is taken (no mail is sent that could say so instead): the
  refusal says it, after the same work as a success, and is throttled. Operators who mind keep
  registration closed.
- A user and their first workspace are made together or not at all.
- An address is checked for one ``@``, a local part and a domain of sensible lengths and characters,
  no more: that is neither the grammar of RFC 5322 nor a proof that somebody reads it. Addresses are
  compared without regard to case and kept as written.
"""

import logging
from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from rest.http.errors import RegistrationClosed, Unauthenticated, ValidationFailed, WrongState
from rest.http.fields import Name, timestamp
from rest.http.operation import Answer, AnyOperation, Operation, Request
from store.database import Database
from store.errors import StoreError
from store.tenants.api_keys import ApiKeys
from store.tenants.users import User, Users
from store.tenants.workspaces import Membership, Workspaces

from .sign_in import MAX_CHARS, MIN_CHARS, Passwords, SignInThrottle
from .signing import Tokens

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


log = logging.getLogger(__name__)

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
    """Who asks: a user or an API key; ``workspace_id`` is the workspace it counts for."""

    workspace_id: str
    workspaces: list[WorkspaceView]
    user: UserView | None = None
    api_key: KeyView | None = None


class AccountResource:
    """The contract's tag Auth. ``open``: whether people may create accounts themselves."""

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        tokens: Tokens,
        throttle: SignInThrottle,
        *,
        open: bool,
    ) -> None:
        self._database = database
        self._users = Users(database)
        self._workspaces = Workspaces(database)
        self._keys = ApiKeys(database)
        self._passwords = passwords
        self._tokens = tokens
        self._throttle = throttle
        self._open = open

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
        if not self._open:
            raise RegistrationClosed("This server does not let people create accounts.")
        asked = request.body
        email = asked.email.strip()
        if not is_email(email):
            raise ValidationFailed("This is not an e-mail address.", param="email")
        await self._throttle.enter(request.http, REGISTER, email)
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
        return await self._signed_in(user)

    async def _login(self, request: Request[Login, None]) -> Answer:
        asked = request.body
        email = asked.email.strip()
        await self._throttle.enter(request.http, LOGIN, email)
        user = await self._users.find_by_email(email)
        stored = user.password_hash if user is not None else None
        matches = await self._passwords.verify(stored, asked.password)
        if user is None or stored is None or not matches:
            raise Unauthenticated("The e-mail address or the password is wrong.")
        await self._throttle.succeeded(LOGIN, email)
        if self._passwords.outdated(stored):
            await self._rehash(user, stored, asked.password)
        return await self._signed_in(user)

    async def _rehash(self, user: User, stored: str, password: str) -> None:
        """Store a stronger hash if possible; the sign-in does not depend on it."""
        hashed = await self._passwords.hash(password)
        try:
            await self._users.set_password_hash(user.id, stored, hashed)
        except StoreError as error:
            log.warning("the hash of %s was not renewed: %s", user.id, type(error).__name__)

    async def _signed_in(self, user: User) -> Answer:
        workspaces = await self._workspaces.memberships(user.id)
        token = self._tokens.issue(user.id)
        return Answer(AuthResult(token, _user(user), [_workspace(one) for one in workspaces]))

    async def _me(self, request: Request[None, None]) -> Answer:
        caller = request.caller
        if caller.user_id is not None:
            user = await self._users.get(caller.user_id)
            if user is None:
                raise Unauthenticated("The account no longer exists.")
            workspaces = await self._workspaces.memberships(user.id)
            shown = [_workspace(one) for one in workspaces]
            return Answer(Me(caller.workspace_id, shown, user=_user(user)))
        workspace = await self._workspaces.get(caller.workspace_id)
        key = await self._keys.get(caller.workspace_id, caller.key_id or "")
        if workspace is None or key is None:
            raise Unauthenticated("The API key is not valid: it is unknown, revoked or expired.")
        until = timestamp(key.expires_at) if key.expires_at is not None else UNSET
        shown = [WorkspaceView(workspace.id, workspace.name)]
        view = KeyView(
            id=key.id,
            name=key.name,
            scopes=key.scopes,
            expires_at=until,
        )
        return Answer(Me(caller.workspace_id, shown, api_key=view))


def _user(user: User) -> UserView:
    return UserView(
        id=user.id,
        email=user.email,
        name=user.name,
        created_at=timestamp(user.created_at),
    )


def _workspace(membership: Membership) -> WorkspaceView:
    return WorkspaceView(membership.workspace_id, membership.name, membership.role)
