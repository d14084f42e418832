"""How the workbench looks and what it says, on a synthetic server: every size and scheme, things of
every shape, nothing at all, and answers that are refusals."""

import json
from pathlib import Path

import pytest
from playwright.async_api import Page, Route, expect

from tests.e2e.browser import BrowserPage
from tests.e2e.npm_packages import web_tools
from tests.e2e.page_weight import weight_of
from tests.e2e.workbench_answers import answering
from tests.support.gateway.scripted_server import ScriptedServer, server

__all__ = ["server", "web_tools"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]

MOST_BYTES = 60_000
SIZES = [(360, 640), (640, 400), (1366, 650)]
"""640x400 is what a window of 1280x800 has at 200 %."""
WAIT = 15_000.0
BENCHES = ("/speech", "/transcription", "/transcription/job_11", "/voices")


def test_the_page_is_small() -> None:
    sizes = weight_of("workbench")
    assert sum(sizes.values()) <= MOST_BYTES, sizes


async def opened(page: Page, server: ScriptedServer, bench: str) -> None:
    await page.goto(f"{server.url}/workbench{bench}")
    await expect(page.locator("body")).to_have_attribute("data-ready", "true", timeout=WAIT)


async def test_everybody_can_use_it(
    server: ScriptedServer, browser_page: BrowserPage, web_tools: Path
) -> None:
    """No fault that axe finds, and nothing outside the window: light, dark, small, flat."""
    axe = (web_tools / "axe-core" / "axe.min.js").read_text()
    visit = await browser_page()
    page = visit.page
    await answering(page)
    for bench in BENCHES:
        await opened(page, server, bench)
        if bench == "/voices":
            await page.get_by_role("button", name="New voice").click()
        if bench == "/speech":
            await page.get_by_text("Make a file that is kept", exact=True).click()
        for width, height in SIZES:
            await page.set_viewport_size({"width": width, "height": height})
            for scheme in ("light", "dark"):
                await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                await page.evaluate(axe)
                found = await page.evaluate("axe.run()")
                faults = [
                    (one["id"], [node["html"][:120] for node in one["nodes"]])
                    for one in found["violations"]
                ]
                assert faults == [], (bench, width, scheme)
                wide = await page.evaluate("document.documentElement.scrollWidth")
                assert wide <= width, (bench, scheme)


async def test_what_is_not_there_yet_says_how_it_comes(
    server: ScriptedServer, browser_page: BrowserPage
) -> None:
    visit = await browser_page()
    page = visit.page
    await answering(page, empty=True)
    await opened(page, server, "")
    await expect(page.get_by_text("No files yet.")).to_be_visible()
    await page.get_by_role("link", name="Transcription").click()
    await expect(page.get_by_text("No transcripts yet.")).to_be_visible()
    await page.get_by_role("link", name="Voices").click()
    await expect(page.get_by_text("No voices of your own yet.")).to_be_visible()
    await expect(page).to_have_title("Voices – Blab")
    await page.go_back()
    await expect(page.get_by_text("No transcripts yet.")).to_be_visible()
    assert visit.console_errors == []


async def test_words_without_times_are_marked_as_estimates(
    server: ScriptedServer, browser_page: BrowserPage
) -> None:
    page = (await browser_page()).page
    await answering(page)
    await opened(page, server, "/transcription/job_11")
    words = page.get_by_role("group", name="Transcript")
    await expect(words.locator(".word").nth(2)).to_have_class("word unsure")
    await expect(page.get_by_text("they are estimated by their letters")).to_be_visible()
    await expect(page.get_by_text("The recording cannot be played here.")).to_be_visible()
    await expect(words).to_contain_text("Good morning, it's me.")


async def test_a_refusal_is_shown_where_it_happened(
    server: ScriptedServer, browser_page: BrowserPage
) -> None:
    visit = await browser_page()
    page = visit.page
    await answering(page)

    async def refuse(route: Route) -> None:
        error = {"code": "VALIDATION_ERROR", "message": "It contains nothing to say."}
        await route.fulfill(status=400, body=json.dumps({"ok": False, "error": error}))

    await page.route("**/api/tts/stream", refuse)
    await page.route("**/api/voices/samples", refuse)
    await opened(page, server, "/speech")
    await page.get_by_role("button", name="Speak", exact=True).click()
    await expect(page.get_by_role("alert").first).to_have_text("It contains nothing to say.")
    await expect(page.get_by_role("button", name="Speak", exact=True)).to_be_enabled()
    await page.get_by_label("Text to speak").fill(" ")
    await page.get_by_role("button", name="Speak", exact=True).click()
    await expect(page.get_by_role("alert").first).to_have_text("Write something to say first.")
