"""Tokens become principals of the named workspace, or of the oldest."""

import pytest

from rest.accounts.auth import CACHE_USERS, MEMBERSHIP_SECONDS, SignedIn
from rest.accounts.signing import Tokens
from rest.http.errors import Forbidden, Unauthenticated
from store.tenants.accounts import Membership, Standing

TOKENS = Tokens(b"s" * 32)


class Directory:
    def __init__(self) -> None:
        self.known = {
            "usr_1": [Membership("ws_a", "A", "owner"), Membership("ws_b", "B", "member")]
        }
        self.password_number = 1
        self.lookups = 0

    async def standing(self, user_id: str) -> Standing | None:
        self.lookups += 1
        mine = self.known.get(user_id)
        return Standing(self.password_number, list(mine)) if mine else None


class Setup:
    def __init__(self) -> None:
        self.now = 0.0
        self.directory = Directory()
        self.users = SignedIn(TOKENS, self.directory, lambda: self.now)


@pytest.fixture
def setup() -> Setup:
    return Setup()


async def test_the_named_workspace_or_the_oldest(setup: Setup) -> None:
    token = TOKENS.issue("usr_1")
    for named, chosen in ((None, "ws_a"), ("ws_b", "ws_b"), ("ws_a", "ws_a")):
        principal = await setup.users.principal(token, named)
        assert (principal.kind, principal.user_id) == ("user", "usr_1")
        assert principal.workspace_id == chosen
    assert setup.directory.lookups == 1


async def test_foreign_and_absent_workspaces_are_refused_alike(setup: Setup) -> None:
    setup.directory.known["usr_2"] = [Membership("ws_c", "C", "owner")]
    messages = set()
    for name in ("ws_c", "ws_none", "", "\0"):
        with pytest.raises(Forbidden) as caught:
            await setup.users.principal(TOKENS.issue("usr_1"), name)
        messages.add((caught.value.message, caught.value.reason))
    assert len(messages) == 1


async def test_a_membership_ends_with_the_cache(setup: Setup) -> None:
    token = TOKENS.issue("usr_1")
    await setup.users.principal(token, None)
    setup.directory.known.clear()
    await setup.users.principal(token, None)
    setup.now += MEMBERSHIP_SECONDS
    with pytest.raises(Unauthenticated):
        await setup.users.principal(token, None)


async def test_a_new_password_ends_tokens_with_the_cache(setup: Setup) -> None:
    before, after = TOKENS.issue("usr_1", 1), TOKENS.issue("usr_1", 2)
    await setup.users.principal(before, None)
    setup.directory.password_number = 2
    await setup.users.principal(before, None)
    await setup.users.principal(after, None)  # counts at once
    with pytest.raises(Unauthenticated):
        await setup.users.principal(before, None)
    setup.now += MEMBERSHIP_SECONDS
    with pytest.raises(Unauthenticated):
        await setup.users.principal(before, None)


async def test_an_invalid_token_costs_no_lookup(setup: Setup) -> None:
    with pytest.raises(Unauthenticated):
        await setup.users.principal("eyJ.eyJ.x", None)
    assert setup.directory.lookups == 0


async def test_the_cache_is_bounded(setup: Setup) -> None:
    for number in range(CACHE_USERS + 5):
        with pytest.raises(Unauthenticated):
            await setup.users.principal(TOKENS.issue(f"usr_{number + 10}"), None)
    assert len(setup.users._cache) == CACHE_USERS
