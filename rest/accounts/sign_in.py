"""Signing in with a browser: the cookie that a page's requests carry instead of a key.

Rules
- The cookie holds 256 random bits and the id of the workspace that was chosen. Scripts cannot read
  it (HttpOnly), other sites cannot make a browser send it (SameSite=Strict), and over https it is
  ``Secure`` and bound to this host by its name (``__Host-``); there a cookie without the prefix,
  which a page over http could have set, counts for nothing.
- Redis holds whose cookie it is, under its SHA-256 and sealed with it, for ``SECONDS``: a reader of
  Redis finds no cookie. Signing out deletes that, so a copy of the cookie is worth nothing either.
- It counts only where there is no Authorization header, and only for requests of this server's own
  pages (Origin, Sec-Fetch-Site). All but GET and HEAD need the CSRF token, which ``GET /session``
  says: an HMAC of the cookie, so that only a page of this origin can know it.
- What the user may do is looked up for each request, as for a token. A new password ends the
  sign-ins made with the one before, and signing out the keys that pages got with the cookie.
"""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from aiohttp import hdrs, web
from msgspec import Meta, Struct

from rest.http.errors import Forbidden, Unauthenticated
from rest.http.operation import Answer, AnyOperation, Operation, Request
from store.bus import Bus
from store.database import Database
from store.ids import is_id
from store.tenants.accounts import User, Users

from .accounts import (
    Accounts,
    Login,
    Register,
    UserView,
    WorkspaceView,
    user_view,
    workspace_view,
)
from .auth import WORKSPACE_HEADER, Authenticator, Principal, SignedIn
from .keys import SignInGrant
from .origins import is_own_page
from .signing import Broken, Seal

SECONDS = 12 * 3600
"""How long a browser stays signed in."""
CSRF_HEADER = "X-CSRF-Token"
COOKIE, SECURE_COOKIE = "blab_sign_in", "__Host-blab_sign_in"
_RANDOM_BYTES = 32
_MAX_CHARS = 256
_SAFE = (hdrs.METH_GET, hdrs.METH_HEAD)
_SEAL = Seal("blab sign-in")


@dataclass(frozen=True, slots=True)
class Cookie:
    """What the browser sends. ``workspace_id``: the one that was chosen, if any."""

    secret: str = field(repr=False)
    workspace_id: str | None = None

    @property
    def csrf_token(self) -> str:
        """What a page's requests prove that they come from a page with."""
        digest = hmac.digest(self.secret.encode(), b"blab csrf", hashlib.sha256)
        return urlsafe_b64encode(digest).decode().rstrip("=")

    @property
    def place(self) -> str:
        """Where Redis holds whose it is."""
        return f"sign-in:{hashlib.sha256(self.secret.encode()).hexdigest()}"


def cookie_of(http: web.Request) -> Cookie | None:
    """The cookie that a request carries; None where it carries none, or not one of ours."""
    text = http.cookies.get(SECURE_COOKIE)
    if text is None and not _is_https(http):
        text = http.cookies.get(COOKIE)
    if text is None or len(text) > _MAX_CHARS or not text.isascii():
        return None
    secret, _, workspace_id = text.partition(".")
    return Cookie(secret, workspace_id if is_id(workspace_id) else None)


def cookie_header(http: web.Request, cookie: Cookie | None) -> dict[str, str]:
    """The header that makes a browser keep the cookie, or (None) forget the one it has."""
    secure = _is_https(http)
    value = f"{cookie.secret}.{cookie.workspace_id or ''}" if cookie is not None else ""
    parts = [
        f"{SECURE_COOKIE if secure else COOKIE}={value}",
        "Path=/",
        f"Max-Age={SECONDS if cookie is not None else 0}",
        "HttpOnly",
        "SameSite=Strict",
        *(["Secure"] if secure else []),
    ]
    return {hdrs.SET_COOKIE: "; ".join(parts)}


def _is_https(http: web.Request) -> bool:
    """Whether the browser reached the server over https, perhaps through a proxy. Whoever lies
    about it only gets less."""
    origin = http.headers.get(hdrs.ORIGIN)
    if origin is not None:
        return origin.lower().startswith("https:")
    return http.secure or http.headers.get(hdrs.X_FORWARDED_PROTO, "").lower() == "https"


