"""Keys become principals: looked up once, cached briefly, all refused in the same way."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp.test_utils import make_mocked_request

from rest.accounts.auth import CACHE_KEYS, CACHE_SECONDS, Authenticator, Principal, bearer_token
from rest.accounts.keys import EphemeralKeys, Grant, new_key
from rest.http.errors import Forbidden, Unauthenticated
from store.errors import DatabaseUnavailable
from store.tenants.accounts import ApiKey
from tests.support.gateway.http_support import MemoryBus, MemoryKeys


class Setup:
    def __init__(self) -> None:
        self.bus = MemoryBus()
        self.keys = MemoryKeys()
        self.ephemeral = EphemeralKeys(self.bus, lambda: self.bus.now)
        self.authenticator = Authenticator(self.keys, self.ephemeral, lambda: self.bus.now)


@pytest.fixture
def setup() -> Setup:
    return Setup()


async def test_an_api_key_names_its_workspace_and_is_looked_up_once(setup: Setup) -> None:
    key = setup.keys.add("ws_7", ("agents:write",))
    for _ in range(3):
        principal = await setup.authenticator.authenticate(key)
        assert (principal.workspace_id, principal.kind) == ("ws_7", "api_key")
        assert principal.scopes == ("agents:write",)
    assert setup.keys.lookups == 1


async def test_a_revoked_key_works_no_longer_than_the_cache(setup: Setup) -> None:
    key = setup.keys.add()
    await setup.authenticator.authenticate(key)
    setup.keys.records.clear()
    await setup.authenticator.authenticate(key)
    setup.bus.now += CACHE_SECONDS
    with pytest.raises(Unauthenticated):
        await setup.authenticator.authenticate(key)


async def test_unknown_keys_are_cached_too_and_the_cache_is_bounded(setup: Setup) -> None:
    key = new_key().text
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            await setup.authenticator.authenticate(key)
    assert setup.keys.lookups == 1
    for _ in range(CACHE_KEYS):
        with pytest.raises(Unauthenticated):
            await setup.authenticator.authenticate(new_key().text)
    assert len(setup.authenticator._cache) == CACHE_KEYS


@pytest.mark.parametrize(
    "token", [None, "", "blab_sk_", "blab_sk_" + "0" * 38, "x" * 10_000, "ek_é"]
)
async def test_a_malformed_key_costs_no_lookup(setup: Setup, token: str | None) -> None:
    with pytest.raises(Unauthenticated) as caught:
        await setup.authenticator.authenticate(token)
    assert setup.keys.lookups == 0
    assert not token or token not in caught.value.message


async def test_an_ephemeral_key_brings_its_session(setup: Setup) -> None:
    session = {"instructions": "Only tea."}
    minted = await setup.ephemeral.mint(Grant("ws_3", "agt_1", session))
    principal = await setup.authenticator.authenticate(minted.value)
    assert (principal.workspace_id, principal.agent_id) == ("ws_3", "agt_1")
    assert (principal.kind, principal.session) == ("ephemeral", session)


async def test_a_request_does_not_depend_on_storing_the_last_use(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    async def away(workspace_id: str, key_id: str) -> None:
        raise DatabaseUnavailable("away")

    key = setup.keys.add()
    setup.keys.touch = away
    assert await setup.authenticator.authenticate(key)
    assert "DatabaseUnavailable" in caplog.text
    assert key not in caplog.text


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Basic abc", None),
        ("Bearer ", None),
        (None, None),
    ],
)
def test_bearer_token(header: str | None, token: str | None) -> None:
    assert bearer_token(header) == token


async def test_a_revoked_key_ends_at_once_where_it_was_revoked(setup: Setup) -> None:
    key, other = setup.keys.add(), setup.keys.add()
    found = await setup.authenticator.authenticate(key)
    await setup.authenticator.authenticate(other)
    setup.keys.records.clear()
    setup.authenticator.forget(found.key_id or "")
    with pytest.raises(Unauthenticated):
        await setup.authenticator.authenticate(key)
    await setup.authenticator.authenticate(other)


async def test_a_key_revoked_while_it_is_looked_up_is_not_remembered(setup: Setup) -> None:
    key = setup.keys.add()
    find = setup.keys.find_by_digest

    async def revoked_meanwhile(digest: bytes) -> ApiKey | None:
        found = await find(digest)
        setup.keys.records.clear()
        setup.authenticator.forget("key_0")
        return found

    setup.keys.find_by_digest = revoked_meanwhile
    await setup.authenticator.authenticate(key)
    with pytest.raises(Unauthenticated):
        await setup.authenticator.authenticate(key)


async def test_a_key_is_not_remembered_beyond_its_expiry(setup: Setup) -> None:
    key = setup.keys.add()
    digest, record = setup.keys.records.popitem()
    soon = datetime.now(UTC) + timedelta(seconds=CACHE_SECONDS / 2)
    setup.keys.records[digest] = replace(record, expires_at=soon)
    await setup.authenticator.authenticate(key)
    setup.keys.records.clear()
    setup.bus.now += CACHE_SECONDS / 2
    with pytest.raises(Unauthenticated):
        await setup.authenticator.authenticate(key)


async def test_with_a_key_only_its_own_workspace_may_be_named(setup: Setup) -> None:
    key = setup.keys.add("ws_7")
    assert (await setup.authenticator.authenticate(key, "ws_7")).workspace_id == "ws_7"
    for name in ("ws_8", ""):
        with pytest.raises(Forbidden):
            await setup.authenticator.authenticate(key, name)


async def test_a_token_is_checked_by_the_users_alone(setup: Setup) -> None:
    class Users:
        async def principal(self, token: str, workspace_id: str | None) -> Principal:
            return Principal(workspace_id or "oldest", "user", user_id=token)

    authenticator = Authenticator(setup.keys, setup.ephemeral, users=Users())
    headers = {"Authorization": "Bearer eyJ.a.b", "X-Workspace-Id": "ws_2"}
    principal = await authenticator.of_request(make_mocked_request("GET", "/", headers))
    assert (principal.workspace_id, principal.user_id) == ("ws_2", "eyJ.a.b")
    with pytest.raises(Unauthenticated):
        await authenticator.of_request(make_mocked_request("GET", "/"))
    with pytest.raises(Unauthenticated):
        await setup.authenticator.authenticate("eyJ.a.b")
