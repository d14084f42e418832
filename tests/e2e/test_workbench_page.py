"""How the workbench looks and what it says, on a synthetic server: every size and scheme, things of
every shape, nothing at all, and answers that are refusals."""

import json
from pathlib import Path

import pytest
from playwright.async_api import Page, Route, expect

from tests.e2e.browser import BrowserPage
from tests.e2e.npm_packages import web_tools
from tests.e2e.operating import violations
from tests.e2e.workbench_answers import answering, transcript
from tests.support.gateway.scripted_server import ScriptedServer, server

__all__ = ["server", "web_tools"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SIZES = [(360, 640), (640, 400), (1366, 650)]
"""640x400 is what a window of 1280x800 has at 200 %."""
WAIT = 15_000.0
BENCHES = ("/speech", "/transcription", "/transcription/job_11", "/voices")


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
                faults = [
                    (one["id"], [node["html"][:120] for node in one["nodes"]])
                    for one in await violations(page, axe)
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


async def test_a_model_that_does_not_stream_is_not_compared(
    server: ScriptedServer, browser_page: BrowserPage
) -> None:
    page = (await browser_page()).page
    await answering(page)
    await opened(page, server, "/speech")
    both = page.get_by_role("button", name="Make both")
    await expect(both).to_be_enabled()
    await page.get_by_label("Model").select_option("blab-expressive")
    await expect(both).to_be_disabled()
    await expect(page.get_by_text("This model does not stream")).to_be_visible()
    await expect(page.get_by_role("slider", name="Emotion")).to_be_visible()
    await page.get_by_label("Model").select_option("blab-stable")
    await expect(both).to_be_enabled()


async def test_a_dropped_file_is_sent_and_followed_over_lost_connections(
    server: ScriptedServer, browser_page: BrowserPage
) -> None:
    page = (await browser_page()).page
    await answering(page)
    asked: list[str | None] = []

    async def accept(route: Route) -> None:
        data = {"jobId": "job_11", "status": "queued"}
        await route.fulfill(status=202, json={"ok": True, "data": data, "meta": {}})

    async def events(route: Route) -> None:
        asked.append(route.request.headers.get("last-event-id"))
        name, number = ("progress", 7) if len(asked) == 1 else ("completed", 8)
        event = f'id: {number}\nevent: {name}\ndata: {{"progress": 40}}\n\n'
        if len(asked) == 2:
            await route.abort()
        else:
            await route.fulfill(body=event, content_type="text/event-stream")

    async def job(route: Route) -> None:
        status = "completed" if len(asked) > 2 else "running"
        data = transcript() | {"status": status, "id": "job_11"}
        await route.fulfill(json={"ok": True, "data": data, "meta": {}})

    await page.route("**/api/stt", accept)
    await page.route("**/api/jobs/job_11", job)
    await page.route("**/api/jobs/job_11/events", events)
    await opened(page, server, "/transcription")
    await page.locator(".drop").evaluate(
        """(drop) => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File(["RIFF"], "memo.wav", { type: "audio/wav" }));
          drop.dispatchEvent(new DragEvent("drop", { dataTransfer, cancelable: true }));
        }"""
    )
    await expect(page.locator(".drop")).to_contain_text("memo.wav")
    await page.get_by_role("button", name="Transcribe").click()
    await page.wait_for_url("**/transcription/job_11")
    await expect(page.get_by_role("group", name="Transcript")).to_contain_text("Good morning")
    assert asked == [None, "7", "7"]