class SignIns:
    """Which cookies are whose."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def begin(self, user: User) -> Cookie:
        """A new cookie of a user's; raises BusUnavailable."""
        cookie = Cookie(secrets.token_hex(_RANDOM_BYTES))
        content = f"{user.id} {user.password_number}"
        sealed = _SEAL.close(cookie.secret.encode(), content.encode())
        await self._bus.put(cookie.place, sealed, SECONDS)
        return cookie

    async def find(self, cookie: Cookie) -> SignInGrant | None:
        """Whose sign-in it is; None where the cookie is unknown, expired or signed out. Raises
        BusUnavailable."""
        sealed = await self._bus.get(cookie.place)
        if sealed is None:
            return None
        try:
            content = _SEAL.open(cookie.secret.encode(), sealed).decode()
        except Broken:
            return None
        user_id, _, number = content.partition(" ")
        return SignInGrant(user_id, int(number or 1), cookie.place)

    async def end(self, cookie: Cookie) -> None:
        """The cookie is worth nothing from now on, on any node; raises BusUnavailable."""
        await self._bus.delete(cookie.place)


class Browsers:
    """Authenticates requests by a key or token, or else by the cookie."""

    def __init__(self, authenticator: Authenticator, users: SignedIn, sign_ins: SignIns) -> None:
        self.authenticator = authenticator
        self.sign_ins = sign_ins
        self.users = users

    async def of_request(self, http: web.Request) -> Principal:
        """Who sent a request; raises Unauthenticated, Forbidden or StoreUnavailable."""
        cookie = None if hdrs.AUTHORIZATION in http.headers else cookie_of(http)
        if cookie is None:
            return await self.authenticator.of_request(http)
        check_page(http)
        found = await self.signed_in(http)
        if found is None:
            raise Unauthenticated(
                "You are no longer signed in: sign in again.", reason="signed_out"
            )
        if http.method not in _SAFE:
            check_csrf(http, cookie)
        return found.principal

    async def signed_in(self, http: web.Request) -> "BrowserSignIn | None":
        """Who is signed in by the cookie that a request carries, whatever the request wants; None
        where nobody is. Raises Forbidden for a workspace that is not theirs, or
        StoreUnavailable."""
        cookie = cookie_of(http)
        grant = await self.sign_ins.find(cookie) if cookie is not None else None
        if cookie is None or grant is None:
            return None
        mine = await self.users.memberships(grant.user_id, grant.password_number)
        if not mine:
            return None
        named = http.headers.get(WORKSPACE_HEADER)
        principal = self.users.member(grant.user_id, mine, named, usual=cookie.workspace_id)
        return BrowserSignIn(cookie, grant, principal)


@dataclass(frozen=True, slots=True)
class BrowserSignIn:
    """Who is signed in with a browser. ``grant``: for the keys that its pages get."""

    cookie: Cookie
    grant: SignInGrant
    principal: Principal


def check_page(http: web.Request) -> None:
    """Raise Forbidden for a request that another site's page sends."""
    if not is_own_page(http):
        raise Forbidden(
            "Only this server's own pages may use a sign-in: send an API key.",
            reason="foreign_origin",
        )


def check_csrf(http: web.Request, cookie: Cookie) -> None:
    """Raise Forbidden for a request without the cookie's CSRF token."""
    given = http.headers.get(CSRF_HEADER, "")
    if not hmac.compare_digest(given.encode("utf-8", "replace"), cookie.csrf_token.encode()):
        raise Forbidden(
            f"{CSRF_HEADER} is missing or wrong: send the csrfToken of GET /session.",
            param=CSRF_HEADER,
            reason="bad_csrf_token",
        )


# ---------------------------------------------------------------------- the resource


class BrowserSession(Struct, rename="camel"):
    """Who is signed in with this browser: nobody where ``user`` is null. ``registration``: whether
    people may create accounts themselves."""

    registration: Literal["open", "closed"]
    user: UserView | None = None
    workspaces: list[WorkspaceView] = []
    workspace_id: str | None = None
    csrf_token: Annotated[str, Meta(description="For X-CSRF-Token.")] | None = None


