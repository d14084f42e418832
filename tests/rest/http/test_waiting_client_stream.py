"""A stream to a client: a client that reads nothing is cut off, one that leaves is noticed."""

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from rest.http import waiting as client_stream
from rest.http.errors import ProviderFailed
from rest.http.operation import EVENT_STREAM
from rest.http.waiting import ClientGone, ClientStream

Serve = Callable[[ClientStream], Awaitable[None]]


def server_of(serve: Serve, content_type: str = EVENT_STREAM) -> TestServer:
    async def handle(http: web.Request) -> web.StreamResponse:
        stream = ClientStream(http, content_type)
        await serve(stream)
        return stream.response

    app = web.Application()
    app.router.add_get("/", handle)
    return TestServer(app)


async def test_a_client_that_reads_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_stream, "WRITE_SECONDS", 0.05)
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def serve(stream: ClientStream) -> None:
        await stream.begin()
        sent = 0
        try:
            while True:
                await stream.write(bytes(65536))
                sent += 65536
        except ClientGone:
            ended.set_result(sent)

    async with server_of(serve, "audio/pcm") as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(10):
            assert await ended < 64 * 2**20  # what the system's buffers hold
        writer.close()
        assert reader is not None


async def test_events_and_an_end() -> None:
    async def serve(stream: ClientStream) -> None:
        assert not stream.begun
        await stream.begin()
        assert stream.begun
        await stream.event({"said": "hé"})
        await stream.write(b"")
        await stream.end()

    async with (
        server_of(serve) as server,
        aiohttp.ClientSession() as http,
        http.get(server.make_url("/")) as answer,
    ):
        assert await answer.text() == 'data: {"said":"hé"}\n\n'


@pytest.mark.parametrize("content_type", [EVENT_STREAM, "audio/pcm"])
async def test_no_cache_keeps_a_stream_and_no_proxy_holds_it_back(content_type: str) -> None:
    async def serve(stream: ClientStream) -> None:
        await stream.begin()
        await stream.end()

    async with (
        server_of(serve, content_type) as server,
        aiohttp.ClientSession() as http,
        http.get(server.make_url("/")) as answer,
    ):
        assert answer.headers["Content-Type"] == content_type
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Accel-Buffering"] == "no"


@pytest.mark.parametrize("content_type", [EVENT_STREAM, "audio/pcm"])
async def test_a_broken_off_stream_is_recognisable(content_type: str) -> None:
    async def serve(stream: ClientStream) -> None:
        await stream.begin()
        await stream.write(b"data: 1\n\n")
        await stream.fail(ProviderFailed("it broke"))

    async with (
        server_of(serve, content_type) as server,
        aiohttp.ClientSession() as http,
        http.get(server.make_url("/")) as answer,
    ):
        if content_type == EVENT_STREAM:
            assert '"message":"it broke"' in await answer.text()
        else:
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()
