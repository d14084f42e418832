"""Firefox as the browser: calls on the real server's call page, over both transports, with a
recorded voice; and a sign-in at a server that has a public address."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.services import ServiceUrls
from store.database import Database
from tests.e2e.firefox import Firefox, Page
from tests.e2e.live_server import LiveServer
from tests.e2e.words import word_error_rate
from tests.support.gateway.scripted_server import ScriptedServer, running_node

pytestmark = [pytest.mark.browser, pytest.mark.engines, pytest.mark.timeout(240)]

DONE = "document.querySelector('.turn.{who}[data-state=done] .words')?.innerText"
CLOCK = "document.querySelector('.turn.blab figure.latency')?.innerText"
METER = "document.querySelectorAll('[role=meter]')[1].getAttribute('aria-valuenow') > 10"


@pytest.fixture
async def public_server(
    database: Database, own_database_url: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[ScriptedServer]:
    """One whose pages want a sign-in, for its address is a public one."""
    urls, address = ServiceUrls(own_database_url, redis_url), "https://voice.example.org"
    async with running_node(database, urls, tmp_path / "public", public_url=address) as node:
        yield node


async def test_firefox_calls_over_websocket_signs_in_and_out(
    firefox: Firefox, live_server: LiveServer, public_server: ScriptedServer
) -> None:
    """One browser for both: it takes seconds to start."""
    page = await firefox()
    await call(page, live_server, "WebSocket")
    await page.goto(f"{public_server.url}/calls")
    await page.until("document.querySelector('.sign-in')")
    await page.press("Create an account")
    for name, text in (
        ("name", "Ada"),
        ("email", "ada@example.org"),
        ("password", "correct horse"),
    ):
        await page.write(name, text)
    await page.press("Create account")
    await page.until("document.body.innerText.includes('No calls yet.')")
    assert await page.evaluate("document.cookie") == ""
    await page.goto(f"{public_server.url}/agents")
    await page.until("document.querySelector('[aria-label=\"Account of Ada\"]')")
    await page.click("[aria-label='Account of Ada']")
    await page.press("Sign out")
    await page.until("document.querySelector('.sign-in')")
    await page.goto(f"{public_server.url}/calls")
    await page.until("document.querySelector('.sign-in')")
    assert page.errors == []


async def test_firefox_calls_over_webrtc(firefox: Firefox, live_server: LiveServer) -> None:
    page = await firefox()
    await call(page, live_server, "WebRTC")
    assert page.errors == []


async def call(page: Page, live_server: LiveServer, transport: str) -> None:
    """A caller is heard and hears the answer."""
    await page.goto(live_server.url)
    await page.until("document.body.dataset.phase === 'idle'")
    await page.evaluate(
        f"document.querySelector('[name=transport][value={transport.lower()}]').click()"
    )
    await page.click("#talk")
    await page.until("document.body.dataset.phase === 'live'")
    await page.say("joe_q_capital")
    await page.until(METER)
    heard = await page.until(DONE.format(who="you"))
    assert word_error_rate("What is the capital of France?", heard) <= 0.2
    assert "Paris" in await page.until(DONE.format(who="blab"))
    assert "ms" in await page.until(CLOCK)
