"""The pace of a body."""

import asyncio

import pytest

from rest.body_pace import BodyPace
from rest.errors import RequestTimeout


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
    with pytest.raises(RequestTimeout, match=r"Nothing came for 0\.05 seconds"):
        await pace.keep(body.piece(60, 5))


async def test_too_little_on_the_average_is_refused():
    body = Body()
    pace = BodyPace(0.3, 1000, lambda: body.received)
    with pytest.raises(RequestTimeout, match="slower than 1000 bytes per second"):
        await read_all(pace, body, 1)
    assert body.received < 20


async def test_enough_on_the_average_is_not():
    body = Body()
    await read_all(BodyPace(0.3, 1000, lambda: body.received), body, 1000)
    assert body.received == 20_000


async def read_all(pace: BodyPace, body: Body, size: int) -> None:
    for _ in range(20):
        assert await pace.keep(body.piece(0.03, size)) == size
