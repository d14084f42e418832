"""The screenshots of the room of simulated callers in docs/, of a server of this machine that has a
run: ``python -m tests.e2e.simulate_screenshots http://localhost:8484 SIMULATION_ID [FOLDER]``.
"""

import asyncio
import sys
from pathlib import Path

from playwright.async_api import ViewportSize, async_playwright, expect

from tests.e2e.browser import FLAGS, find_chromium
from tests.support.paths import ROOT

WAIT = 60_000.0
DESK: ViewportSize = {"width": 1200, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 780}
PICTURES: list[tuple[str, str, ViewportSize]] = [
    ("", "light", DESK),
    ("-dark", "dark", DESK),
    ("-phone", "light", PHONE),
]


async def take(server: str, simulation_id: str, folder: Path) -> None:
    """The form, and the report of one run, each from its top."""
    rooms = {"simulate": f"/simulate/{simulation_id}", "simulate-form": "/simulate"}
    chromium = find_chromium()
    assert chromium, "Chromium is missing"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        for room, path in rooms.items():
            for ending, scheme, size in PICTURES:
                page = await browser.new_page(viewport=size)
                await page.emulate_media(
                    color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce"
                )
                await page.goto(server + path)
                await expect(page.locator("body")).to_have_attribute(
                    "data-ready", "true", timeout=WAIT
                )
                if room == "simulate":  # calls that passed are closed
                    await page.locator("main details").first.evaluate("call => (call.open = true)")
                await page.screenshot(path=folder / f"{room}{ending}.png")
                await page.close()
        await browser.close()


if __name__ == "__main__":
    made_in = Path(sys.argv[3]) if len(sys.argv) > 3 else ROOT / "docs"
    asyncio.run(take(sys.argv[1], sys.argv[2], made_in))
