"""Claims of idempotency keys: one holder, a lease, an answer that lasts a day."""

import asyncio
from dataclasses import replace

import pytest

from store.database import Database
from store.tenants.accounts import Users, Workspaces
from store.tenants.idempotency import Claim, Claimed, IdempotencyKeys

FIRST = Claim(
    route="POST /x",
    key=b"k" * 32,
    fingerprint=b"f" * 32,
    claimed_by="req_1",
)
TWIN = replace(FIRST, claimed_by="req_2")
OTHER = replace(TWIN, fingerprint=b"o" * 32)


@pytest.fixture
async def workspaces(database: Database) -> list[str]:
    """Ids of two workspaces, ours and a stranger's."""
    made = []
    for name in ("ours", "theirs"):
        user = await Users(database).create(f"{name}@example.org", name, None)
        made.append((await Workspaces(database).create(name, user.id)).id)
    return made


async def test_one_of_many_claimants_wins(database: Database, workspaces: list[str]) -> None:
    keys, (ours, _) = IdempotencyKeys(database), workspaces
    claims = [replace(FIRST, claimed_by=f"req_{number}") for number in range(8)]
    held = await asyncio.gather(*(keys.claim(ours, claim, 30) for claim in claims))
    assert sum(held) == 1


async def test_only_its_holder_renews_keeps_and_releases(
    database: Database, workspaces: list[str]
) -> None:
    keys, (ours, theirs) = IdempotencyKeys(database), workspaces
    assert await keys.claim(ours, FIRST, 30)
    for workspace_id, claim in ((ours, TWIN), (theirs, FIRST)):
        assert not await keys.renew(workspace_id, claim, 30)
        assert not await keys.keep(workspace_id, claim, b"mine")
        await keys.release(workspace_id, claim)
    assert await keys.find(ours, TWIN) == Claimed(FIRST.fingerprint, None)
    assert await keys.find(theirs, FIRST) is None
    assert await keys.renew(ours, FIRST, 30)
    assert await keys.keep(ours, FIRST, b"answer")
    assert not await keys.keep(ours, FIRST, b"again")
    assert not await keys.renew(ours, FIRST, 30)
    await keys.release(ours, FIRST)
    assert await keys.find(ours, TWIN) == Claimed(FIRST.fingerprint, b"answer")
    assert await keys.claim(theirs, FIRST, 30)
    assert await keys.claim(ours, replace(FIRST, route="POST /y"), 30)


async def test_an_expired_claim_goes_to_the_same_request_only(
    database: Database, workspaces: list[str]
) -> None:
    keys, (ours, _) = IdempotencyKeys(database), workspaces
    assert await keys.claim(ours, FIRST, -1)
    assert not await keys.claim(ours, OTHER, 30)
    assert await keys.claim(ours, TWIN, 30)
    assert not await keys.keep(ours, FIRST, b"late")
    assert await keys.keep(ours, TWIN, b"answer")


async def test_after_a_day_it_is_a_new_key(database: Database, workspaces: list[str]) -> None:
    keys, (ours, _) = IdempotencyKeys(database), workspaces
    await keys.claim(ours, FIRST, 30)
    await keys.keep(ours, FIRST, b"answer")
    age = "UPDATE idempotency_keys SET created_at = now() - make_interval(hours => $1, mins => $2)"
    await database.execute(age, 23, 59)
    assert not await keys.claim(ours, OTHER, 30)
    await database.execute(age, 24, 1)
    assert await keys.claim(ours, OTHER, 30)
    assert await keys.find(ours, OTHER) == Claimed(OTHER.fingerprint, None)
    assert not await keys.claim(ours, FIRST, 30)
