"""Keys become principals: looked up once, remembered briefly, refused alike."""

import pytest

from rest.auth import CACHE_KEYS, CACHE_SECONDS, Authenticator, bearer_token
from rest.ephemeral import EphemeralKeys, Grant
from rest.errors import Unauthenticated
from rest.keys import new_key
from store.errors import DatabaseUnavailable
from tests.gateway.http_support import MemoryBus, MemoryKeys


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


async def test_an_unknown_key_is_remembered_too_and_the_cache_is_bounded(setup: Setup) -> None:
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
async def test_what_is_no_key_costs_no_lookup(setup: Setup, token: str | None) -> None:
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


async def test_last_use_is_a_courtesy(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    async def away(workspace_id: str, key_id: str) -> None:
        raise DatabaseUnavailable("away")

    key = setup.keys.add()
    setup.keys.touch = away  # type: ignore[method-assign]
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
