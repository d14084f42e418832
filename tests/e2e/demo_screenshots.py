"""The screenshots of the call page in docs/: ``python -m tests.e2e.demo_screenshots [FOLDER]``.

The page talks to the mock gateway, so the pictures show the same conversation each time.
"""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.async_api import async_playwright, expect

from tests.e2e.browser import FLAGS, find_chromium, spoken
from tests.e2e.mock_call import Script
from tests.e2e.mock_gateway import MockGateway
from tests.support.paths import ROOT

WAIT = 20_000.0
SIZE = {"width": 1366, "height": 768}


async def converse(page: Any, address: str) -> None:
    """Up to the moment at which the caller has cut in and Blab answers again."""
    await page.goto(address)
    await expect(page.locator("body")).to_have_attribute("data-phase", "idle", timeout=WAIT)
    await page.get_by_role("radio", name="WebSocket").focus()
    await page.keyboard.press("Space")
    await page.get_by_role("button", name="Start talking").click()
    first, second = page.locator(".turn.blab").nth(0), page.locator(".turn.blab").nth(1)
    await expect(first).to_have_attribute("data-state", "cut", timeout=WAIT)
    await expect(second).to_have_attribute("data-state", "speaking", timeout=WAIT)
    await expect(second).to_contain_text("sailed", timeout=WAIT)


async def take(folder: Path) -> None:
    chromium = find_chromium()
    assert chromium, "Chromium is missing"
    script = Script(voice="lv_0920")
    with tempfile.TemporaryDirectory() as scratch:
        wav = spoken(Path(scratch) / "w.wav", 1.5, "joe_q_weather", 2.5, "joe_stop", 30.0)
        flags = [*FLAGS, "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
        flags.append(f"--use-file-for-fake-audio-capture={wav}%noloop")
        pictures = [("demo.png", False), ("demo-inspect.png", True)]
        async with async_playwright() as playwright:
            for name, inspects in pictures:
                async with MockGateway(script).running() as address:
                    browser = await playwright.chromium.launch(executable_path=chromium, args=flags)
                    page = await browser.new_page(viewport=SIZE, color_scheme="light")
                    await converse(page, address)
                    if inspects:
                        await page.get_by_role("button", name="Inspect", exact=True).click()
                        await page.get_by_role("tab", name="Turns").click()
                    await page.screenshot(path=folder / name)
                    await browser.close()


if __name__ == "__main__":
    asyncio.run(take(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs"))
