"""The page of calls in a real Chromium, on a real server with scripted engines: calls are found,
listened to, looked at, hung up and deleted."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Page, expect

from pipelines.engines.scripted.live import tone
from tests.e2e.browser import BrowserPage
from tests.e2e.npm_packages import web_tools
from tests.e2e.operating import violations
from tests.support.gateway.realtime_client import RealtimeClient
from tests.support.gateway.scripted_server import HEARD, RATE, ScriptedServer, server

__all__ = ["server", "web_tools"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]

AGENT = "Front desk"
LONG = "Answer 900 one two three four five six seven eight nine ten eleven twelve thirteen."
WAIT = 15_000.0
"""ms until the page must show something."""
SIZES = [(360, 640), (1366, 650)]
NEAR_MS = 25


async def pushed(caller: RealtimeClient, *sounds: bytes) -> None:
    """Sends audio in real time, then silence until cancelled."""
    pcm = b"".join(sounds)
    loop = asyncio.get_running_loop()
    due, sent = loop.time(), 0
    while True:
        await caller.send_audio(pcm[sent : sent + 960].ljust(960, b"\0"))
        sent, due = sent + 960, due + 0.02
        await asyncio.sleep(max(0.0, due - loop.time()))


@asynccontextmanager
async def speaking(caller: RealtimeClient, *sounds: bytes) -> AsyncIterator[None]:
    task = asyncio.create_task(pushed(caller, *sounds))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def rest(server: ScriptedServer) -> AsyncIterator[aiohttp.ClientSession]:
    key = await server.new_key(scopes=("agents:read", "agents:write"))
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(server.url, headers=headers) as http:
        yield http


async def agent_id(server: ScriptedServer) -> str:
    wanted = {"name": AGENT, "systemPrompt": "talk 900", "recording": {"enabled": True}}
    async with rest(server) as http, http.post("/api/agents", json=wanted) as answer:
        return str((await answer.json())["data"]["id"])


async def recorded_call(server: ScriptedServer, agent: str) -> dict[str, Any]:
    """A call with a reply that is cut off by the caller's next words; with its timeline."""
    server.engines.chat_model.answer = lambda _: LONG
    said = tone(440, int(0.6 * RATE), RATE)
    async with server.client(binary=True, query=f"agent_id={agent}") as caller:
        await caller.wait_for("session.created")
        async with speaking(caller, said):
            await caller.wait_for("response.output_audio_transcript.delta", seconds=20)
        async with speaking(caller, bytes(2 * RATE), said):
            await caller.wait_for("response.done", count=2, seconds=20)
    async with rest(server) as http, asyncio.timeout(20):
        while True:
            async with http.get("/api/calls?recorded=true") as answer:
                calls = (await answer.json())["data"]
            if calls and calls[0]["recording"]["state"] == "complete":
                break
            await asyncio.sleep(0.02)
        async with http.get(f"/api/calls/{calls[0]['id']}/timeline") as answer:
            timeline = (await answer.json())["data"]
    return {**calls[0], "timeline": timeline}


async def ready(page: Page, url: str) -> None:
    await page.goto(url)
    await expect(page.locator("body")).to_have_attribute("data-ready", "true", timeout=WAIT)


async def opened(page: Page, server: ScriptedServer, call_id: str, query: str = "") -> None:
    """The page of a call, once its sound can be played."""
    await ready(page, f"{server.url}/calls/{call_id}{query}")
    await expect(page.locator(".panel")).to_have_attribute("data-sound", "ready", timeout=WAIT)


async def position(page: Page) -> float:
    """Where the page plays, in ms."""
    shown = await page.locator(".clock b").inner_text()
    minutes, seconds = shown.split(":")
    return (int(minutes) * 60 + float(seconds)) * 1000


async def test_a_call_is_found_heard_and_deleted(
    server: ScriptedServer, browser_page: BrowserPage
) -> None:
    call = await recorded_call(server, await agent_id(server))
    visit = await browser_page()
    page = visit.page
    await ready(page, f"{server.url}/calls")

    # found by what was said
    row = page.locator("a.row")
    await expect(row).to_have_count(1)
    await expect(row).to_contain_text(AGENT)
    search = page.get_by_role("searchbox", name="Search what was said")
    await page.keyboard.press("/")
    await expect(search).to_be_focused()
    await search.fill("nobody said this")
    await expect(page.get_by_text("No call fits.")).to_be_visible()
    await search.fill(HEARD.split()[0].lower())
    await expect(row).to_have_count(1)
    assert "?q=" in page.url
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**/calls/{call['id']}")
    await expect(page.locator(".panel")).to_have_attribute("data-sound", "ready", timeout=WAIT)

    # what was said, and of the reply that was cut what was not heard
    first, second = call["timeline"]["replies"][:2]
    replies = page.locator(".entry.blab")
    await expect(replies.first).to_contain_text("cut off")
    unheard = first["text"][len(first["heard"]) :].strip()
    assert (await replies.first.locator("del").inner_text()).strip() == unheard
    await expect(replies.first.locator(".latency")).to_contain_text(
        f"Endpointing {first['latency']['endpointingMs']}"
    )

    # heard from a word on; the page follows, and its address, once it stands
    word = replies.nth(1).locator(".word").nth(2)
    ms = float(await word.get_attribute("data-ms") or 0)
    assert second["fromMs"] < ms < second["toMs"]
    await word.click()
    await expect(page.get_by_role("button", name="Pause")).to_be_visible()
    await expect(page.locator(".word.said")).to_have_count(1)
    await expect(replies.nth(1)).to_have_attribute("aria-current", "true")
    await page.get_by_role("button", name="Pause").click()
    assert await position(page) >= ms - 100
    stood = await position(page)
    assert float(page.url.split("t=")[1]) * 1000 == pytest.approx(stood, abs=101)

    # by keys, at twice the speed, of one voice
    await page.locator("body").press("Home")
    assert await position(page) == 0
    await page.locator("body").press("ArrowRight")
    assert await position(page) == pytest.approx(3000, abs=101)
    await page.locator("body").press("k")
    assert await position(page) < 3000
    await page.get_by_label("Speed").select_option("2")
    await page.get_by_role("button", name="Agent", exact=True).click()
    slider = page.get_by_role("slider", name="Position in the call")
    await slider.press(" ")
    await expect(page.get_by_role("button", name="Pause")).to_be_visible()
    await slider.press(" ")

    # a link leads to a moment
    await opened(page, server, call["id"], "?t=2.5")
    assert await position(page) == 2500
    await expect(slider).to_have_attribute("aria-valuetext", re.compile(r"^0:02\.5 of 0:"))
    assert await sound_onset(page, call["id"]) == pytest.approx(
        call["timeline"]["callerSpeech"][1]["fromMs"], abs=NEAR_MS
    )

    async with page.expect_download() as downloading:
        await page.get_by_role("button", name="Export").click()
    assert (await (await downloading.value).path()).stat().st_size > 1000

    # deleted, but only by those who mean it
    await page.get_by_role("button", name="Delete").click()
    await page.get_by_role("button", name="Keep it").click()
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await page.get_by_role("button", name="Delete").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await page.wait_for_url("**/calls")
    assert visit.console_errors == []
    assert visit.external_requests(server.url) == []


