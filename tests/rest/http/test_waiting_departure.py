"""Work for a client that leaves is cancelled."""

import asyncio
from typing import Any, cast

import pytest
from aiohttp import web

from rest.http.errors import Unavailable
from rest.http.waiting import unless_gone


class Transport:
    closing = False

    def is_closing(self) -> bool:
        return self.closing


class Http:
    def __init__(self) -> None:
        self.transport: Transport | None = Transport()


class Work:
    def __init__(self) -> None:
        self.begun, self.ended = asyncio.Event(), asyncio.Event()

    async def run(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()


def request(http: Http) -> web.Request:
    return cast("web.Request", http)


async def test_it_finishes_for_a_client_that_stays() -> None:
    async def answer() -> int:
        return 42

    async def fail() -> int:
        raise ValueError("no")

    assert await unless_gone(request(Http()), answer()) == 42
    with pytest.raises(ValueError, match="no"):
        await unless_gone(request(Http()), fail())


@pytest.mark.parametrize("how", ["closing", "lost"])
async def test_it_ends_when_the_client_goes(how: str) -> None:
    http, work = Http(), Work()
    waiting = asyncio.create_task(unless_gone(request(http), work.run()))
    await work.begun.wait()
    if how == "lost":
        http.transport = None
    else:
        cast("Any", http.transport).closing = True
    async with asyncio.timeout(5):
        with pytest.raises(Unavailable, match="left"):
            await waiting
    assert work.ended.is_set()


async def test_it_is_cancelled_with_its_waiter() -> None:
    work = Work()
    waiting = asyncio.create_task(unless_gone(request(Http()), work.run()))
    await work.begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert work.ended.is_set()
