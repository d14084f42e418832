"""Requests are counted in the real Valkey, reported, and let through while it is unreachable."""

import asyncio
import logging

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from rest.accounts.auth import Principal
from rest.http.endpoint import EndpointOptions
from rest.http.errors import RateLimited, Unauthenticated
from rest.http.operation import Answer, Operation, Request
from rest.http.ratelimit import REST_SECONDS, SHOWN, ClientAddress, Rate, RateLimiter, RequestRates
from store.bus import Bus, Taken
from store.errors import BusUnavailable
from tests.support.rest.api_app import Listed, ask, serving

RATE = Rate(3, 60)


class Away:
    """Counters that fail, and count how often they were asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def take(self, key: str, limit: int, seconds: float) -> Taken:
        self.asked += 1
        raise BusUnavailable("away")

    async def delete(self, key: str) -> None:
        self.asked += 1
        raise BusUnavailable("away")


async def authenticate(http: web.Request) -> Principal:
    key = http.headers.get("Authorization", "").removeprefix("Bearer ")
    if not key:
        raise Unauthenticated("No key.")
    return Principal("ws", "api_key", key_id=key)


async def nothing(request: Request) -> Answer:
    return Answer({})


async def stream(request: Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request.http)
    return response


RESOURCE = Listed(
    [
        Operation(
            method="GET",
            path="/x",
            tag="T",
            summary="",
            handler=nothing,
        ),
        Operation(
            method="GET",
            path="/stream",
            tag="T",
            summary="",
            handler=stream,
        ),
        Operation(
            method="GET",
            path="/open",
            tag="T",
            summary="",
            handler=nothing,
            public=True,
        ),
    ]
)


def options(bus: Bus) -> EndpointOptions:
    return EndpointOptions(rates=RequestRates(RateLimiter(bus), RATE, ClientAddress()))


async def test_a_key_has_its_own_quota_and_answers_report_it(redis: Bus) -> None:
    async with serving([RESOURCE], authenticate, options(redis)) as client:
        answers = [await ask(client, "GET", "/x", "one") for _ in range(4)]
        assert (await ask(client, "GET", "/x", "two")).status == 200
        async with client.get("/stream", headers={"Authorization": "Bearer three"}) as streamed:
            assert streamed.headers["RateLimit-Remaining"] == "2"
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    shown = [answer.headers for answer in answers]
    assert [headers["RateLimit-Remaining"] for headers in shown] == ["2", "1", "0", "0"]
    assert {headers["RateLimit-Limit"] for headers in shown} == {"3"}
    resets = [int(headers["RateLimit-Reset"]) for headers in shown]
    assert resets == pytest.approx([20, 40, 60, 60], abs=5)
    assert 1 <= int(shown[3]["Retry-After"]) <= 20
    assert answers[3].body["error"]["code"] == "RATE_LIMITED"


async def test_without_a_key_the_address_is_counted(redis: Bus) -> None:
    async with serving([RESOURCE], authenticate, options(redis)) as client:
        statuses = [(await ask(client, "GET", path)).status for path in ("/open", "/x", "/x", "/x")]
        assert (await ask(client, "GET", "/open")).status == 429
        assert (await ask(client, "GET", "/x", "one")).status == 200
    assert statuses == [200, 401, 401, 429]


async def test_many_at_once_are_counted_exactly(redis: Bus) -> None:
    async with serving([RESOURCE], authenticate, options(redis)) as client:
        answers = await asyncio.gather(*(ask(client, "GET", "/x", "one") for _ in range(20)))
    assert sum(answer.status == 200 for answer in answers) == 3


async def test_an_outage_lets_everybody_through_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = [0.0]
    away = Away()
    limiter = RateLimiter(away, lambda: now[0])
    http = make_mocked_request("GET", "/")
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            await limiter.take(http, "k", RATE, "No.")
        assert away.asked == 1
        now[0] += REST_SECONDS
        await limiter.take(http, "k", RATE, "No.")
        now[0] += REST_SECONDS
        await limiter.forget("k")
    assert away.asked == 3
    assert len(caplog.records) == 1
    assert SHOWN not in http


async def test_the_rate_nearest_to_its_limit_is_reported(redis: Bus) -> None:
    http = make_mocked_request("GET", "/")
    limiter = RateLimiter(redis)
    await limiter.take(http, "wide", Rate(100, 60), "No.")
    await limiter.take(http, "narrow", Rate(1, 60), "No.")
    await limiter.take(http, "wide", Rate(100, 60), "No.")
    assert http[SHOWN][0] == Rate(1, 60)
    with pytest.raises(RateLimited):
        await limiter.take(http, "narrow", Rate(1, 60), "No.")
    await limiter.forget("narrow")
    await limiter.take(http, "narrow", Rate(1, 60), "No.")
