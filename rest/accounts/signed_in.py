"""SignedIn: users' tokens become principals of one of their workspaces.

What a user is a member of is remembered for ``CACHE_SECONDS``; a membership that ended works that
much longer. A user who is a member of nothing (any more) is as unknown as one that never was.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

from rest.http.errors import Unauthenticated
from store.tenants.workspaces import Membership

from .auth import Principal, not_a_member
from .tokens import InvalidToken, Tokens

CACHE_SECONDS = 10.0
CACHE_USERS = 1024


class MembershipDirectory(Protocol):
    """What is needed of store.tenants.workspaces."""

    async def memberships(self, user_id: str) -> list[Membership]: ...


class SignedIn:
    """The users who signed in."""

    def __init__(
        self,
        tokens: Tokens,
        directory: MembershipDirectory,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tokens = tokens
        self._directory = directory
        self._clock = clock
        self._cache: OrderedDict[str, tuple[float, Sequence[Membership]]] = OrderedDict()

    async def principal(self, token: str, workspace_id: str | None) -> Principal:
        """The user of a token, in the workspace that they name or else in their oldest one.

        Raises Unauthenticated, Forbidden where it is not theirs, or StoreUnavailable."""
        try:
            user_id = self._tokens.user_of(token)
        except InvalidToken as error:
            raise _invalid() from error
        mine = [one.workspace_id for one in await self._memberships(user_id)]
        if not mine:
            raise _invalid()
        if workspace_id is not None and workspace_id not in mine:
            raise not_a_member()
        return Principal(workspace_id or mine[0], "user", user_id=user_id)

    async def _memberships(self, user_id: str) -> Sequence[Membership]:
        now = self._clock()
        known = self._cache.get(user_id)
        if known is not None and known[0] > now:
            return known[1]
        found = await self._directory.memberships(user_id)
        self._cache[user_id] = (now + CACHE_SECONDS, found)
        self._cache.move_to_end(user_id)
        while len(self._cache) > CACHE_USERS:
            self._cache.popitem(last=False)
        return found


def _invalid() -> Unauthenticated:
    return Unauthenticated("The token is not valid or has expired: sign in again.")
