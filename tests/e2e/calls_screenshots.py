"""The screenshots of the page of calls in docs/, of a recorded call on a server of this machine:
``python -m tests.e2e.calls_screenshots http://127.0.0.1:8484 CALL_ID [FOLDER]``.
"""

import asyncio
import sys
from pathlib import Path

from playwright.async_api import ViewportSize, async_playwright, expect

from tests.e2e.browser import FLAGS, find_chromium
from tests.support.paths import ROOT

WAIT = 60_000.0
PICTURES: list[tuple[str, str, ViewportSize]] = [
    ("calls.png", "light", {"width": 1366, "height": 900}),
    ("calls-dark.png", "dark", {"width": 1366, "height": 900}),
    ("calls-phone.png", "light", {"width": 390, "height": 844}),
]


async def take(server: str, call_id: str, folder: Path) -> None:
    """Each with the playhead in the middle of the call."""
    chromium = find_chromium()
    assert chromium, "Chromium is missing"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        for name, scheme, size in PICTURES:
            page = await browser.new_page(viewport=size)
            await page.emulate_media(
                color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce"
            )
            await page.goto(f"{server}/calls/{call_id}")
            await expect(page.locator(".panel")).to_have_attribute(
                "data-sound", "ready", timeout=WAIT
            )
            axis = page.get_by_role("slider", name="Position in the call")
            box = await axis.bounding_box()
            assert box is not None
            await axis.click(position={"x": box["width"] * 0.45, "y": box["height"] / 3})
            await page.mouse.move(0, 0)
            await page.evaluate("scrollTo(0, 0)")
            await page.screenshot(path=folder / name)
            await page.close()
        await browser.close()


if __name__ == "__main__":
    made_in = Path(sys.argv[3]) if len(sys.argv) > 3 else ROOT / "docs"
    asyncio.run(take(sys.argv[1], sys.argv[2], made_in))
