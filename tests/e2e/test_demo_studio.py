"""The call page against a server that nobody could follow: twenty turns in a second, right-to-left
text, a reply of 8 kB, events that are late, doubled and out of order; in both themes, on a phone
and on a laptop. And what one does on it besides talking: set up, inspect, take the transcript."""

import asyncio
import json
import re
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import WebSocketRoute, expect

from store.tenants.accounts import LOCAL_WORKSPACE
from store.tenants.agents import Agents, NewAgent
from tests.e2e.browser import BrowserPage, Visit, spoken
from tests.e2e.mock_call import LATENCY, Script
from tests.e2e.mock_gateway import MockGateway
from tests.e2e.npm_packages import web_tools
from tests.e2e.page_weight import packed, weight_of
from tests.e2e.test_demo_page import WAIT, arrive, live, talk
from tests.e2e.test_demo_resumption import hang_up
from tests.e2e.test_sdk import COUNTED
from tests.support.gateway.scripted_server import ScriptedServer, server

__all__ = ["server", "web_tools"]
pytestmark = pytest.mark.browser

MOST_BYTES_BEFORE = 35_000
"""Of the scripts that the page loads before a call, compressed."""
WORKLETS = (
    "/sdk/capture-worklet.js",
    "/sdk/player-worklet.js",
    "/sdk/resampler.js",
    "/demo/inspect/recorder-worklet.js",
)
HEBREW = "שלום, מה שלומך היום? אני רוצה להזמין שולחן לשניים."
LONG = "The sea was calm that evening, and nobody spoke of it. " * 150
TURNS = 20
SIZES = ((360, 640), (1366, 650))
ANSWER = {"type": "message", "role": "assistant"}