class WorkspaceChoice(Struct, rename="camel"):
    """The workspace that requests without X-Workspace-Id count for."""

    workspace_id: Annotated[str, Meta(max_length=200)]


class SignInResource:
    """Signing in with a browser; only for this server's own pages."""

    def __init__(self, database: Database, accounts: Accounts, browsers: Browsers) -> None:
        self._users = Users(database)
        self._accounts = accounts
        self._sign_ins = browsers.sign_ins
        self._browsers = browsers

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        shared: dict[str, Any] = {
            "path": "/session",
            "tag": "Sign-in",
            "data": BrowserSession,
            "public": True,
        }
        return [
            Operation(
                method="GET",
                summary="Who is signed in with this browser",
                handler=self._get,
                **shared,
            ),
            Operation(
                method="POST",
                summary="Sign in with this browser: sets a cookie",
                handler=self._sign_in,
                body=Login,
                **shared,
            ),
            Operation(
                method="PATCH",
                summary="Choose one of your workspaces",
                handler=self._choose,
                body=WorkspaceChoice,
                **shared,
            ),
            Operation(
                method="DELETE",
                summary="Sign out",
                handler=self._sign_out,
                **shared,
            ),
            Operation(
                method="POST",
                summary="Create an account and sign in with this browser",
                handler=self._register,
                body=Register,
                conflicts=True,
                **shared | {"path": "/session/account"},
            ),
        ]

    async def _get(self, request: Request[None, None]) -> Answer:
        check_page(request.http)
        found = await self._browsers.signed_in(request.http)
        if found is None:
            return Answer(self._nobody())
        return Answer(await self._somebody(found.grant, found.cookie, found.principal.workspace_id))

    async def _sign_in(self, request: Request[Login, None]) -> Answer:
        check_page(request.http)
        user = await self._accounts.sign_in(request.http, request.body)
        return await self._begin(request.http, user)

    async def _register(self, request: Request[Register, None]) -> Answer:
        check_page(request.http)
        user = await self._accounts.register(request.http, request.body)
        return await self._begin(request.http, user)

    async def _begin(self, http: web.Request, user: User) -> Answer:
        if (before := cookie_of(http)) is not None:
            await self._sign_ins.end(before)
        cookie = await self._sign_ins.begin(user)
        grant = SignInGrant(user.id, user.password_number, cookie.place)
        return Answer(await self._somebody(grant, cookie), headers=cookie_header(http, cookie))

    async def _choose(self, request: Request[WorkspaceChoice, None]) -> Answer:
        found, chosen = await self._protected(request.http), request.body.workspace_id
        mine = await self._browsers.users.fresh_memberships(
            found.grant.user_id, found.grant.password_number
        )
        if chosen not in [one.workspace_id for one in mine]:
            raise Forbidden(
                "You are not a member of that workspace.",
                param="workspaceId",
                reason="not_a_member",
            )
        cookie = Cookie(found.cookie.secret, chosen)
        data = await self._somebody(found.grant, cookie, chosen)
        return Answer(data, headers=cookie_header(request.http, cookie))

    async def _sign_out(self, request: Request[None, None]) -> Answer:
        found = await self._protected(request.http)
        await self._sign_ins.end(found.cookie)
        return Answer(self._nobody(), headers=cookie_header(request.http, None))

    async def _protected(self, http: web.Request) -> BrowserSignIn:
        """Who sends a request that changes something; raises Unauthenticated or Forbidden."""
        check_page(http)
        found = await self._browsers.signed_in(http)
        if found is None:
            raise Unauthenticated("Nobody is signed in with this browser.", reason="signed_out")
        check_csrf(http, found.cookie)
        return found

    def _nobody(self) -> BrowserSession:
        return BrowserSession("open" if self._accounts.open else "closed")

    async def _somebody(
        self, grant: SignInGrant, cookie: Cookie, workspace_id: str | None = None
    ) -> BrowserSession:
        user = await self._users.get(grant.user_id)
        mine = await self._browsers.users.fresh_memberships(grant.user_id, grant.password_number)
        if user is None or not mine:
            return self._nobody()
        return BrowserSession(
            "open" if self._accounts.open else "closed",
            user_view(user),
            [workspace_view(one) for one in mine],
            workspace_id or mine[0].workspace_id,
            cookie.csrf_token,
        )
