"""Ids, errors in the right shape, deadlines, quiet logs, and connections without a request."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from gateway.http.middleware import Middleware
from rest.http.errors import NotFound
from sessions.admission import Reason, ServerFull
from sessions.channel import ClientFault
from store.errors import DatabaseUnavailable
from tests.support.gateway.http_support import TestServer

FAULTS = {
    "notfound": NotFound("No such thing."),
    "fault": ClientFault("invalid_value", "Wrong.", param="session.speed"),
    "full": ServerFull(Reason.CAPACITY),
    "store": DatabaseUnavailable("postgresql://secret"),
    "bug": RuntimeError("the secret inside"),
}


async def fail(request: web.Request) -> web.Response:
    raise FAULTS[request.match_info["kind"]]


async def hang(request: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    made = TestServer()
    made.app.add_routes(
        [
            web.get("/v1/realtime/fail/{kind}", fail),
            web.get("/api/fail/{kind}", fail),
            web.get("/api/hang", hang),
        ]
    )
    async with made.running() as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.mark.parametrize(
    ("kind", "status", "contract", "openai"),
    [
        ("notfound", 404, "NOT_FOUND", "not_found"),
        ("fault", 400, "VALIDATION_ERROR", "invalid_value"),
        ("full", 503, "MODEL_UNAVAILABLE", "server_full"),
        ("store", 503, "MODEL_UNAVAILABLE", "storage_unavailable"),
        ("bug", 500, "INTERNAL", "internal_error"),
    ],
)
async def test_an_error_has_the_shape_its_client_reads(
    server: TestServer,
    http: aiohttp.ClientSession,
    kind: str,
    status: int,
    contract: str,
    openai: str,
) -> None:
    async with http.get(f"{server.url}/api/fail/{kind}") as answer:
        assert answer.status == status
        body = await answer.json()
        assert body["ok"] is False
        assert body["error"]["code"] == contract
        assert body["meta"]["requestId"] == answer.headers["X-Request-Id"]
        assert "secret" not in str(body)
    async with http.get(f"{server.url}/v1/realtime/fail/{kind}") as answer:
        assert answer.status == status
        assert (await answer.json())["error"]["code"] == openai
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        if kind == "full":
            assert answer.headers["Retry-After"] == "10"


async def test_the_frameworks_refusals_are_json_too(
    server: TestServer, http: aiohttp.ClientSession
) -> None:
    async with http.get(f"{server.url}/nowhere") as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (404, "NOT_FOUND")
    async with http.post(f"{server.url}/v1/realtime") as answer:
        assert answer.status == 405
        assert (await answer.json())["error"]["code"] == "method_not_allowed"


async def test_a_request_has_a_deadline(http: aiohttp.ClientSession) -> None:
    made = TestServer()
    middleware = Middleware(made.metrics, deadline=0.05)
    app = web.Application(middlewares=middleware.all)
    app.add_routes([web.get("/api/hang", hang)])
    made.app = app
    async with made.running() as running, http.get(f"{running.url}/api/hang") as answer:
        assert answer.status == 503


async def test_the_log_holds_no_query(
    server: TestServer, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with http.get(f"{server.url}/api/fail/notfound?token=ek_secret") as answer:
        await answer.read()
    lines = [record.getMessage() for record in caplog.records if record.name == "gateway.access"]
    assert len(lines) == 1
    assert "/api/fail/{kind} 404" in lines[0]
    assert "ek_secret" not in caplog.text


@pytest.mark.slow
async def test_a_connection_without_a_request_is_cut(server: TestServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    try:
        assert await asyncio.wait_for(reader.read(), 5) == b""
    except ConnectionResetError:
        pass
    finally:
        writer.close()


async def test_a_connection_with_a_request_stays(server: TestServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for pause in (0.0, 0.5):
        await asyncio.sleep(pause)
        writer.write(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert head.startswith(b"HTTP/1.1 404")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
    writer.close()
    await writer.wait_closed()


async def test_a_refused_method_lists_the_allowed_ones(
    server: TestServer, http: aiohttp.ClientSession
) -> None:
    async with http.delete(f"{server.url}/api/hang") as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET, HEAD"
        assert (await answer.json())["error"]["code"] == "VALIDATION_ERROR"
    async with http.post(f"{server.url}/api/fail/notfound") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /api/hang HTTP/1.1\r\nHost: x\r\nContent-Length: SECRET\r\n\r\n",
        b"GET /api/hang HTTP/1.1\r\nHost: x\r\nX-Long: " + b"SECRET" * 4000 + b"\r\n\r\n",
        b"SECRET\r\n\r\n",
    ],
)
async def test_bytes_that_are_not_http_are_refused_in_the_envelope(
    server: TestServer, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(sent)
    async with asyncio.timeout(5):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    answer = json.loads(body)
    assert head.split()[1] == b"400"
    assert (answer["ok"], answer["error"]["code"]) == (False, "VALIDATION_ERROR")
    assert answer["meta"]["requestId"].encode() in head
    assert b"SECRET" not in body
    assert "SECRET" not in caplog.text
