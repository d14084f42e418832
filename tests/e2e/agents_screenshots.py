"""The screenshots of the room of agents in docs/, on a server of this machine:
``python -m tests.e2e.agents_screenshots http://localhost:8484 [FOLDER]``.

It makes a receptionist, talks to it with a recording of tests/audio, changes its opening hours, and
deletes it in the end.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from playwright.async_api import Page, ViewportSize, async_playwright, expect

from tests.e2e.browser import FLAGS, find_chromium, spoken
from tests.support.paths import ROOT

WAIT = 60_000.0
QUESTIONS: list[str | float] = [7.0, "joe_q_help", 20.0]
PICTURES: list[tuple[str, str, ViewportSize]] = [
    ("agents.png", "light", {"width": 1366, "height": 900}),
    ("agents-dark.png", "dark", {"width": 1366, "height": 900}),
    ("agents-phone.png", "light", {"width": 390, "height": 844}),
]


async def take(server: str, folder: Path) -> None:
    """Each while the call that was made is on the page."""
    chromium = find_chromium()
    assert chromium, "Chromium is missing"
    with tempfile.TemporaryDirectory() as scratch:
        said = spoken(Path(scratch) / "said.wav", *QUESTIONS)
        flags = [
            *FLAGS,
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={said}%noloop",
        ]
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium, args=flags)
            page = await browser.new_page(viewport=PICTURES[0][2])
            await page.emulate_media(reduced_motion="reduce")
            await make(page, server)
            for name, scheme, size in PICTURES:
                await page.set_viewport_size(size)
                await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
                at = "#try" if size["width"] < 900 else "h1"
                await page.locator(at).evaluate("one => one.scrollIntoView({block: 'center'})")
                await page.screenshot(path=folder / name)
            await page.get_by_role("button", name="Delete", exact=True).first.click()
            dialog = page.get_by_role("dialog")
            await dialog.get_by_role("button", name="Delete").click()
            await page.wait_for_url(f"{server}/agents")
            await browser.close()


async def make(page: Page, server: str) -> None:
    """An agent with two versions, that was talked to."""
    await page.goto(f"{server}/agents/new?template=receptionist")
    instructions = page.get_by_label("Instructions")
    text = await instructions.input_value(timeout=WAIT)
    for blank, filled in (
        ("[company]", "Lindgren Bicycles"),
        ("[address]", "12 Harbour Street"),
        ("[Add what callers ask most: parking, prices, who is responsible for what.]",
         "A check-up costs sixty euros and takes a day."),
    ):  # fmt: skip
        text = text.replace(blank, filled)
    await instructions.fill(text)
    await page.get_by_label("Name", exact=True).fill("Front desk")
    await page.get_by_role("button", name="Create").click()
    state = page.locator(".save-state")
    await expect(state).to_contain_text("Created", timeout=WAIT)
    await instructions.fill(text.replace("nine to five", "ten to six"))
    await page.get_by_label("What did you change?").fill("Summer opening hours")
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(state).to_have_text("Saved as version 2.", timeout=WAIT)
    await page.get_by_role("button", name="Talk to it").click()
    await expect(page.locator(".said .took")).to_have_count(1, timeout=WAIT)
    await expect(page.locator(".try-status")).to_contain_text("Speaking", timeout=WAIT)
    await expect(page.locator(".try-status")).to_contain_text("Listening", timeout=WAIT)
    await page.get_by_role("button", name="Hang up").click()
    await expect(page.get_by_text("The call has ended.")).to_be_visible(timeout=WAIT)
    await page.locator("body").evaluate("() => document.activeElement.blur()")


if __name__ == "__main__":
    made_in = Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "docs"
    asyncio.run(take(sys.argv[1].rstrip("/"), made_in))
