"""What the pages cost a browser: ``python -m bench.pages [--url URL] [--calls 3]``.

For each page, in Chromium with an empty cache: bytes on the wire (files, what they ask the server
for, and all headers), first contentful paint (ms after navigation; the best and the median of
``LOADS``), and how much of a core the page's main thread takes while nobody touches it.

Then calls on the call page, which are typed: what each leaves behind in event listeners, nodes and
script objects after a collection.
"""

import argparse
import asyncio
import re
import statistics
from collections.abc import Sequence
from typing import Any

from playwright.async_api import Browser, CDPSession, Page, async_playwright, expect

from bench.figures import machine
from bench.server import server
from gateway.http.pages import ROOMS
from tests.e2e.browser import FLAGS, find_chromium

LOADS = 5
IDLE_SECONDS = 10.0
WAIT = 60_000.0
MICROPHONE = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")


async def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="a running server; without it, one is started")
    parser.add_argument("--calls", type=int, default=3)
    options = parser.parse_args()
    print(machine())
    program = find_chromium()
    assert program is not None, "Chromium is missing"
    async with server(options.url) as (url, _), async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program, args=[*FLAGS, *MICROPHONE]
        )
        print("\n| page | kB on the wire | first paint, best / median ms | idle, % of a core |")
        print("|---|---|---|---|")
        for path in ("", *sorted(ROOMS.keys() - {"sign-in"})):  # that one leads on from here
            print(await row(browser, url, path), flush=True)
        print("\n| after | event listeners | nodes | MB of objects |\n|---|---|---|---|")
        async for name, figures in after_calls(browser, url, options.calls):
            print(f"| {name} | {' | '.join(figures)} |", flush=True)
        await browser.close()


async def row(browser: Browser, url: str, path: str) -> str:
    """A page's row of the first table."""
    paints = []
    for _ in range(LOADS):
        context = await browser.new_context()
        page = await context.new_page()
        session = await context.new_cdp_session(page)
        received: list[float] = []
        session.on(
            "Network.loadingFinished", lambda e, to=received: to.append(e["encodedDataLength"])
        )
        await session.send("Network.enable")
        await session.send("Performance.enable")
        await page.goto(f"{url}/{path}", wait_until="load")
        paints.append(await first_paint(page))
        await page.wait_for_load_state("networkidle")
        if len(paints) < LOADS:
            await context.close()
    before = await busy_seconds(session)
    await asyncio.sleep(IDLE_SECONDS)
    idle = (await busy_seconds(session) - before) / IDLE_SECONDS
    await context.close()
    kilobytes = sum(received) / 1000
    best, median = min(paints), statistics.median(paints)
    return f"| /{path} | {kilobytes:.1f} | {best:.0f} / {median:.0f} | {idle:.2%} |"


async def first_paint(page: Page) -> float:
    """First contentful paint, ms after navigation."""
    value: float = await page.evaluate(
        """() => new Promise((resolve) => {
          new PerformanceObserver((list) => {
            const paint = list.getEntriesByName("first-contentful-paint")[0];
            if (paint) resolve(paint.startTime);
          }).observe({ type: "paint", buffered: true });
        })"""
    )
    return value


async def metrics(session: CDPSession) -> dict[str, float]:
    """Chromium's own counters of a page."""
    answer: dict[str, Any] = await session.send("Performance.getMetrics")
    return {metric["name"]: metric["value"] for metric in answer["metrics"]}


async def busy_seconds(session: CDPSession) -> float:
    """Seconds that the page's main thread has worked."""
    return (await metrics(session))["TaskDuration"]


async def after_calls(browser: Browser, url: str, calls: int) -> Any:
    """(What happened, the counters) before, and after each call, which is typed."""
    context = await browser.new_context(permissions=["microphone"])
    page = await context.new_page()
    session = await context.new_cdp_session(page)
    await session.send("Performance.enable")
    await session.send("HeapProfiler.enable")
    await page.goto(url)
    body = page.locator("body")
    await expect(body).to_have_attribute("data-phase", "idle", timeout=WAIT)
    yield "loading", await counters(session)
    for number in range(1, calls + 1):
        await page.get_by_role("button", name="Start talking").click()
        await expect(body).to_have_attribute("data-phase", "live", timeout=WAIT)
        await page.get_by_role("textbox").fill("Say yes.")
        await page.keyboard.press("Enter")
        answer = page.locator(".turn.blab").last
        await expect(answer).to_have_attribute("data-state", re.compile("done|cut"), timeout=WAIT)
        await page.get_by_role("button", name="Hang up").click()
        await expect(body).to_have_attribute("data-phase", "idle", timeout=WAIT)
        yield f"call {number}", await counters(session)
    await context.close()


async def counters(session: CDPSession) -> Sequence[str]:
    """Event listeners, nodes, and MB of script objects, after a collection."""
    for _ in range(2):
        await session.send("HeapProfiler.collectGarbage")
    found = await metrics(session)
    return (
        f"{found['JSEventListeners']:.0f}",
        f"{found['Nodes']:.0f}",
        f"{found['JSHeapUsedSize'] / 1e6:.2f}",
    )


if __name__ == "__main__":
    asyncio.run(main())
