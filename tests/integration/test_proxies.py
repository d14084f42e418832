"""The configurations in ``deploy/``, by the real HAProxy and nginx, before two nodes."""

import asyncio
import contextlib
import json
import os
import shutil
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect

from gateway.app import HOST
from gateway.channels.webrtc.whip import FRAGMENT
from gateway.commands.doctor.public import public_findings
from tests.integration.test_tls import certificate
from tests.support.gateway.scripted_server import ScriptedServer, second_node, server
from tests.support.paths import CHROMIUM_OFFER, ROOT

__all__ = ["second_node", "server"]

pytestmark = pytest.mark.slow


@dataclass
class Proxy:
    """A running proxy with a certificate of its own."""

    port: int
    trust: ssl.SSLContext

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def call(self, key: str) -> connect:
        return connect(
            f"wss://localhost:{self.port}/v1/realtime?model=default",
            ssl=self.trust,
            additional_headers={"Authorization": f"Bearer {key}"},
        )


def program(name: str) -> str:
    """Without it the test is skipped loudly, and fails where CI is set."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        message = f"{name} is missing: install it (apt-get install {name})"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


def changed(text: str, changes: dict[str, str]) -> str:
    """A configuration with the places of this machine."""
    for old, new in changes.items():
        assert old in text, f"the configuration has no {old!r} any more"
        text = text.replace(old, new)
    return text


@contextlib.asynccontextmanager
async def running(command: list[str], port: int) -> AsyncIterator[None]:
    """A program that listens on ``port``."""
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    said = asyncio.create_task(child.communicate())
    try:
        async with asyncio.timeout(20):
            while True:
                assert not said.done(), said.result()
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                await asyncio.sleep(0.05)
        yield
    finally:
        if child.returncode is None:
            child.terminate()
        await said


@pytest.fixture(params=["haproxy", "nginx"])
async def proxy(
    request: pytest.FixtureRequest,
    server: ScriptedServer,
    second_node: ScriptedServer,
    tmp_path: Path,
    unused_tcp_port_factory: Callable[[], int],
) -> AsyncIterator[Proxy]:
    name = request.param
    cert, key = certificate(tmp_path)
    both = tmp_path / "blab.pem"
    both.write_bytes(cert.read_bytes() + key.read_bytes())
    https, http = unused_tcp_port_factory(), unused_tcp_port_factory()
    nodes = {
        "10.0.0.11:8484": f"127.0.0.1:{server.server.port}",
        "10.0.0.12:8484": f"127.0.0.1:{second_node.server.port}",
    }
    places = {
        "haproxy": {
            "log /dev/log local0": "log stderr format raw local0",
            "bind :80": f"bind 127.0.0.1:{http}",
            "bind :443": f"bind 127.0.0.1:{https}",
            "/etc/haproxy/blab.pem": str(both),
        },
        "nginx": {
            "/run/nginx.pid": str(tmp_path / "nginx.pid"),
            "/var/log/nginx": str(tmp_path),
            "listen 80;": f"listen 127.0.0.1:{http};",
            "listen 443": f"listen 127.0.0.1:{https}",
            "/etc/nginx/blab.pem": str(cert),
            "/etc/nginx/blab.key": str(key),
        },
    }
    file = tmp_path / f"{name}.cfg"
    suffix = {"haproxy": "cfg", "nginx": "conf"}[name]
    text = (ROOT / "deploy" / f"{name}.{suffix}").read_text()
    file.write_text(changed(text, places[name] | nodes))
    options = {"haproxy": ["-db", "-f"], "nginx": ["-g", "daemon off;", "-c"]}[name]
    async with running([program(name), *options, str(file)], https):
        yield Proxy(https, ssl.create_default_context(cafile=cert))


async def answered(call: ClientConnection) -> None:
    """The call has begun."""
    async with asyncio.timeout(5):
        assert json.loads(await call.recv())["type"] == "session.created"


async def test_a_server_behind_the_proxy_has_nothing_wrong(
    proxy: Proxy, server: ScriptedServer, second_node: ScriptedServer
) -> None:
    findings = await public_findings(proxy.url, server.key, 0.2, proxy.trust)
    assert [finding for finding in findings if finding.fatal] == []
    found = {finding.subject: finding.detail for finding in findings}
    assert "a silent call stays open" in found["silence"]
    assert "WebRTC connects" in found["udp"]
    await server.empty()
    await second_node.empty()


async def test_a_stream_arrives_while_it_is_made(
    proxy: Proxy, server: ScriptedServer, second_node: ScriptedServer
) -> None:
    heard = asyncio.Event()

    async def wait(seconds: float) -> None:
        if seconds:
            await heard.wait()

    for node in (server, second_node):
        node.engines.chat_model.answer = lambda _: "one two three"
        node.engines.chat_model.token_delay = 1.0
        node.engines.chat_model.delay = wait
    body = {"model": "default", "stream": True, "messages": [{"role": "user", "content": "Go."}]}
    headers = {"Authorization": f"Bearer {server.key}"}
    connector = aiohttp.TCPConnector(ssl=proxy.trust)
    async with (
        asyncio.timeout(10),
        aiohttp.ClientSession(proxy.url, connector=connector, headers=headers) as http,
        http.post("/v1/chat/completions", json=body) as answer,
    ):
        first = await answer.content.readuntil(b"one")
        heard.set()
        rest = await answer.content.read()
    assert b"three" not in first
    assert b"three" in rest


async def test_the_metrics_are_closed(proxy: Proxy) -> None:
    connector = aiohttp.TCPConnector(ssl=proxy.trust)
    async with (
        aiohttp.ClientSession(proxy.url, connector=connector) as http,
        http.get("/metrics") as answer,
    ):
        assert answer.status == 404


async def test_a_node_that_stops_gets_no_new_call_and_keeps_its_own(
    proxy: Proxy, server: ScriptedServer, second_node: ScriptedServer
) -> None:
    async with contextlib.AsyncExitStack() as calls:
        before = [await calls.enter_async_context(proxy.call(server.key)) for _ in range(4)]
        for call in before:
            await answered(call)
        assert server.slots_taken == second_node.slots_taken == 2  # the least busy gets the next
        server.app[HOST]._admission.draining = True
        after = [await calls.enter_async_context(proxy.call(server.key)) for _ in range(4)]
        for call in after:
            await answered(call)
        assert (server.slots_taken, second_node.slots_taken) == (2, 6)
        for call in before:
            pong = await call.ping()
            await asyncio.wait_for(pong, 5)


async def test_a_node_that_is_gone_is_passed_over(
    proxy: Proxy, server: ScriptedServer, second_node: ScriptedServer
) -> None:
    await second_node.server.close()
    for _ in range(4):
        async with proxy.call(server.key) as call:
            await answered(call)
    await server.empty()


@pytest.mark.parametrize("proxy", ["haproxy"], indirect=True)
async def test_a_whip_session_stays_on_its_node(
    proxy: Proxy, server: ScriptedServer, second_node: ScriptedServer
) -> None:
    connector = aiohttp.TCPConnector(ssl=proxy.trust)
    headers = {"Authorization": f"Bearer {server.key}", "Content-Type": "application/sdp"}
    stale = {"If-Match": '"stale"', "Content-Type": FRAGMENT}
    async with aiohttp.ClientSession(proxy.url, connector=connector, headers=headers) as http:
        for _ in range(4):
            async with http.post("/v1/whip", data=CHROMIUM_OFFER.read_text()) as answer:
                assert answer.status == 201
                session = answer.headers["Location"]
            async with http.patch(session, data="a=ice-ufrag:x\r\n", headers=stale) as answer:
                assert answer.status == 412  # the other node would not know the session: 404
            async with http.delete(session) as answer:
                assert answer.status == 200
    await server.empty()
    await second_node.empty()
