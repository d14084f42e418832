"""A newcomer's path through Blab without documentation, in Chromium with real audio and engines:
speak, hear an answer, change the voice, make an agent, put it on another page, look at the call.

Only what is visible is clicked; the one address that is typed is the visitor's own page.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import Locator, Page, expect

from tests.e2e.browser import BrowserPage, spoken
from tests.e2e.live_server import LiveServer
from tests.e2e.test_demo_page import live, peak
from tests.e2e.words import word_error_rate

pytestmark = [pytest.mark.browser, pytest.mark.engines, pytest.mark.timeout(300)]

WAIT = 60_000.0
"""ms until a page must show something, an answer of the small models included."""
QUESTION = "What is the capital of France?"
HEARS = """
globalThis.loudest = 0;
const create = AudioContext.prototype.createAnalyser;
AudioContext.prototype.createAnalyser = function () {
  const made = create.call(this);
  const samples = new Float32Array(made.fftSize);
  setInterval(() => {
    made.getFloatTimeDomainData(samples);
    loudest = Math.max(loudest, ...samples.map(Math.abs));
  }, 50);
  return made;
};
"""
"""What the page plays is measured, as loud as it gets."""


@asynccontextmanager
async def website(code: list[str]) -> AsyncIterator[str]:
    """Somebody's website on another origin, with that code in its page."""

    async def index(_: web.Request) -> web.Response:
        head = '<!doctype html><title>Shop</title><link rel="icon" href="data:,">'
        text = f"{head}<h1>Shop</h1>{''.join(code)}"
        return web.Response(text=text, content_type="text/html")

    app = web.Application()
    app.add_routes([web.get("/", index)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://localhost:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def room(page: Page, name: str) -> None:
    """Go there by the navigation."""
    await page.get_by_role("navigation", name="Rooms").get_by_role("link", name=name).click()
    await expect(page.locator("body")).to_have_attribute("data-ready", "true", timeout=WAIT)


async def answered(turn: Locator) -> None:
    await expect(turn).to_have_attribute("data-state", "done", timeout=WAIT)


async def test_from_a_first_word_to_a_call_on_another_page(
    browser_page: BrowserPage, live_server: LiveServer, tmp_path: Path
) -> None:
    code: list[str] = []
    async with website(code) as address:
        visit = await browser_page(spoken(tmp_path / "voice.wav", 2.0, "joe_q_capital", 240.0))
        page = visit.page
        await page.goto(live_server.url)
        await speak_and_change_the_voice(page)
        code.append(await make_an_agent_for(page, address))
        await call_from(browser_page, address, tmp_path)
        await look_at_the_call(page)
        assert visit.console_errors == []
        assert visit.external_requests(live_server.url) == []


async def speak_and_change_the_voice(page: Page) -> None:
    """On the call page: asks, hears, chooses another voice, and hears that."""
    await expect(page.locator("body")).to_have_attribute("data-phase", "idle", timeout=WAIT)
    await page.get_by_role("button", name="Start talking").click()
    await live(page)
    blab = page.get_by_role("meter", name="Blab")
    asked, reply = page.locator(".turn.you").first, page.locator(".turn.blab").first
    await answered(asked)
    assert word_error_rate(QUESTION, await asked.locator(".words").inner_text()) <= 0.2
    await asyncio.gather(answered(reply), peak(blab, 5))

    await page.get_by_role("button", name="Set up").click()
    voice = page.get_by_label(re.compile("^Voice"))
    options = voice.locator("option:not([value=''])")
    other = await options.last.get_attribute("value")
    await voice.select_option(other)
    await page.get_by_role("button", name="Done").click()
    await page.get_by_label("Type a message instead of speaking").fill(QUESTION)
    await page.keyboard.press("Enter")
    await asyncio.gather(answered(page.locator(".turn.blab").nth(1)), peak(blab, 5))

    # the server speaks with it: what it says of the session can be looked at
    await page.get_by_role("button", name="Inspect").click()
    await page.get_by_label("Filter events").fill("session.updated")
    await page.get_by_role("option").last.click()
    await expect(page.get_by_label("The event as JSON")).to_contain_text(f'"voice": "{other}"')
    await page.get_by_role("button", name="Close").click()
    await page.get_by_role("button", name="Hang up").click()
    await expect(page.locator("body")).to_have_attribute("data-phase", "idle", timeout=WAIT)


async def make_an_agent_for(page: Page, address: str) -> str:
    """In the room of agents: one that records, and the code for a page of that address."""
    await room(page, "Agents")
    await page.get_by_role("link", name="New agent").click()
    await page.get_by_role("link", name="Blank").click()
    await page.get_by_label("Name", exact=True).fill("Marie")
    instructions = page.get_by_label("Instructions")
    await instructions.fill("You answer questions about France in one short sentence.")
    await page.get_by_label("Record its calls").check()
    await page.get_by_role("button", name="Create").click()
    await expect(page.get_by_text("Created. Talk to it on this page.")).to_be_visible(timeout=WAIT)
    await page.get_by_role("button", name="Put it on a page").click()
    await page.get_by_label("Where it may be used").fill(address)
    await page.get_by_role("button", name="Get the code").click()
    shown = page.get_by_label("Code for the page")
    await expect(shown).to_be_visible(timeout=WAIT)
    return await shown.inner_text()


async def call_from(browser_page: BrowserPage, address: str, tmp_path: Path) -> None:
    """A visitor of that page asks the agent, and hears it."""
    visit = await browser_page(spoken(tmp_path / "visitor.wav", 3.0, "joe_q_capital", 60.0))
    page = visit.page
    await page.add_init_script(HEARS)
    await page.goto(address)
    await page.get_by_role("button", name="Open the voice assistant").click()
    await page.get_by_role("button", name="Call", exact=True).click()
    said = page.get_by_role("region", name="Conversation").get_by_role("listitem")
    await expect(said.nth(1)).to_contain_text("Paris", timeout=WAIT)
    assert word_error_rate(QUESTION, (await said.first.inner_text()).removeprefix("You: ")) <= 0.2
    async with asyncio.timeout(WAIT / 1000):
        while await page.evaluate("loudest") < 0.05:
            await asyncio.sleep(0.1)
    await page.get_by_role("button", name="Hang up").click()
    await expect(page.get_by_role("status")).to_have_text("The call has ended.", timeout=WAIT)
    assert visit.console_errors == []


async def look_at_the_call(page: Page) -> None:
    """From the agent to its calls, and to what was said and heard in this one."""
    await page.get_by_role("link", name="Its calls").click()
    row = page.locator("a.row")
    await expect(row).to_have_count(1, timeout=WAIT)
    await expect(row).to_contain_text("capital of France")
    await row.click()
    await expect(page.get_by_role("heading", name="Marie")).to_be_visible(timeout=WAIT)
    await expect(page.locator(".entry.you").first).to_contain_text("capital of France")
    await expect(page.locator(".entry.blab").first).to_contain_text("Paris")
    await expect(page.locator(".panel")).to_have_attribute("data-sound", "ready", timeout=WAIT)
    await page.get_by_role("button", name="Play", exact=True).click()
    await expect(page.locator(".word.said")).to_have_count(1, timeout=WAIT)
