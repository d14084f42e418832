"""The demo page resumes a call that has lost its connection: the real application, scripted
engines, a real Chromium."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from store.tenants.accounts import LOCAL_WORKSPACE
from store.tenants.calls import Calls
from tests.e2e.browser import BrowserPage, spoken
from tests.e2e.test_demo_page import WAIT, arrive, live, peak, talk
from tests.gateway.calls.test_takeovers import WORDS, ended, slow_answers
from tests.support.gateway.scripted_server import HEARD, ScriptedServer, server

__all__ = ["server"]
pytestmark = [pytest.mark.browser, pytest.mark.timeout(90)]


class Line:
    """A TCP connection to a server that can be cut: nobody says goodbye."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ends: set[asyncio.StreamWriter] = set()
        self.broken = False

    @asynccontextmanager
    async def laid(self) -> AsyncIterator[str]:
        """The page's address."""
        listening = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        async with listening:
            yield f"http://localhost:{listening.sockets[0].getsockname()[1]}"
            self.cut()

    def cut(self) -> None:
        for end in self._ends:
            end.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.broken:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        ends = {writer, far_writer}
        self._ends |= ends
        with suppress(ConnectionError):
            await asyncio.gather(_pass(reader, far_writer), _pass(far_reader, writer))
        self._ends -= ends
        for end in ends:
            end.transport.abort()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.transport.abort()


async def hear_a_reply(page: Any) -> None:
    """A typed call in which Blab is speaking."""
    await page.get_by_role("button", name="What is the capital of France?").click()
    await live(page)
    await expect(page.locator(".turn.blab")).to_contain_text("One two", timeout=WAIT)


async def hang_up(page: Any) -> None:
    await page.get_by_role("button", name="Switch the microphone on").click()
    await page.get_by_role("button", name="Hang up").click()
    await expect(page.locator("body")).to_have_attribute("data-phase", "idle")


async def resumes(page: Any, server: ScriptedServer) -> None:
    """The page goes on with its call: what it shows, and what is stored."""
    await live(page)
    await expect(page.locator(".line").last).to_have_text("Reconnected")
    replies = page.locator(".turn.blab")
    await expect(replies).to_have_count(2, timeout=WAIT)
    await expect(replies.first).to_have_attribute("data-state", "cut")
    await expect(replies.first.locator(".remark")).to_contain_text("The connection was lost after")
    await peak(page.get_by_role("meter", name="Blab"))
    await expect(replies.last).to_have_attribute("data-state", "done", timeout=WAIT)
    await expect(replies.last).to_contain_text("twenty.")
    await expect(page.locator(".turn.you")).to_have_count(1)
    await hang_up(page)
    [call] = await Calls(server.database).list(LOCAL_WORKSPACE)
    _, turns = await ended(server, call.id)
    assert [turn.heard_text for turn in turns if turn.number == 1] == [WORDS]


async def test_a_cut_websocket(browser_page: BrowserPage, server: ScriptedServer) -> None:
    slow_answers(server)
    line = Line(server.server.port)
    async with line.laid() as address:
        page = await arrive(await browser_page(), address, "websocket")
        await hear_a_reply(page)
        line.broken = True
        line.cut()
        await expect(page.locator("#state")).to_contain_text("Reconnecting…", timeout=WAIT)
        await expect(page.locator(".line.error")).to_contain_text("The connection was lost")
        line.broken = False
        await resumes(page, server)


@pytest.mark.parametrize("transport", ["webrtc", "websocket"])
async def test_a_call_that_is_handed_over(
    transport: str, browser_page: BrowserPage, server: ScriptedServer
) -> None:
    slow_answers(server)
    page = await arrive(await browser_page(), server.url, transport)
    await hear_a_reply(page)
    assert server.host.hand_over() == 1
    await resumes(page, server)


@pytest.mark.parametrize("transport", ["webrtc", "websocket"])
async def test_the_microphone_is_heard_over_the_new_connection(
    transport: str, browser_page: BrowserPage, server: ScriptedServer, tmp_path: Path
) -> None:
    visit = await browser_page(spoken(tmp_path / "silence.wav", 60.0))
    await visit.mix_microphone()
    page = await arrive(visit, server.url, transport)
    await talk(page)
    [call_id] = server.app_calls()
    host: Any = server.host
    kept = host._suspended.of(call_id)
    async with asyncio.timeout(10):
        while kept._handle is None:
            await asyncio.sleep(0.01)
    assert server.host.hand_over() == 1
    await expect(page.locator(".line").last).to_have_text("Reconnected", timeout=WAIT)
    await visit.say("joe_q_weather")
    await expect(page.locator(".turn.you").first).to_contain_text(HEARD, timeout=WAIT)
    await expect(page.locator(".turn.blab").first).to_contain_text("Fine.", timeout=WAIT)
    await page.get_by_role("button", name="Hang up").click()
    call, _ = await ended(server, call_id)
    assert [call] == await Calls(server.database).list(LOCAL_WORKSPACE)


async def test_a_network_that_has_died(browser_page: BrowserPage, server: ScriptedServer) -> None:
    """WebRTC: no packet reaches the page any more, and nobody says so."""
    slow_answers(server)
    page = await arrive(await browser_page(), server.url, "webrtc")
    await hear_a_reply(page)
    [call_id] = server.app_calls()
    channel: Any = server.host._sessions[call_id]._channel
    for protocol in channel._peer._ice._protocols:
        protocol.transport.sendto = lambda *_: None
    await expect(page.locator(".line.error")).to_contain_text("was lost", timeout=WAIT)
    await expect(page.locator(".line").last).to_have_text("Reconnected", timeout=WAIT)
    assert server.app_calls() == (call_id,)
    await hang_up(page)


async def test_a_call_that_cannot_be_resumed_is_lost(
    browser_page: BrowserPage, server: ScriptedServer
) -> None:
    slow_answers(server)
    line = Line(server.server.port)
    async with line.laid() as address:
        page = await arrive(await browser_page(), address, "websocket")
        await hear_a_reply(page)
        await page.clock.install()
        line.broken = True
        line.cut()
        await expect(page.locator("#state")).to_contain_text("Reconnecting…", timeout=WAIT)
        await page.clock.fast_forward(61_000)
        await expect(page.get_by_role("alert")).to_contain_text("The call was lost", timeout=WAIT)
        await expect(page.get_by_role("button", name="Try again")).to_be_visible()
