"""The screenshots of the workbench in docs/, on a server of this machine with its real engines:
``python -m tests.e2e.workbench_screenshots http://localhost:8484 [FOLDER]``.

It makes a transcript in the local workspace, which stays there. Run it twice: at first the voices
are still being loaded, which the pictures would show.
"""

import asyncio
import sys
from pathlib import Path

from playwright.async_api import Browser, Page, ViewportSize, async_playwright, expect

from tests.e2e.browser import FLAGS, find_chromium
from tests.support.paths import AUDIO, ROOT

WAIT = 120_000.0
DESK: ViewportSize = {"width": 1366, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}


async def opened(browser: Browser, address: str, size: ViewportSize, scheme: str) -> Page:
    page = await browser.new_page(viewport=size)
    await page.emulate_media(
        color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce"
    )
    await page.goto(address)
    await expect(page.locator("body")).to_have_attribute("data-ready", "true", timeout=WAIT)
    return page


async def speech(page: Page) -> None:
    """A text that was spoken, compared, and made into a file."""
    await page.get_by_role("button", name="Speak", exact=True).click()
    status = page.locator("form.making").get_by_role("status")
    await expect(status).to_contain_text("of speech made in", timeout=WAIT)
    await page.get_by_role("button", name="Make both").click()
    await expect(page.get_by_text("Which is better?")).to_be_visible(timeout=WAIT)
    await page.evaluate("scrollTo(0, 0)")


async def transcript(page: Page) -> None:
    """A transcript in the middle of its playback."""
    await page.get_by_label("Choose a file").set_input_files(AUDIO / "lv_0870.wav")
    await page.get_by_role("button", name="Transcribe").click()
    card = page.locator(".transcript-card")
    await expect(card).to_have_attribute("data-sound", "ready", timeout=WAIT)
    await card.locator(".word").nth(7).click()
    await card.get_by_role("button", name="Pause").click()
    await card.evaluate("(card) => scrollTo(0, card.getBoundingClientRect().top + scrollY - 12)")


async def take(server: str, folder: Path) -> None:
    """All of them."""
    chromium = find_chromium()
    assert chromium, "Chromium is missing"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        for name, bench, size, scheme, prepare in (
            ("workbench.png", "speech", DESK, "light", speech),
            ("workbench-dark.png", "speech", DESK, "dark", speech),
            ("workbench-phone.png", "transcription", PHONE, "light", transcript),
        ):
            page = await opened(browser, f"{server}/workbench/{bench}", size, scheme)
            await prepare(page)
            await page.screenshot(path=folder / name)
            await page.close()
        await browser.close()


if __name__ == "__main__":
    asyncio.run(take(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "docs"))
