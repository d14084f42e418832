"""Ephemeral keys: bound, expiring; neither they nor their grants are stored in plain text."""

import asyncio
import uuid

import pytest

from rest.accounts.keys import DEFAULT_SECONDS, EphemeralKeys, Grant, ephemeral_key_of
from tests.support.gateway.http_support import MemoryBus


async def test_a_key_grants_what_it_was_minted_for_until_it_expires() -> None:
    bus = MemoryBus()
    keys = EphemeralKeys(bus, lambda: bus.now)
    grant = Grant("ws_1", "agt_1", {"audio": {"output": {"voice": "amy"}}})
    key = await keys.mint(grant)
    assert key.expires_at == bus.now + DEFAULT_SECONDS
    assert await keys.find(key.value) == grant
    assert await keys.find(key.value) == grant
    bus.now += DEFAULT_SECONDS
    assert await keys.find(key.value) is None


async def test_a_key_can_be_spent_once_by_one_of_many() -> None:
    keys = EphemeralKeys(MemoryBus())
    grant = Grant("ws_1", "agt_1")
    value = (await keys.mint(grant)).value
    found = await asyncio.gather(*(keys.spend(value) for _ in range(5)))
    assert found.count(grant) == 1
    assert found.count(None) == 4
    assert await keys.find(value) is None


async def test_an_expired_or_overlong_key_cannot_be_spent() -> None:
    bus = MemoryBus()
    keys = EphemeralKeys(bus, lambda: bus.now)
    value = (await keys.mint(Grant("ws_1"))).value
    bus.now += DEFAULT_SECONDS
    assert await keys.spend(value) is None
    assert await keys.spend("ek_" + "x" * 10_000) is None


async def test_a_key_fits_into_a_uuid() -> None:
    value = (await EphemeralKeys(MemoryBus()).mint(Grant("ws_1"))).value
    assert ephemeral_key_of(uuid.UUID(hex=value.removeprefix("ek_"))) == value


async def test_the_key_is_neither_stored_nor_shown() -> None:
    bus = MemoryBus()
    key = await EphemeralKeys(bus).mint(Grant("ws_1", session={"headers": "Bearer hush"}))
    assert key.value.removeprefix("ek_") not in str(bus.values)
    assert key.value not in repr(key)
    assert "hush" not in str(bus.values)


async def test_a_changed_grant_grants_nothing(caplog: pytest.LogCaptureFixture) -> None:
    bus = MemoryBus()
    keys = EphemeralKeys(bus)
    key = await keys.mint(Grant("ws_1"))
    [place] = bus.values
    await bus.put(place, b'{"workspace_id":"ws_2"}', 60)
    assert await keys.find(key.value) is None
    assert "refused" in caplog.text


async def test_two_keys_differ() -> None:
    keys = EphemeralKeys(MemoryBus())
    assert (await keys.mint(Grant("ws_1"))).value != (await keys.mint(Grant("ws_1"))).value


@pytest.mark.parametrize("value", ["ek_", "ek_unknown", "ek_" + "x" * 10_000])
async def test_what_was_never_minted_grants_nothing(value: str) -> None:
    assert await EphemeralKeys(MemoryBus()).find(value) is None


@pytest.mark.parametrize("seconds", [9, 7201])
async def test_a_lifetime_has_bounds(seconds: int) -> None:
    with pytest.raises(ValueError, match="10 to 7200"):
        await EphemeralKeys(MemoryBus()).mint(Grant("ws_1"), seconds)
