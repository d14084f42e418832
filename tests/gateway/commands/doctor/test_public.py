"""``blab doctor --public`` against a real server, and against what goes wrong in front of one."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from gateway.cli import main
from gateway.commands.doctor.findings import Finding, Verdict
from gateway.commands.doctor.public import judged, public_findings, registration
from gateway.commands.doctor.target import Target
from gateway.lifecycle import tls_context
from gateway.services import ServiceUrls
from store.database import Database
from tests.integration.test_tls import certificate
from tests.support.gateway.scripted_server import ScriptedServer, running_node, server

__all__ = ["server"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def by_subject(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in findings}


async def try_server(
    url: str, key: str | None = None, idle: float = 0.1, trust: ssl.SSLContext | None = None
) -> dict[str, Finding]:
    return by_subject(await public_findings(url, key, idle, trust))


@contextlib.asynccontextmanager
async def site(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that gives every request to ``handler``; yields its port."""
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    tcp = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await tcp.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def relay(port: int, *, silence: float) -> AsyncIterator[int]:
    """A proxy that cuts a connection after ``silence`` seconds without a byte."""
    pumps: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(TimeoutError, ConnectionError):
            while data := await asyncio.wait_for(reader.read(65536), silence):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", port)
        for one in (pump(reader, upstream_writer), pump(upstream_reader, writer)):
            pumps.add(asyncio.create_task(one))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.gather(*pumps)


async def test_a_server_that_works(server: ScriptedServer) -> None:
    found = await try_server(server.url, server.key)
    assert {subject for subject, finding in found.items() if finding.fatal} == set()
    assert found["websocket"].verdict is Verdict.OK
    assert found["silence"].verdict is Verdict.OK
    assert found["udp"].verdict is Verdict.OK
    assert "its firewall has not been tried" in found["udp"].detail
    assert "none is configured" in found["turn"].detail
    await server.empty()


@pytest.mark.parametrize(("setting", "verdict"), [("open", Verdict.NOTE), ("closed", Verdict.OK)])
async def test_registration_is_tried_without_making_an_account(
    setting: str,
    verdict: Verdict,
    database: Database,
    own_database_url: str,
    redis_url: str,
    tmp_path: Path,
) -> None:
    urls = ServiceUrls(own_database_url, redis_url)
    async with running_node(database, urls, tmp_path, registration=setting) as node:
        before = await database.fetchval("SELECT count(*) FROM users")
        async with Target.of(node.url, None).http() as http:
            assert (await registration(http)).verdict is verdict
        assert await database.fetchval("SELECT count(*) FROM users") == before


async def test_without_a_key_the_upgrade_is_tried_and_the_rest_is_not(
    server: ScriptedServer,
) -> None:
    found = await try_server(server.url)
    assert found["websocket"].verdict is Verdict.OK
    assert "wants a key" in found["websocket"].detail
    assert "without --key" in found["key"].detail
    assert not {"udp", "turn", "events", "silence"} & set(found)


async def test_a_wrong_key_is_named(server: ScriptedServer) -> None:
    found = await try_server(server.url, "blab_sk_wrong")
    assert found["websocket"].verdict is Verdict.FAILED
    assert "HTTP 401" in found["websocket"].detail
    assert "HTTP 401" in found["udp"].detail


async def test_a_proxy_that_cuts_silent_calls_is_found(server: ScriptedServer) -> None:
    async with relay(server.server.port, silence=1.5) as port:
        found = await try_server(f"http://127.0.0.1:{port}", server.key, idle=5)
    assert found["websocket"].verdict is Verdict.FAILED
    assert "of silence" in found["websocket"].detail
    assert "proxy_read_timeout" in found["websocket"].detail
    await server.empty()


async def test_a_closed_port_and_a_port_without_tls_are_found(server: ScriptedServer) -> None:
    async with site(_plain_page) as port:
        tls = await try_server(f"https://127.0.0.1:{port}")
        assert "does not speak TLS" in tls["tls"].detail
    closed = await try_server(f"http://127.0.0.1:{port}")
    assert f"let TCP {port} in" in closed["connection"].detail
    assert closed["connection"].fatal


async def test_a_name_that_does_not_exist_is_found() -> None:
    found = await try_server("https://voice.invalid")
    assert list(found) == ["name"]
    assert "does not resolve" in found["name"].detail


async def test_a_key_is_not_sent_over_a_connection_that_cannot_be_trusted(tmp_path: Path) -> None:
    seen: list[str | None] = []

    async def note(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.Response(headers={"X-Request-Id": "req_1"})

    context = tls_context(*certificate(tmp_path))
    async with site(note, context) as port:
        found = await try_server(f"https://localhost:{port}", "blab_sk_secret")
    assert found["certificate"].fatal
    assert "self-signed" in found["certificate"].detail
    assert "was not sent" in found["key"].detail
    assert seen
    assert set(seen) == {None}


async def test_a_certificate_that_ends_soon_is_noted(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)  # for an hour
    trust = ssl.create_default_context(cafile=cert)
    async with site(_plain_page, tls_context(cert, key)) as port:
        found = await try_server(f"https://localhost:{port}", trust=trust)
    assert found["certificate"].verdict is Verdict.SLOW
    assert "renew it" in found["certificate"].detail


@pytest.mark.parametrize(
    ("status", "headers", "reason"),
    [
        (502, {}, "reaches no Blab (HTTP 502)"),
        (301, {"Location": "https://other.example/"}, "redirected to https://other.example/"),
        (200, {}, "that is not Blab"),
    ],
)
async def test_what_answers_instead_of_blab_is_named(
    status: int, headers: dict[str, str], reason: str
) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, headers=headers)

    async with site(answer) as port:
        found = await try_server(f"http://127.0.0.1:{port}")
    assert reason in found["http"].detail
    assert found["http"].fatal


async def _plain_page(_request: web.Request) -> web.Response:
    return web.Response(headers={"X-Request-Id": "req_1"})


async def test_a_proxy_that_drops_the_upgrade_is_found() -> None:
    async def no_upgrade(request: web.Request) -> web.Response:
        status = 426 if request.path == "/v1/realtime" else 200
        return web.Response(status=status, headers={"X-Request-Id": "req_1"})

    async with site(no_upgrade) as port:
        found = await try_server(f"http://127.0.0.1:{port}")
    assert "does not pass the upgrade on" in found["websocket"].detail


async def test_a_server_that_is_not_ready_says_why() -> None:
    async def loading(request: web.Request) -> web.Response:
        if request.path == "/readyz":
            return web.json_response({"ready": False, "detail": "Loading."}, status=503)
        return web.Response(headers={"X-Request-Id": "req_1"})

    async with site(loading) as port:
        found = await try_server(f"http://127.0.0.1:{port}")
    assert found["ready"].verdict is Verdict.MISSING
    assert found["ready"].detail == "no call is answered: Loading."


@pytest.mark.parametrize(
    ("arrivals", "verdict"),
    [
        ([], Verdict.FAILED),
        ([0.1, 0.11], Verdict.NOTE),
        ([0.2, 0.6, 1.5], Verdict.OK),
        ([1.9, 1.95, 2.0], Verdict.FAILED),
    ],
)
def test_a_stream_is_judged_by_when_it_arrived(arrivals: list[float], verdict: Verdict) -> None:
    assert judged(arrivals).verdict is verdict


@pytest.mark.parametrize("url", ["voice.example", "ftp://h", "https://h/path", "https://h:99999"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["doctor", "--public", url])
    assert caught.value.code == 2
