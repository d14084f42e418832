"""The page of a call that was resumed: its parts are shown and heard on one axis."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from pipelines.engines.scripted.live import tone
from tests.e2e.browser import BrowserPage
from tests.e2e.npm_packages import web_tools
from tests.e2e.operating import everybody_can_use
from tests.e2e.test_calls_page import LONG, agent_id, opened, position, rest, speaking
from tests.support.gateway.scripted_server import RATE, ScriptedServer, server

__all__ = ["server", "web_tools"]
pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(150)]

WANTS = {"type": "realtime", "blab": {"events": ["resumption"]}}
GAP_SECONDS = 1.2
"""Without a connection."""
LOUD = 500
KEEP = """
const make = URL.createObjectURL;
URL.createObjectURL = (blob) => ((globalThis.sound = blob), make.call(URL, blob));
"""
LOUDNESS = """async ([from, to]) => {
  const bytes = await sound.arrayBuffer();
  const rate = new DataView(bytes).getUint32(24, true);
  const samples = new Int16Array(bytes, 44);
  const most = [0, 0];
  for (let at = Math.round(from * rate / 1000); at < to * rate / 1000; at++)
    for (const one of [0, 1]) most[one] = Math.max(most[one], Math.abs(samples[2 * at + one]));
  return most;
}"""


async def resumed_call(server: ScriptedServer) -> tuple[dict[str, Any], dict[str, Any]]:
    """A call of three parts, which was lost twice while the agent spoke, and its timeline."""
    server.engines.chat_model.answer = lambda _: LONG
    said = tone(440, int(0.6 * RATE), RATE)
    query = f"agent_id={await agent_id(server)}"
    for number in (1, 2, 3):
        async with server.client(binary=True, query=query, checked=False) as caller:
            await caller.send({"type": "session.update", "session": WANTS})
            handle = (await caller.wait_for("blab.session.resumption"))["handle"]
            async with speaking(caller, b"" if number == 2 else said):
                await caller.until(lambda: len(caller.pcm) > RATE, what="half a second of speech")
                if number == 3:
                    await caller.wait_for("response.done", seconds=20)
            if number < 3:
                caller.connection.transport.abort()
                await caller.wait_closed()
        query = f"resume={handle}"
        await asyncio.sleep(GAP_SECONDS)
    async with rest(server) as http, asyncio.timeout(20):
        while True:
            async with http.get("/api/calls?recorded=true") as answer:
                [call] = (await answer.json())["data"]
            if call["recording"]["state"] == "complete":
                break
            await asyncio.sleep(0.02)
        async with http.get(f"/api/calls/{call['id']}") as answer:
            call = (await answer.json())["data"]
        async with http.get(f"/api/calls/{call['id']}/timeline") as answer:
            return call, (await answer.json())["data"]


async def loudness(page: Page, from_ms: float, to_ms: float) -> tuple[bool, bool]:
    """Whether the caller's and the agent's voice can be heard in a stretch of what is played."""
    caller, agent = await page.evaluate(LOUDNESS, [from_ms, to_ms])
    return caller > LOUD, agent > LOUD


async def test_a_call_of_several_parts_is_shown_and_heard_on_one_axis(
    server: ScriptedServer, browser_page: BrowserPage, web_tools: Path
) -> None:
    call, timeline = await resumed_call(server)
    first, second, third = call["parts"]
    ends = [part["beginsMs"] + part["durationMs"] for part in (first, second)]
    visit = await browser_page()
    page = visit.page
    await page.add_init_script(KEEP)
    await opened(page, server, call["id"])
    await expect(page.locator(".facts")).to_contain_text("3 parts")
    await expect(page.locator(".legend")).to_contain_text("No connection")

    # what each part holds is where it was said, and nothing is between them
    speech = [one for one in timeline["agentSpeech"] if one["toMs"] - one["fromMs"] > 300]
    for part in (first, second):
        inside = [one for one in speech if abs(one["fromMs"] - part["beginsMs"]) < 3000]
        assert inside, (part, speech)
    for one in speech:
        assert (await loudness(page, one["fromMs"] + 50, one["toMs"] - 50))[1]
    for one in timeline["callerSpeech"]:
        assert (await loudness(page, one["fromMs"] + 50, one["toMs"] - 50))[0]
    for end, part in zip(ends, (second, third), strict=True):
        assert part["beginsMs"] - end > 500
        assert await loudness(page, end + 100, part["beginsMs"] - 50) == (False, False)

    # the transcript says what happened, and a word of a later part is heard where it lies
    lines = page.locator(".line.resumed")
    await expect(lines).to_have_count(2)
    await expect(lines.first).to_contain_text("Call resumed:")
    await expect(lines.first).to_contain_text("s without a connection")
    replies = page.locator(".entry.blab")
    await expect(replies.first.locator(".note")).to_have_text("connection lost")
    word = replies.nth(1).locator(".word").first
    ms = float(await word.get_attribute("data-ms") or 0)
    assert second["beginsMs"] <= ms < ends[1]
    await word.click()
    await expect(page.get_by_role("button", name="Pause")).to_be_visible()
    await page.get_by_role("button", name="Pause").click()
    assert await position(page) >= ms - 100

    canvas = page.locator(".axis canvas")
    box = await canvas.bounding_box()
    assert box is not None
    middle = (ends[0] + second["beginsMs"]) / 2
    total = max(timeline["durationMs"], third["beginsMs"] + third["durationMs"])
    x = 7 + (box["width"] - 14) * middle / total
    await canvas.hover(position={"x": x, "y": box["height"] / 2})
    await expect(page.locator(".tip")).to_contain_text("no connection")
    await everybody_can_use(page, (web_tools / "axe-core" / "axe.min.js").read_text(), "a call")
    assert visit.console_errors == []
