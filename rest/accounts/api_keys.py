"""API keys as a resource: listed, created and shown once, revoked.

Rules: a key can grant only scopes that it holds itself, a user can grant all; what is shown of a
key later never opens anything. A revoked key ends at once on the node that revoked it, and within
``rest.accounts.auth.CACHE_SECONDS`` on the others.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from rest.http.errors import Forbidden, ValidationFailed, WrongState
from rest.http.fields import Moment, Name, parse_moment, timestamp
from rest.http.operation import Answer, AnyOperation, Operation, Request
from store.database import Database
from store.tenants.accounts import ApiKey, ApiKeys, NewApiKey

from . import keys
from .auth import Principal
from .keys import SCOPES, Scope

READ, WRITE = "api-keys:read", "api-keys:write"
MOST_KEYS = 1000
"""Live keys of a workspace at most: the list has no pages."""


class ApiKeyCreate(Struct, rename="camel"):
    """The contract's ApiKeyCreate. A key without scopes can only read who it is."""

    name: Name
    scopes: Annotated[list[Scope], Meta(max_length=1000)]
    expires_at: Moment | UnsetType = UNSET


class ApiKeyCreated(Struct):
    """The contract's ApiKeyCreated."""

    id: str
    key: Annotated[str, Meta(description="Full secret — shown ONCE.")]
    prefix: str


class ApiKeyInfo(Struct, rename="camel"):
    """The contract's ApiKeyInfo; what never happened is left out."""

    id: str
    name: str
    prefix: str
    scopes: list[str]
    created_at: str
    last_used_at: str | UnsetType = UNSET
    expires_at: str | UnsetType = UNSET


class Revoked(Struct):
    """A key that opens nothing any more."""

    id: str
    revoked: bool = True


class ApiKeyResource:
    """The contract's tag API Keys. ``forget``: called with the id of a key that was revoked."""

    def __init__(self, database: Database, forget: Callable[[str], None]) -> None:
        self._keys = ApiKeys(database)
        self._forget = forget

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        path, tag = "/api/api-keys", "API Keys"
        return [
            Operation(
                method="GET",
                path=path,
                tag=tag,
                summary="List API keys",
                handler=self._list,
                data=list[ApiKeyInfo],
                scope=READ,
            ),
            Operation(
                method="POST",
                path=path,
                tag=tag,
                summary="Create an API key (full key returned once)",
                handler=self._create,
                data=ApiKeyCreated,
                scope=WRITE,
                body=ApiKeyCreate,
                outcome="Created",
                idempotent=True,
            ),
            Operation(
                method="DELETE",
                path=f"{path}/{{id}}",
                tag=tag,
                summary="Revoke an API key",
                handler=self._revoke,
                data=Revoked,
                scope=WRITE,
                outcome="Revoked",
            ),
        ]

    async def _list(self, request: Request[None, None]) -> Answer:
        found = await self._keys.list(request.workspace_id, limit=MOST_KEYS)
        return Answer([_info(key) for key in found])

    async def _create(self, request: Request[ApiKeyCreate, None]) -> Answer:
        asked = request.body
        caller = request.caller
        scopes = list(dict.fromkeys(asked.scopes))
        _check_grant(caller, scopes)
        expires_at = _expiry(asked.expires_at) if asked.expires_at is not UNSET else None
        if await self._keys.count(caller.workspace_id) >= MOST_KEYS:
            raise WrongState(
                f"The workspace has {MOST_KEYS} keys: revoke some first.", reason="too_many_keys"
            )
        key = keys.new_key()
        new = NewApiKey(
            name=asked.name,
            prefix=key.prefix,
            digest=key.digest,
            scopes=scopes,
            expires_at=expires_at,
            created_by=caller.user_id,
        )
        stored = await self._keys.insert(caller.workspace_id, new)
        return Answer(ApiKeyCreated(stored.id, key.text, key.prefix))

    async def _revoke(self, request: Request[None, None]) -> Answer:
        if request.path() == request.caller.key_id:
            raise Forbidden(
                "A key cannot revoke itself, which would lock its owner out: use another one.",
                reason="own_key",
            )
        revoked = await request.stored("API key", self._keys.revoke)
        self._forget(revoked.id)
        return Answer(Revoked(revoked.id))


def _check_grant(caller: Principal, scopes: list[Scope]) -> None:
    held = SCOPES if caller.kind == "user" else caller.scopes
    for scope in scopes:
        if scope not in held:
            raise Forbidden(
                f"Your API key lacks the scope {scope!r} and cannot grant it.",
                param="scopes",
                reason="scope_not_held",
            )


def _expiry(text: str) -> datetime:
    try:
        moment = parse_moment(text)
    except ValueError as error:
        raise ValidationFailed(f"expiresAt: {error}.", param="expiresAt") from error
    if moment <= datetime.now(UTC):
        raise ValidationFailed(
            "expiresAt must lie in the future.",
            param="expiresAt",
            reason="in_the_past",
        )
    return moment


def _info(key: ApiKey) -> ApiKeyInfo:
    return ApiKeyInfo(
        id=key.id,
        name=key.name,
        prefix=key.prefix,
        scopes=key.scopes,
        created_at=timestamp(key.created_at),
        last_used_at=timestamp(key.last_used_at) if key.last_used_at else UNSET,
        expires_at=timestamp(key.expires_at) if key.expires_at else UNSET,
    )
