"""The contract's tag Auth."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
import pytest

from rest.accounts import keys
from rest.accounts.accounts import AccountResource, Accounts, Passwords, SignInRates, SignInThrottle
from rest.http.ratelimit import ClientAddress, Rate, RateLimiter
from store.bus import Bus
from store.database import Database
from store.errors import DatabaseUnavailable
from store.tenants.accounts import ApiKeys, Users, Workspaces
from tests.support.rest.api_app import (
    TOKENS,
    Answered,
    Client,
    ask,
    authenticator,
    new_tenant,
    serving,
)

WIDE = SignInRates(Rate(1000, 1), (Rate(1000, 1),))
ADA = {"email": " Ada@Example.org ", "password": "correct horse", "name": "Ada"}


class CountedPasswords(Passwords):
    """Passwords with quick parameters that note what they were asked."""

    def __init__(self, **parameters: int) -> None:
        super().__init__(**({"memory_kib": 64, "passes": 1} | parameters))
        self.verified: list[str | None] = []
        self.hashed = 0

    async def verify(self, stored: str | None, password: str) -> bool:
        self.verified.append(stored)
        return await super().verify(stored, password)

    async def hash(self, password: str) -> str:
        self.hashed += 1
        return await super().hash(password)


@asynccontextmanager
async def accounts(
    database: Database,
    redis: Bus,
    passwords: Passwords,
    rates: SignInRates = WIDE,
    *,
    open: bool = True,
) -> AsyncIterator[Client]:
    throttle = SignInThrottle(RateLimiter(redis), ClientAddress(), rates)
    made = Accounts(database, passwords, throttle, open=open)
    resource = AccountResource(database, made, TOKENS)
    async with serving([resource], authenticator(database).of_request) as client:
        yield client


@pytest.fixture
def passwords() -> AsyncIterator[CountedPasswords]:  # type: ignore[misc]
    made = CountedPasswords()
    yield made
    made.close()


@pytest.fixture
async def client(
    database: Database, redis: Bus, passwords: CountedPasswords
) -> AsyncIterator[Client]:
    async with accounts(database, redis, passwords) as client:
        yield client


async def register(client: Client, **changes: Any) -> Answered:
    return await ask(client, "POST", "/api/auth/register", json={**ADA, **changes})


async def login(client: Client, email: str, password: str = ADA["password"]) -> Answered:
    body = {"email": email, "password": password}
    return await ask(client, "POST", "/api/auth/login", json=body)


async def test_a_user_registers_signs_in_and_reads_the_profile(
    client: Client, database: Database
) -> None:
    made = await register(client)
    assert made.status == 200
    user, [workspace] = made.data["user"], made.data["workspaces"]
    assert (user["email"], user["name"]) == ("Ada@Example.org", "Ada")
    assert set(user) == {"id", "email", "name", "createdAt"}
    assert (workspace["name"], workspace["role"]) == ("Ada's workspace", "owner")
    back = await login(client, "ada@EXAMPLE.org ")
    assert back.data["user"] == user
    assert back.data["workspaces"] == [workspace]
    assert jwt.decode(back.data["token"], options={"verify_signature": False})["sub"] == user["id"]
    for token in (made.data["token"], back.data["token"]):
        me = await ask(client, "GET", "/api/auth/me", token)
        assert me.data == {
            "workspaceId": workspace["id"],
            "workspaces": [workspace],
            "user": user,
            "apiKey": None,
        }
    stored = await Users(database).find_by_email("ada@example.org")
    assert stored is not None
    assert ADA["password"] not in str(stored.password_hash)


async def test_an_address_signs_in_in_any_letter_case(client: Client, database: Database) -> None:
    answers = await asyncio.gather(
        *(register(client, email=email) for email in ("a@b.org", "A@b.org", "a@B.org"))
    )
    taken = [answer for answer in answers if answer.status != 200]
    assert len(taken) == 2
    for answer in taken:
        assert answer.status == 409
        assert answer.details == {"path": "email", "reason": "email_taken"}
    assert await database.fetchval("SELECT count(*) FROM workspaces") == 1
    assert await database.fetchval("SELECT count(*) FROM users") == 1


async def test_a_refused_sign_in_reveals_nothing(
    client: Client, passwords: CountedPasswords, database: Database
) -> None:
    await register(client)
    await Users(database).create("nopassword@example.org", "No", None)
    answers = [
        await login(client, email, "wrong")
        for email in ("ada@example.org", "nobody@example.org", "nopassword@example.org", "", "@")
    ]
    assert {answer.status for answer in answers} == {401}
    assert len({str(answer.body["error"]) for answer in answers}) == 1
    assert len(passwords.verified) == 5  # the same work for every one
    assert passwords.verified.count(None) == 4


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"email": "no address"}, "email"),
        ({"email": "a@b..org"}, "email"),
        ({"email": 7}, "email"),
        ({"password": "seven77"}, "password"),
        ({"password": "x" * 1025}, "password"),
        ({"name": None}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "a\0b"}, "name"),
    ],
)
async def test_unusable_files_are_refused(
    client: Client, changes: dict[str, Any], path: str
) -> None:
    refused = await register(client, **changes)
    assert (refused.status, refused.details) == (400, {"path": path})


async def test_close_is_final(database: Database, redis: Bus, passwords: CountedPasswords) -> None:
    async with accounts(database, redis, passwords, open=False) as client:
        refused = await register(client)
    assert (refused.status, refused.body["error"]["code"]) == (403, "REGISTRATION_CLOSED")
    assert await database.fetchval("SELECT count(*) FROM users") == 0
    assert passwords.hashed == 0


async def test_a_user_without_workspace_is_never_left_behind(
    client: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> None:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(Workspaces, "create", away)
    assert (await register(client)).status == 503
    assert await database.fetchval("SELECT count(*) FROM users") == 0


async def test_too_many_attempts(
    database: Database, redis: Bus, passwords: CountedPasswords
) -> None:
    rates = SignInRates(Rate(1000, 1), (Rate(2, 600),))
    async with accounts(database, redis, passwords, rates) as client:
        await register(client)
        statuses = [(await login(client, "ada@example.org", "wrong")).status for _ in range(3)]
        refused = await login(client, "ADA@example.org")
        assert (await login(client, "other@example.org")).status == 401
    assert statuses == [401, 401, 429]
    assert refused.status == 429  # the right password, too: else it could be found
    assert 1 <= int(refused.headers["Retry-After"]) <= 300
    assert refused.headers["RateLimit-Remaining"] == "0"
    assert len(passwords.verified) == 3


async def test_success_clears_the_failures(
    database: Database, redis: Bus, passwords: CountedPasswords
) -> None:
    rates = SignInRates(Rate(1000, 1), (Rate(2, 600),))
    async with accounts(database, redis, passwords, rates) as client:
        await register(client)
        for _ in range(3):
            assert (await login(client, "ada@example.org", "wrong")).status == 401
            assert (await login(client, "ada@example.org")).status == 200


async def test_an_old_hash_is_renewed_at_sign_in(
    client: Client, database: Database, redis: Bus
) -> None:
    await register(client)
    before = await Users(database).find_by_email("ada@example.org")
    stronger = CountedPasswords(passes=2)
    async with accounts(database, redis, stronger) as later:
        for _ in range(2):
            assert (await login(later, "ada@example.org")).status == 200
    after = await Users(database).find_by_email("ada@example.org")
    stronger.close()
    assert before is not None
    assert after is not None
    assert before.password_hash != after.password_hash
    assert stronger.hashed == 1


async def test_a_hash_that_cannot_be_renewed_does_not_matter(
    client: Client, database: Database, redis: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> None:
        raise DatabaseUnavailable("away")

    await register(client)
    monkeypatch.setattr(Users, "set_password_hash", away)
    stronger = CountedPasswords(passes=2)
    async with accounts(database, redis, stronger) as later:
        assert (await login(later, "ada@example.org")).status == 200
    stronger.close()


async def test_a_key_can_read_what_it_is(client: Client, database: Database) -> None:
    tenant = await new_tenant(database, scopes=["tts:read"])
    me = await ask(client, "GET", "/api/auth/me", tenant.key)
    assert me.data == {
        "workspaceId": tenant.workspace_id,
        "workspaces": [{"id": tenant.workspace_id, "name": "Work"}],
        "user": None,
        "apiKey": {"id": tenant.key_id, "name": "test", "scopes": ["tts:read"]},
    }
    await ApiKeys(database).revoke(tenant.workspace_id, tenant.key_id)
    assert (await ask(client, "GET", "/api/auth/me", tenant.key)).status == 401
    for nobody in (None, "nonsense", keys.new_key().text, "eyJ.eyJ.x"):
        assert (await ask(client, "GET", "/api/auth/me", nobody)).status == 401


async def test_a_user_chooses_among_their_workspaces_only(
    client: Client, database: Database
) -> None:
    ours, theirs = await new_tenant(database), await new_tenant(database, "theirs@example.org")
    second = await Workspaces(database).create("Second", ours.user_id)

    async def me(credential: str, workspace_id: str) -> Answered:
        headers = {"X-Workspace-Id": workspace_id}
        return await ask(client, "GET", "/api/auth/me", credential, headers=headers)

    assert (await me(ours.token, second.id)).data["workspaceId"] == second.id
    default = (await ask(client, "GET", "/api/auth/me", ours.token)).data
    assert default["workspaceId"] == ours.workspace_id
    assert [one["id"] for one in default["workspaces"]] == [ours.workspace_id, second.id]
    refused = [
        await me(credential, name)
        for credential in (ours.token, ours.key)
        for name in (theirs.workspace_id, "ws_00000000000000000000000000", "nonsense")
    ]
    assert {answer.status for answer in refused} == {403}
    assert len({str(answer.body["error"]) for answer in refused}) == 1


async def test_a_deleted_user_is_unauthenticated(client: Client, database: Database) -> None:
    tenant = await new_tenant(database)
    assert (await ask(client, "GET", "/api/auth/me", tenant.token)).status == 200
    await database.execute("DELETE FROM users WHERE id = $1", tenant.user_id)
    assert (await ask(client, "GET", "/api/auth/me", tenant.token)).status == 401