async def sound_onset(page: Page, call_id: str) -> float:
    """Where the page has decoded that the caller begins to speak for the second time, in ms: from
    a stretch in the middle of the track, as it does of long ones."""
    return float(
        await page.evaluate(
            """async (id) => {
              const { Access } = await import("/shared/access.js");
              const { Track } = await import("/calls/tracks.js");
              const { RATE } = await import("/shared/peaks.js");
              const access = new Access();
              const call = await access.get(`/api/calls/${id}`);
              const timeline = await access.get(`/api/calls/${id}/timeline`);
              const track = new Track(await access.file(call.parts[0].callerUrl));
              const from = Math.round((timeline.callerSpeech[1].fromMs - 300) * RATE / 1000);
              const samples = await track.samples(from, from + RATE);
              return (from + samples.findIndex((one) => Math.abs(one) > 0.02)) * 1000 / RATE;
            }""",
            call_id,
        )
    )


async def test_a_call_in_progress_is_listened_to_and_hung_up(
    server: ScriptedServer, browser_page: BrowserPage
) -> None:
    agent = await agent_id(server)
    visit = await browser_page()
    page = visit.page
    async with server.client(binary=True, query=f"agent_id={agent}") as caller:
        await caller.wait_for("session.created")
        async with speaking(caller, tone(440, 20 * RATE, RATE)):
            await ready(page, f"{server.url}/calls")
            live = page.get_by_role("region", name="Live")
            await expect(live).to_contain_text(AGENT, timeout=WAIT)
            await expect(live).to_contain_text("Caller speaks", timeout=WAIT)
            await page.get_by_role("button", name="Listen in").click()
            await expect(page.locator("html")).to_have_attribute(
                "data-heard", re.compile(r"\d{1,}"), timeout=WAIT
            )
            await page.get_by_role("button", name="Listen in").click()
            await page.get_by_role("button", name="Hang up").click()
            await expect(live).to_be_hidden(timeout=WAIT)
        await expect(page.locator("a.row")).to_have_count(1, timeout=WAIT)
    await page.locator("a.row").click()
    await expect(page.locator(".panel h1")).to_have_text(AGENT, timeout=WAIT)
    assert visit.console_errors == []


async def test_everybody_can_use_it(
    server: ScriptedServer, browser_page: BrowserPage, web_tools: Path
) -> None:
    """No fault that axe finds, and nothing outside the window: light, dark, small, flat."""
    call = await recorded_call(server, await agent_id(server))
    axe = (web_tools / "axe-core" / "axe.min.js").read_text()
    visit = await browser_page()
    page = visit.page
    comparison = f"/calls/compare?a={call['id']}&b={call['id']}"
    for path in ("/calls", f"/calls/{call['id']}", comparison):
        await ready(page, server.url + path)
        for width, height in SIZES:
            await page.set_viewport_size({"width": width, "height": height})
            for scheme in ("light", "dark"):
                await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                faults = [
                    (one["id"], [node["html"][:120] for node in one["nodes"]])
                    for one in await violations(page, axe)
                ]
                assert faults == [], (path, width, scheme)
                wide = await page.evaluate("document.documentElement.scrollWidth")
                assert wide <= width, (path, scheme)


async def test_elsewhere_a_key_is_needed(server: ScriptedServer, browser_page: BrowserPage) -> None:
    key = await server.new_key(scopes=("agents:read",))
    visit = await browser_page()
    page = visit.page
    await page.route(
        "**/studio/session",
        lambda route: route.fulfill(
            status=403, json={"error": {"code": "FORBIDDEN", "message": "Paste an API key."}}
        ),
    )
    await page.goto(f"{server.url}/calls")
    await expect(page.get_by_text("Paste an API key.")).to_be_visible()
    await page.get_by_role("button", name="Use an API key").click()
    await page.get_by_label("API key").fill(key)
    await page.get_by_role("button", name="Use this key").click()
    await expect(page.get_by_text("No calls yet.")).to_be_visible(timeout=WAIT)
    await page.reload()
    await expect(page.get_by_text("No calls yet.")).to_be_visible(timeout=WAIT)
    assert await page.evaluate("localStorage.length") == 0
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_text("Paste an API key.")).to_be_visible()
