"""Attempts to sign in are counted per address and per account, and the wait grows."""

from aiohttp.test_utils import make_mocked_request

from rest.accounts.accounts import SignInRates, SignInThrottle
from rest.http.errors import RateLimited
from rest.http.ratelimit import ClientAddress, Rate, RateLimiter
from store.bus import Bus

WIDE = Rate(1000, 60)


def throttle(bus: Bus, address: Rate = WIDE, *accounts: Rate) -> SignInThrottle:
    return SignInThrottle(RateLimiter(bus), ClientAddress(), SignInRates(address, accounts))


async def attempt(throttle: SignInThrottle, email: str, remote: str = "203.0.113.1") -> int:
    """0, or the seconds to wait."""
    http = make_mocked_request("POST", "/").clone(remote=remote)
    try:
        await throttle.enter(http, "login", email)
    except RateLimited as refused:
        return refused.retry_after or 0
    return 0


async def test_one_address_trying_many_accounts_is_slowed(redis: Bus) -> None:
    tried = throttle(redis, Rate(3, 60))
    waits = [await attempt(tried, f"{number}@example.org") for number in range(4)]
    assert waits[:3] == [0, 0, 0]
    assert 1 <= waits[3] <= 20
    assert await attempt(tried, "5@example.org", "203.0.113.2") == 0


async def test_many_addresses_trying_one_account_are_slowed(redis: Bus) -> None:
    tried = throttle(redis, WIDE, Rate(2, 60))
    waits = [
        await attempt(tried, email, f"203.0.113.{number}")
        for number, email in enumerate(("a@b.org", "A@b.org", "a@B.ORG"))
    ]
    assert waits[:2] == [0, 0]
    assert waits[2] > 0
    assert await attempt(tried, "other@b.org") == 0


async def test_success_clears_the_account_and_not_the_address(redis: Bus) -> None:
    tried = throttle(redis, Rate(4, 60), Rate(2, 60), Rate(3, 600))
    assert [await attempt(tried, "a@b.org") for _ in range(2)] == [0, 0]
    await tried.succeeded("login", "A@b.org")
    assert [await attempt(tried, "a@b.org") for _ in range(2)] == [0, 0]
    assert await attempt(tried, "c@b.org") > 0


async def test_the_wait_grows(redis: Bus) -> None:
    tried = throttle(redis, WIDE, Rate(4, 0.04), Rate(5, 3600))
    waits = []
    for _ in range(40):
        waits.append(await attempt(tried, "a@b.org"))
        if waits[-1] > 1:
            break
    assert 600 < waits[-1] <= 720


async def test_redis_holds_no_addresses_in_plain_text(redis: Bus) -> None:
    await attempt(throttle(redis, WIDE, Rate(2, 60)), "a@b.org")
    keys = await redis._redis.keys(redis._prefix + "rate:*")
    assert len(keys) == 2
    assert not any(b"b.org" in key for key in keys)
