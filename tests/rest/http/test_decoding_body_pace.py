"""The pace of a body."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from rest.http import decoding as body_pace
from rest.http.decoding import BodyPace, read_whole
from rest.http.errors import PayloadTooLarge, RequestTimeout


class Body:
    """Pieces that come after a while, of so many bytes each."""

    def __init__(self) -> None:
        self.received = 0

    async def piece(self, after: float, size: int) -> int:
        await asyncio.sleep(after)
        self.received += size
        return size


async def test_nothing_for_too_long_is_refused():
    body = Body()
    pace = BodyPace(0.05, 0, lambda: body.received)
    assert await pace.keep(body.piece(0, 5)) == 5
    with pytest.raises(RequestTimeout, match=r"Nothing arrived for 0\.05 seconds"):
        await pace.keep(body.piece(60, 5))


async def test_too_low_an_average_rate_is_refused():
    body = Body()
    pace = BodyPace(0.3, 1000, lambda: body.received)
    with pytest.raises(RequestTimeout, match="more slowly than 1000 bytes per second"):
        await read_all(pace, body, 1)
    assert body.received < 20


async def test_a_sufficient_average_rate_is_accepted():
    body = Body()
    await read_all(BodyPace(0.3, 1000, lambda: body.received), body, 1000)
    assert body.received == 20_000


async def read_all(pace: BodyPace, body: Body, size: int) -> None:
    for _ in range(20):
        assert await pace.keep(body.piece(0.03, size)) == size


class Dripping:
    """A request whose body comes byte by byte, one every ``after`` seconds, ``size`` in all."""

    content_length = None

    def __init__(self, after: float, size: int) -> None:
        self.content: Any = SimpleNamespace(total_bytes=0, readany=self._next)
        self._after = after
        self._size = size

    async def _next(self) -> bytes:
        await asyncio.sleep(self._after)
        if self.content.total_bytes == self._size:
            return b""
        self.content.total_bytes += 1
        return b"x"


async def test_bodies_are_read_whole_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await read_whole(Dripping(0, 5), 5) == b"xxxxx"
    with pytest.raises(PayloadTooLarge, match="longer than 4 bytes"):
        await read_whole(Dripping(0, 5), 4)
    monkeypatch.setattr(body_pace, "STALL_SECONDS", 0.1)
    with pytest.raises(RequestTimeout, match="more slowly than 1000 bytes per second"):
        await read_whole(Dripping(0.02, 10_000), 10_000)
    monkeypatch.setattr(body_pace, "WHOLE_SECONDS", 0.05)
    with pytest.raises(RequestTimeout, match=r"did not arrive within 0\.05 seconds"):
        await read_whole(Dripping(0.02, 10_000), 10_000)
