"""A call from Firefox: the real server's call page, both transports, a recorded voice."""

import pytest

from tests.e2e.firefox import Firefox
from tests.e2e.live_server import LiveServer
from tests.e2e.words import word_error_rate

pytestmark = [pytest.mark.browser, pytest.mark.engines, pytest.mark.timeout(240)]

DONE = "document.querySelector('.turn.{who}[data-state=done] .words')?.innerText"
CLOCK = "document.querySelector('.turn.blab figure.latency')?.innerText"
METER = "document.querySelectorAll('[role=meter]')[1].getAttribute('aria-valuenow') > 10"


@pytest.mark.parametrize("transport", ["WebRTC", "WebSocket"])
async def test_a_caller_with_firefox_is_heard_and_hears_the_answer(
    transport: str, firefox: Firefox, live_server: LiveServer
) -> None:
    page = await firefox()
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
    assert page.errors == []
