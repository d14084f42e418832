"""A first call: the real server's demo page in a real Chromium, with a recorded voice."""

from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.e2e.browser import BrowserPage, spoken
from tests.e2e.live_server import LiveServer
from tests.e2e.test_demo_page import arrive, live, peak
from tests.e2e.words import word_error_rate

pytestmark = [pytest.mark.browser, pytest.mark.engines, pytest.mark.timeout(240)]

WAIT = 30_000.0


@pytest.mark.parametrize("transport", ["webrtc", "websocket"])
async def test_a_first_time_caller_speaks_gets_an_answer_and_interrupts(
    transport: str, browser_page: BrowserPage, live_server: LiveServer, tmp_path: Path
) -> None:
    visit = await browser_page(spoken(tmp_path / "voice.wav", 2.0, "joe_q_capital", 120.0))
    await visit.mix_microphone()
    page = await arrive(visit, live_server.url, transport)
    await page.get_by_role("button", name="Start talking").click()
    await live(page)

    asked, answered = page.locator(".turn.you").nth(0), page.locator(".turn.blab").nth(0)
    await expect(asked).to_have_attribute("data-state", "done", timeout=WAIT)
    heard = await asked.locator(".words").inner_text()
    assert word_error_rate("What is the capital of France?", heard) <= 0.2
    await expect(answered).to_contain_text("Paris", timeout=WAIT)
    await peak(page.get_by_role("meter", name="Blab"), 10)
    await expect(answered.locator("figure.latency")).to_be_visible(timeout=WAIT)

    await expect(answered).to_have_attribute("data-state", "done", timeout=WAIT)
    await visit.say("joe_q_weather")  # a story: an answer of seconds
    cut = page.locator(".turn.blab").nth(1)
    await expect(cut).to_have_attribute("data-state", "speaking", timeout=WAIT)
    await visit.say("joe_stop")
    await expect(cut).to_have_attribute("data-state", "cut", timeout=WAIT)
    stopped = page.locator(".turn.you").nth(2)
    await expect(stopped).to_contain_text("something else", timeout=WAIT)
    await page.screenshot(path=tmp_path / "call.png")
    assert visit.external_requests(live_server.url) == []
    assert visit.console_errors == []