class FastServer:
    """The other end of the page's WebSocket."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.socket: WebSocketRoute | None = None
        self.opened = asyncio.Event()

    def __call__(self, socket: WebSocketRoute) -> None:
        self.socket = socket
        socket.on_message(self.receive)
        self.send("session.created", session={"type": "realtime"})
        self.opened.set()

    def receive(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            return
        event = json.loads(message)
        if event["type"] == "blab.ping":
            self.send("blab.pong", ping_id=event["event_id"])
        else:
            self.received.append(event)

    def send(self, kind: str, **fields: Any) -> None:
        assert self.socket is not None
        self.socket.send(json.dumps({"type": kind} | fields))

    def hear(self, number: int, text: str) -> None:
        item = f"item_{number}"
        self.send("input_audio_buffer.speech_started", item_id=item, audio_start_ms=0)
        self.send("blab.transcript.partial", item_id=item, text=text[: len(text) // 2])
        self.send("input_audio_buffer.speech_stopped", item_id=item, audio_end_ms=900)
        kind = "conversation.item.input_audio_transcription.completed"
        self.send(kind, item_id=item, transcript=text)

    def reply(self, number: int, text: str) -> None:
        address = {"response_id": f"resp_{number}", "item_id": f"reply_{number}"}
        response = {"id": address["response_id"], "status": "in_progress"}
        self.send("response.created", response=response)
        item = ANSWER | {"id": address["item_id"]}
        self.send("response.output_item.added", response_id=address["response_id"], item=item)
        for start in range(0, len(text), 900):
            kind = "response.output_audio_transcript.delta"
            self.send(kind, **address, delta=text[start : start + 900])
        self.send("blab.latency", response_id=address["response_id"], **LATENCY)
        self.send("response.done", response=response | {"status": "completed", "output": [item]})
        self.send("blab.playout.heard", **address, text=text, heard=text)

    def converse(self) -> None:
        for number in range(TURNS):
            self.hear(number, HEBREW if number % 3 == 1 else f"Question {number}, please.")
            self.reply(number, LONG if number == TURNS - 3 else f"Answer {number}.")

    def confuse(self) -> None:
        """Late, doubled, unknown and out of order; nothing of it changes what was settled."""
        late = {"response_id": "resp_2", "item_id": "reply_2"}
        self.send("response.output_audio_transcript.done", **late, transcript="Answer 2.")
        self.send("response.done", response={"id": "resp_never", "status": "completed"})
        self.send("blab.playout.heard", item_id="reply_never", text="never", heard="")
        self.send("blab.playout.resumed", **late)
        self.send("conversation.item.deleted", item_id="item_never")
        self.send("blab.something.new", number=1)
        self.send("response.output_text.delta", response_id="resp_x", item_id="reply_x", delta="!")
        self.send("response.created", response={"id": "resp_x", "status": "in_progress"})
        self.send("response.done", response={"id": "resp_x", "status": "completed", "output": []})


@pytest.fixture
async def gateway() -> MockGateway:
    return MockGateway()


@pytest.fixture
async def address(gateway: MockGateway) -> AsyncIterator[str]:
    async with gateway.running() as address:
        yield address


async def inspect(page: Any) -> None:
    await page.get_by_role("button", name="Inspect", exact=True).click()
    await expect(page.get_by_role("complementary", name="Inspect")).to_be_visible()


async def show(page: Any, tab: str) -> None:
    await page.get_by_role("tab", name=tab).click()
    await expect(page.get_by_role("tabpanel", name=tab)).to_be_visible()


async def close_inspector(page: Any) -> None:
    await page.get_by_role("button", name="Close", exact=True).click()


async def accessible(page: Any, where: str, part: str = "html") -> None:
    """No rule of axe-core is violated within a part of the page."""
    found = await page.evaluate("part => axe.run(part, { resultTypes: ['violations'] })", part)
    wrong = [
        (violation["id"], [part["html"] for part in violation["nodes"]])
        for violation in found["violations"]
    ]
    assert wrong == [], where


OUTSIDE = """() => [...document.querySelectorAll("button, input, select, textarea, h2, .bubble")]
  .filter((part) => part.checkVisibility() && !part.closest(".event-rows, .visually-hidden"))
  .filter((part) => !part.matches(".visually-hidden, .skip"))
  .filter((part) => {
    const { left, right } = part.getBoundingClientRect();
    return left < -1 || right > innerWidth + 1;
  })
  .map((part) => part.outerHTML.slice(0, 120))"""


async def inside(page: Any, where: str) -> None:
    """Nothing is wider than the window."""
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), where
    assert await page.evaluate(OUTSIDE) == [], where


@pytest.mark.timeout(300)
async def test_a_flood_of_turns(browser_page: BrowserPage, address: str, web_tools: Path) -> None:
    visit = await browser_page(reduced_motion="reduce", viewport=SIZES[0])
    page, server = visit.page, FastServer()
    await page.route_web_socket(re.compile("/v1/realtime"), server)
    await arrive(visit, address, "websocket")
    await page.evaluate((web_tools / "axe-core" / "axe.min.js").read_text())
    await accessible(page, "idle")
    await talk(page)
    server.converse()
    server.confuse()
    await expect(page.locator(".turn.you")).to_have_count(TURNS, timeout=WAIT)
    await expect(page.locator(".turn.blab")).to_have_count(TURNS + 1, timeout=WAIT)
    assert await page.locator(".turn.blab").nth(2).locator(".words").inner_text() == "Answer 2."
    assert await page.locator(".turn.blab").nth(TURNS - 3).locator(".words").inner_text() == LONG
    hebrew = page.locator(".turn.you").nth(1).locator(".words")
    assert await hebrew.evaluate("words => getComputedStyle(words).direction") == "rtl"
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        for width, height in SIZES:
            where = f"{scheme} {width}x{height}"
            await page.set_viewport_size({"width": width, "height": height})
            await expect(page.locator(".turns > li").last).to_be_in_viewport(ratio=0.5)
            await inside(page, where)
            await accessible(page, where)
            await inspect(page)
            for tab in ("Turns", "Network", "Tools", "Events"):
                await show(page, tab)
                await inside(page, f"{tab} {where}")
                await accessible(page, f"{tab} {where}", "#inspector")
            await close_inspector(page)
            await page.get_by_role("button", name="Set up").click()
            await inside(page, f"set up {where}")
            await accessible(page, f"set up {where}", "#setup")
            await page.get_by_role("button", name="Done").click()
    assert visit.console_errors == []


async def test_events_are_filtered_shown_and_exported(
    browser_page: BrowserPage, address: str, tmp_path: Path
) -> None:
    visit = await browser_page()
    page, server = visit.page, FastServer()
    await page.route_web_socket(re.compile("/v1/realtime"), server)
    await arrive(visit, address, "websocket")
    await inspect(page)
    await talk(page)
    server.hear(1, "What is the weather?")
    server.reply(1, "Fine.")
    call = {"id": "call_1", "type": "mcp_call", "name": "weather", "arguments": '{"city":"Paris"}'}
    server.send("response.output_item.done", item=call)
    server.send("conversation.item.done", item=call | {"output": "sunny"})
    await page.get_by_label("Filter events").fill("received weather transcript")
    await expect(page.get_by_role("option")).to_have_count(1, timeout=WAIT)
    await page.get_by_role("option").click()
    shown = json.loads(await page.locator("#event-detail").inner_text())
    assert shown["transcript"] == "What is the weather?"
    await page.get_by_label("Filter events").fill("sent session.update")
    await expect(page.get_by_role("option")).to_have_count(1)
    await show(page, "Turns")
    await expect(page.get_by_role("tabpanel", name="Turns")).to_contain_text("What is the weather?")
    await expect(page.get_by_role("tabpanel", name="Turns")).to_contain_text("310")
    await show(page, "Tools")
    await expect(page.get_by_role("tabpanel", name="Tools")).to_contain_text("sunny")
    await show(page, "Events")
    async with page.expect_download() as downloading:
        await page.get_by_role("button", name="Export").click()
    await (await downloading.value).save_as(tmp_path / "events.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [line["event"]["type"] for line in lines][:2] == ["session.created", "session.update"]
    assert {line["from"] for line in lines} == {"server", "client"}
    assert all(line["seconds"] >= 0 for line in lines)
    assert visit.console_errors == []


async def test_a_call_is_played_again(
    browser_page: BrowserPage, gateway: MockGateway, address: str, tmp_path: Path
) -> None:
    """Both tracks, with an interruption, on one axis; and as a file."""
    gateway.script = Script(voice="lv_0920")
    wav = spoken(tmp_path / "voice.wav", 1.5, "joe_q_weather", 2.5, "joe_stop", 10.0)
    visit = await browser_page(wav)
    page = await arrive(visit, address, "websocket")
    await inspect(page)
    await talk(page)
    reply = page.locator(".turn.blab").first
    await expect(reply).to_have_attribute("data-state", "cut", timeout=WAIT)
    await page.get_by_role("button", name="Hang up").click()
    axis = page.locator("#timeline")
    await expect(axis).to_have_attribute("aria-label", re.compile("interruption: 1"))
    colours = await axis.evaluate(
        """(canvas) => {
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          const seen = new Set();
          for (let i = 0; i < data.length; i += 4) {
            if (data[i + 3] === 255) seen.add(`${data[i]},${data[i + 1]},${data[i + 2]}`);
          }
          return [...seen];
        }"""
    )
    assert {"11,122,115", "217,83,44"} <= set(colours)  # the caller's wave and the agent's
    async with page.expect_download() as downloading:
        await page.get_by_role("button", name="Download both tracks").click()
    await (await downloading.value).save_as(tmp_path / "call.wav")
    with wave.open(str(tmp_path / "call.wav")) as tracks:
        assert (tracks.getnchannels(), tracks.getframerate()) == (2, 16_000)
        samples = memoryview(tracks.readframes(tracks.getnframes())).cast("h")
    assert max(samples[0::2]) > 1_000
    assert max(samples[1::2]) > 1_000
    await page.get_by_role("slider", name="Position").fill("0")
    await page.get_by_role("button", name="Play again").click()
    await expect(page.get_by_role("button", name="Pause")).to_be_visible()
    position = "Number(document.getElementById('position').value)"
    await page.wait_for_function(f"() => {position} > 0.3", timeout=WAIT)
    assert visit.console_errors == []


async def test_push_to_talk_sends_only_what_is_said_while_the_button_is_held(
    browser_page: BrowserPage, gateway: MockGateway, address: str
) -> None:
    visit = await browser_page()
    page = await arrive(visit, address, "websocket")
    await page.get_by_role("button", name="Set up").click()
    await page.get_by_role("radio", name="Push to talk").check()
    await page.get_by_role("button", name="Done").click()
    await talk(page)
    call = await gateway.next_call()
    update = next(event for event in call.received if event["type"] == "session.update")
    assert update["session"]["audio"]["input"]["turn_detection"] is None
    push = page.get_by_role("button", name="Hold to talk")
    await expect(push).to_be_enabled()
    await expect(page.locator("#state")).to_contain_text("Hold to talk")
    await push.focus()
    await page.keyboard.down("Space")
    await expect(page.locator("#state")).to_contain_text("Hearing you")
    await page.keyboard.up("Space")
    await expect(page.locator(".turn.blab")).to_have_count(1, timeout=WAIT)
    kinds = [event["type"] for event in call.received][1:4]
    buffer = "input_audio_buffer"
    assert kinds == [f"{buffer}.clear", f"{buffer}.commit", "response.create"]
    assert visit.console_errors == []


async def test_the_transcript_can_be_taken_away(
    browser_page: BrowserPage, address: str, tmp_path: Path
) -> None:
    visit = await browser_page(microphone="missing")
    page, server = visit.page, FastServer()
    await page.route_web_socket(re.compile("/v1/realtime"), server)
    await arrive(visit, address, "websocket")
    save = page.get_by_role("button", name="Download the transcript")
    await expect(save).to_be_disabled()
    await page.get_by_role("button", name="What is the capital of France?").click()
    await live(page)
    server.reply(1, "Paris, on the Seine.")
    address_of = {"response_id": "resp_1", "item_id": "reply_1"}
    text = {"text": "Paris, on the Seine.", "heard": "Paris,"}
    server.send("blab.playout.heard", **address_of, **text)
    await expect(page.locator(".turn.blab del")).to_have_count(1, timeout=WAIT)
    async with page.expect_download() as downloading:
        await save.click()
    await (await downloading.value).save_as(tmp_path / "transcript.txt")
    assert (tmp_path / "transcript.txt").read_text().splitlines() == [
        "You: What is the capital of France?",
        "Blab: Paris, [not heard: on the Seine.]",
    ]


async def test_a_voice_is_heard_before_it_is_chosen(
    browser_page: BrowserPage, gateway: MockGateway, address: str
) -> None:
    visit = await browser_page(microphone="missing")
    page = await arrive(visit, address, "websocket")
    await page.get_by_role("button", name="Set up").click()
    await page.get_by_role("button", name="Hear the voice").click()
    call = await gateway.next_call()
    async with asyncio.timeout(10):
        while not any(event["type"] == "blab.say" for event in call.received):
            await asyncio.sleep(0.01)
    await expect(page.locator("#preview")).not_to_have_attribute("aria-busy", "true", timeout=WAIT)
    await expect(page.locator("body")).to_have_attribute("data-phase", "idle")


async def test_the_page_loads_in_use_what_its_weight_counts(
    browser_page: BrowserPage, address: str
) -> None:
    visit = await browser_page()
    page = await arrive(visit, address, "websocket")
    before = {path: packed(path) for path in scripts(visit, address)}
    assert sum(before.values()) <= MOST_BYTES_BEFORE, before
    await talk(page)
    await inspect(page)
    counted = weight_of("demo")
    assert {"/sdk/blab.js", "/demo/inspect/panel.js"} <= scripts(visit, address) <= counted.keys()
    assert set(WORKLETS) <= counted.keys()  # the browser does not say that it loads them


def scripts(visit: Visit, address: str) -> set[str]:
    """The addresses of the scripts that the page has loaded."""
    return {url.removeprefix(address) for url in visit.requests if url.endswith(".js")}


@pytest.mark.timeout(90)
async def test_the_server_takes_what_is_set_up(
    browser_page: BrowserPage, server: ScriptedServer
) -> None:
    """Who answers, from the next call on; the rest during a call. Nothing is refused."""
    new = NewAgent("Lisa", system_prompt="talk 900")
    lisa = await Agents(server.database).create(LOCAL_WORKSPACE, new)
    visit = await browser_page()
    page = await arrive(visit, server.url, "websocket")
    await page.get_by_role("button", name="Set up").click()
    dialog = page.get_by_role("dialog", name="Set up")
    await dialog.get_by_label("Who answers").select_option("Lisa", timeout=WAIT)
    await expect(dialog.get_by_label("Instructions")).to_be_hidden()
    await dialog.get_by_text("Copy as code").click()
    await expect(page.locator("#code")).to_contain_text(f'agent: "{lisa.id}"')
    await dialog.get_by_role("button", name="Done").click()
    await page.get_by_role("button", name="What is the capital of France?").click()
    await expect(page.locator(".turn.blab")).to_contain_text("Answer 900.", timeout=WAIT)
    assert (await server.live(server.app_calls()[0])).agent_id == lisa.id
    await page.get_by_role("button", name="Set up").click()
    for pace in ("Patient", "Quick", "Push to talk", "Balanced"):
        await dialog.get_by_role("radio", name=pace).check()
    await dialog.get_by_role("checkbox", name="My voice interrupts Blab").uncheck()
    await dialog.get_by_role("button", name="Done").click()
    await inspect(page)
    await page.get_by_label("Filter events").fill("received session.updated")
    await expect(page.get_by_role("option")).to_have_count(6, timeout=WAIT)
    await page.get_by_role("option").last.click()
    shown = json.loads(await page.locator("#event-detail").inner_text())
    detection = shown["session"]["audio"]["input"]["turn_detection"]
    assert (detection["eagerness"], detection["interrupt_response"]) == ("auto", False)
    await page.get_by_label("Filter events").fill("received error")
    await expect(page.get_by_role("option")).to_have_count(0)
    await hang_up(page)
    assert visit.console_errors == []


async def test_nothing_runs_or_listens_after_a_call(
    browser_page: BrowserPage, address: str
) -> None:
    visit = await browser_page()
    page = visit.page
    await page.add_init_script(COUNTED)
    await arrive(visit, address)
    before = await page.evaluate("left()")
    await talk(page)
    await expect(page.locator(".turn.you").first).to_be_visible(timeout=WAIT)
    await page.get_by_role("button", name="Hang up").click()
    await expect(page.locator("body")).to_have_attribute("data-phase", "idle")
    async with asyncio.timeout(10):
        while (left := await page.evaluate("left()")) != before and len(left) > len(before):
            await asyncio.sleep(0.1)
    assert left == before
