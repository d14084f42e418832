"""The demo page in a real Chromium, against the mock gateway (`mock_gateway`)."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, WSCloseCode
from playwright.async_api import Locator, expect

from tests.e2e.browser import BrowserPage, Visit, spoken
from tests.e2e.mock_call import CLAUSES, QUESTION, MockCall, Script
from tests.e2e.mock_gateway import API_KEY, POLICY, MockGateway
from tests.support.paths import STATIC

pytestmark = pytest.mark.browser

OURS = ("demo", "sdk", "shared")
"""The folders of static/ that hold our own scripts."""

TRANSPORTS = pytest.mark.parametrize("transport", ["webrtc", "websocket"])
REFUSED = "Failed to load resource: the server responded with a status of 503 (Service Unavailable)"
WAIT = 20_000.0
"""ms until something that happens within a call must have happened."""


@pytest.fixture
async def gateway() -> MockGateway:
    return MockGateway()


@pytest.fixture
async def address(gateway: MockGateway) -> AsyncIterator[str]:
    async with gateway.running() as address:
        yield address


@pytest.fixture
def question(tmp_path: Path) -> Path:
    """One utterance, after the time that a call needs to come up."""
    return spoken(tmp_path / "question.wav", 1.5, "joe_q_weather", 10.0)


@pytest.fixture
def interrupting(tmp_path: Path) -> Path:
    """A question, and more words while the answer (6 s) is being spoken."""
    return spoken(tmp_path / "interrupting.wav", 1.5, "joe_q_weather", 2.5, "joe_stop", 10.0)


async def arrive(visit: Visit, address: str, transport: str = "webrtc") -> Any:
    """Open the page, choose the transport, wait until a call is possible."""
    page = visit.page
    await page.goto(address)
    await expect(page.locator("body")).to_have_attribute("data-phase", "idle", timeout=WAIT)
    if transport == "websocket":
        await page.get_by_role("radio", name="WebSocket").focus()
        await page.keyboard.press("Space")
        await expect(page.get_by_role("radio", name="WebSocket")).to_be_checked()
    return page


async def talk(page: Any) -> None:
    await page.get_by_role("button", name="Start talking").click()
    await live(page)


async def live(page: Any) -> None:
    await expect(page.locator("body")).to_have_attribute("data-phase", "live", timeout=WAIT)


async def peak(meter: Locator, threshold: int = 15) -> None:
    """Wait until a level meter has shown more than ``threshold`` percent."""
    await expect(meter).to_have_attribute(
        "aria-valuenow", re.compile(rf"^({threshold // 10 + 1}\d|[3-9]\d|100)$"), timeout=WAIT
    )


def update_of(call: MockCall) -> dict[str, Any]:
    return next(event for event in call.received if event["type"] == "session.update")


@TRANSPORTS
async def test_a_spoken_turn(
    transport: str, browser_page: BrowserPage, gateway: MockGateway, address: str, question: Path
) -> None:
    visit = await browser_page(question)
    page = await arrive(visit, address, transport)
    await talk(page)
    call = await gateway.next_call()

    user = page.locator(".turn.you")
    await expect(user).to_have_attribute("data-state", "live", timeout=WAIT)
    await expect(user).to_contain_text("tell me", timeout=WAIT)  # a partial, as it grows
    await peak(page.get_by_role("meter", name="You"), 10)
    await expect(user.locator(".words")).to_have_text(QUESTION, timeout=WAIT)

    reply = page.locator(".turn.blab")
    await expect(reply).to_contain_text(CLAUSES[0].strip(), timeout=WAIT)
    await peak(page.get_by_role("meter", name="Blab"))
    assert await page.evaluate("document.getElementById('speaker').srcObject !== null") == (
        transport == "webrtc"
    )
    await expect(reply).to_have_attribute("data-state", "done", timeout=WAIT)
    await expect(reply.locator(".words")).to_have_text("".join(CLAUSES))
    await expect(reply.locator("figure")).to_contain_text("Endpointing 310")
    await expect(reply.locator("figure")).to_contain_text(re.compile(r"Network \d+"))
    await expect(page.locator("#announcer")).to_be_empty()  # the voice has said it already

    asked = set(update_of(call)["session"]["blab"]["events"])
    assert asked == {"latency", "transcript.partial", "playout", "language", "resumption"}
    if transport == "websocket":
        assert "blab.binary.v1" in call.offered
    assert call.loudness() > 100
    await page.get_by_role("button", name="Hang up").click()
    await expect(page.locator("body")).to_have_attribute("data-phase", "idle")
    await expect(page.locator(".line").last).to_contain_text("Call ended after")
    assert visit.console_errors == []
    assert visit.external_requests(address) == []


@TRANSPORTS
async def test_an_interruption_strikes_out_what_was_not_heard(
    transport: str,
    browser_page: BrowserPage,
    gateway: MockGateway,
    address: str,
    interrupting: Path,
) -> None:
    gateway.script = Script(voice="lv_0920")
    visit = await browser_page(interrupting)
    page = await arrive(visit, address, transport)
    await talk(page)

    reply = page.locator(".turn.blab").first
    await expect(reply).to_have_attribute("data-state", "speaking", timeout=WAIT)
    await expect(reply).to_have_attribute("data-state", "cut", timeout=WAIT)
    await expect(reply.locator("del")).not_to_be_empty()
    shown = await reply.locator(".words").inner_text()
    assert "".join(CLAUSES).startswith(shown.split(" not heard:")[0].strip()[:20])
    await expect(reply.locator(".remark")).to_contain_text("You cut in after")
    await expect(page.locator("#blab-meter")).to_have_attribute(
        "aria-valuenow", re.compile(r"^\d$")
    )
    assert visit.console_errors == []


async def test_a_short_sound_only_pauses_the_answer(
    browser_page: BrowserPage, gateway: MockGateway, address: str, tmp_path: Path
) -> None:
    gateway.script = Script(voice="lv_0920", proven=500)
    wav = spoken(tmp_path / "yes.wav", 1.5, "joe_q_weather", 2.0, "joe_yes", 10.0)
    visit = await browser_page(wav)
    page = await arrive(visit, address, "websocket")
    await talk(page)
    reply = page.locator(".turn.blab")
    await expect(reply).to_have_attribute("data-state", "held", timeout=WAIT)
    await expect(page.locator("#state")).to_contain_text("Go on")
    await expect(reply).to_have_attribute("data-state", "speaking", timeout=WAIT)
    await expect(reply).to_have_attribute("data-state", "done", timeout=WAIT)
    await expect(reply.locator("del")).to_have_count(0)
    await expect(page.locator(".turn.you")).to_have_count(1)


@TRANSPORTS
async def test_typing_needs_no_microphone(
    transport: str, browser_page: BrowserPage, gateway: MockGateway, address: str
) -> None:
    visit = await browser_page(microphone="missing")
    page = await arrive(visit, address, transport)
    await page.get_by_label("Type a message instead of speaking").fill("Hello there")
    await page.keyboard.press("Enter")
    await live(page)
    call = await gateway.next_call()
    await expect(page.locator(".turn.you")).to_contain_text("Hello there")
    await expect(page.locator(".turn.blab")).to_contain_text(CLAUSES[0].strip(), timeout=WAIT)
    await peak(page.get_by_role("meter", name="Blab"))
    kinds = [event["type"] for event in call.received]
    assert kinds[:3] == ["session.update", "conversation.item.create", "response.create"]
    assert visit.console_errors == []


@TRANSPORTS
async def test_the_microphone_can_join_a_typed_call(
    transport: str, browser_page: BrowserPage, gateway: MockGateway, address: str
) -> None:
    visit = await browser_page()
    page = await arrive(visit, address, transport)
    await page.get_by_role("button", name="What is the capital of France?").click()
    await live(page)
    call = await gateway.next_call()
    await page.get_by_role("button", name="Switch the microphone on").click()
    await expect(page.get_by_role("button", name="Hang up")).to_be_visible()
    await peak(page.get_by_role("meter", name="You"), 10)
    await expect(page.locator(".turn.you")).to_have_count(2, timeout=WAIT)
    assert call.loudness() > 0
    assert len(gateway.calls) == 1


@pytest.mark.parametrize(
    ("microphone", "title"),
    [("refused", "The microphone is blocked"), ("missing", "No microphone found")],
)
async def test_a_missing_microphone_is_explained(
    microphone: Any, title: str, browser_page: BrowserPage, gateway: MockGateway, address: str
) -> None:
    visit = await browser_page(microphone=microphone)
    page = await arrive(visit, address)
    await page.get_by_role("button", name="Start talking").click()
    await expect(page.get_by_role("alert")).to_contain_text(title, timeout=WAIT)
    await expect(page.get_by_role("button", name="Try again")).to_be_visible()
    assert gateway.calls == []
    assert visit.console_errors == []


@TRANSPORTS
async def test_a_call_waits_for_a_free_slot(
    transport: str, browser_page: BrowserPage, gateway: MockGateway, address: str
) -> None:
    gateway.full = True
    visit = await browser_page()
    page = await arrive(visit, address, transport)
    await expect(page.locator("#state")).to_contain_text("All lines are busy")
    await page.get_by_role("button", name="Start talking").click()
    await expect(page.get_by_role("button", name="Stop waiting")).to_be_enabled(timeout=WAIT)
    await expect(page.locator("#state")).to_contain_text("All lines are busy")
    await page.get_by_label("Type a message instead of speaking").fill("Hello there")
    await page.keyboard.press("Enter")
    gateway.full = False
    await live(page)
    await expect(page.locator(".turn.blab")).to_contain_text(CLAUSES[0].strip(), timeout=WAIT)
    await expect(page.get_by_role("alert")).to_be_hidden()


async def test_the_caller_can_stop_waiting_for_a_free_slot(
    browser_page: BrowserPage, gateway: MockGateway, address: str
) -> None:
    visit = await browser_page()
    page = await arrive(visit, address)
    gateway.full = True
    await page.get_by_role("button", name="Start talking").click()
    await page.get_by_role("button", name="Stop waiting").click(timeout=WAIT)
    await expect(page.locator("body")).to_have_attribute("data-phase", "idle")
    assert gateway.calls == []
    assert set(visit.console_errors) == {REFUSED}


async def test_the_page_waits_while_models_load(
    browser_page: BrowserPage, gateway: MockGateway, address: str
) -> None:
    gateway.ready = False
    visit = await browser_page()
    await visit.page.goto(address)
    await expect(visit.page.locator("#state")).to_contain_text("Loading models…")
    await expect(visit.page.locator("#talk")).to_be_disabled()
    gateway.ready = True
    await expect(visit.page.locator("#talk")).to_be_enabled(timeout=WAIT)


async def test_what_is_typed_while_models_load_is_sent(
    browser_page: BrowserPage, gateway: MockGateway, address: str
) -> None:
    gateway.ready = False
    visit = await browser_page()
    page = visit.page
    await page.goto(address)
    await expect(page.locator("#state")).to_contain_text("Loading models…")
    await page.get_by_role("button", name="What is the capital of France?").click()
    gateway.ready = True
    await live(page)
    await expect(page.locator(".turn.blab")).to_contain_text(CLAUSES[0].strip(), timeout=WAIT)


@TRANSPORTS
async def test_an_expired_key_is_renewed_silently(
    transport: str, browser_page: BrowserPage, gateway: MockGateway, address: str
) -> None:
    gateway.expired = 1
    visit = await browser_page()
    page = await arrive(visit, address, transport)
    await talk(page)
    assert gateway.keys == 2
    await expect(page.get_by_role("alert")).to_be_hidden()


async def test_the_page_shows_why_a_websocket_was_refused(
    browser_page: BrowserPage, gateway: MockGateway, address: str
) -> None:
    gateway.expired = 2
    visit = await browser_page()
    page = await arrive(visit, address, "websocket")
    await page.get_by_role("button", name="Start talking").click()
    await expect(page.get_by_role("alert")).to_contain_text("has expired", timeout=WAIT)


async def test_the_page_asks_for_a_key_when_the_server_gives_none(
    browser_page: BrowserPage, gateway: MockGateway, address: str
) -> None:
    gateway.session_status = 403
    visit = await browser_page()
    page = await arrive(visit, address)
    await page.get_by_label("Type a message instead of speaking").fill("Hello there")
    await page.keyboard.press("Enter")
    field = page.get_by_label("API key")
    await expect(field).to_be_focused(timeout=WAIT)
    await field.fill("blab_sk_wrong")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("not known here", timeout=WAIT)
    await field.fill(API_KEY)
    await page.keyboard.press("Enter")
    await live(page)
    call = await gateway.next_call()
    await expect(page.locator(".turn.blab")).to_contain_text(CLAUSES[0].strip(), timeout=WAIT)
    typed = [event for event in call.received if event["type"] == "conversation.item.create"]
    assert [event["item"]["content"][0]["text"] for event in typed] == ["Hello there"]
    await expect(page.locator(".turn.you")).to_have_count(1)


async def test_a_lost_call_reconnects(
    browser_page: BrowserPage, gateway: MockGateway, address: str
) -> None:
    visit = await browser_page()
    page = await arrive(visit, address, "websocket")
    await talk(page)
    await gateway.drop()
    await expect(page.locator(".line.error")).to_contain_text("The connection was lost")
    await expect(page.locator("body")).to_have_attribute("data-phase", "live", timeout=WAIT)
    await expect(page.locator(".line").last).to_contain_text("Reconnected")
    assert len(gateway.calls) == 2


@TRANSPORTS
async def test_a_dead_network_is_noticed_and_the_call_reconnects(
    transport: str, browser_page: BrowserPage, gateway: MockGateway, address: str
) -> None:
    visit = await browser_page()
    page = await arrive(visit, address, transport)
    await talk(page)
    gateway.die()
    await expect(page.locator("#connection-text")).to_have_text("Unstable…", timeout=5_000)
    await expect(page.locator(".line.error")).to_contain_text("was lost", timeout=10_000)
    await live(page)
    assert len(gateway.calls) == 2


async def test_a_call_survives_a_server_restart(
    browser_page: BrowserPage, gateway: MockGateway, address: str
) -> None:
    visit = await browser_page()
    page = await arrive(visit, address, "websocket")
    await talk(page)
    gateway.ready = False
    await gateway.drop()
    await expect(page.locator("#state")).to_contain_text("the server is loading", timeout=WAIT)
    gateway.ready = True
    await live(page)
    await expect(page.locator(".line").last).to_contain_text("Reconnected")
    await expect(page.get_by_role("button", name="Hang up")).to_be_visible()  # with the microphone


@TRANSPORTS
async def test_nothing_plays_after_hanging_up_during_a_reply(
    transport: str, browser_page: BrowserPage, gateway: MockGateway, address: str, question: Path
) -> None:
    gateway.script = Script(voice="lv_0920")
    visit = await browser_page(question)
    page = await arrive(visit, address, transport)
    await talk(page)
    reply = page.locator(".turn.blab")
    await expect(reply).to_have_attribute("data-state", "speaking", timeout=WAIT)
    await page.get_by_role("button", name="Hang up").click()
    await expect(reply).to_have_attribute("data-state", "cut")
    call = await gateway.next_call()
    call._send("response.created", response={"id": "resp_late"})  # what was under way
    await expect(page.locator("#state")).to_contain_text("Press to talk")
    await expect(page.locator(".turn.blab")).to_have_count(1)
    await expect(page.locator(".turns > li").last).to_contain_text("Call ended after")


async def test_the_newest_turn_stays_in_view_until_the_user_scrolls(
    browser_page: BrowserPage, gateway: MockGateway, address: str
) -> None:
    visit = await browser_page(viewport=(360, 640))
    page = await arrive(visit, address, "websocket")
    for number in range(4):
        await page.get_by_label("Type a message instead of speaking").fill(f"Question {number}")
        await page.keyboard.press("Enter")
        reply = page.locator(".turn.blab").nth(number)
        await expect(reply).to_contain_text(CLAUSES[0].strip(), timeout=WAIT)
        await expect(page.locator(".turns > li").last).to_be_in_viewport(ratio=0.5)
    newest = page.get_by_role("button", name="Newest")
    await expect(newest).to_be_hidden()
    await page.locator("#scroll").evaluate("scroll => scroll.scrollBy(0, -200)")
    await expect(newest).to_be_visible()
    await newest.click()
    await expect(newest).to_be_hidden()
    await expect(page.locator(".turns > li").last).to_be_in_viewport(ratio=0.5)


async def test_the_setup_is_sent_and_stored(
    browser_page: BrowserPage, gateway: MockGateway, address: str
) -> None:
    visit = await browser_page()
    page = await arrive(visit, address)
    await talk(page)
    call = await gateway.next_call()
    await page.get_by_role("button", name="Set up").click()
    dialog = page.get_by_role("dialog", name="Set up")
    await expect(dialog).to_contain_text("qwen2.5-0.5b answers.")
    await dialog.get_by_label("Instructions").fill("You are a pirate.")
    await dialog.locator("[name=voice]").select_option("de-DE")
    await dialog.locator("[name=language]").select_option("de")
    await dialog.get_by_role("button", name="Done").click()
    await expect(dialog).to_be_hidden()
    wanted = {
        "type": "realtime",
        "instructions": "You are a pirate.",
        "audio": {"input": {"transcription": {"language": "de"}}, "output": {"voice": "de-DE"}},
    }
    async with asyncio.timeout(10):
        while call.received[-1] != {"type": "session.update", "session": wanted}:
            await asyncio.sleep(0.01)
    await page.get_by_role("button", name="Hang up").click()
    await page.reload()
    await expect(page.locator("body")).to_have_attribute("data-phase", "idle", timeout=WAIT)
    await talk(page)
    assert wanted.items() <= update_of(gateway.calls[-1])["session"].items()
    words = page.locator(".turn .words").first
    await expect(words).to_have_attribute("dir", "auto", timeout=WAIT)
    await expect(words).to_have_attribute("lang", "de")


async def test_a_turn_and_the_call_are_in_the_language_that_was_heard(
    browser_page: BrowserPage, gateway: MockGateway, address: str
) -> None:
    visit = await browser_page()
    page = await arrive(visit, address)
    await talk(page)
    call = await gateway.next_call()
    assert "language" in update_of(call)["session"]["blab"]["events"]
    await page.locator("#message").fill("¿Qué tiempo hace?")
    await page.locator("#message").press("Enter")
    async with asyncio.timeout(10):
        while call.received[-1]["type"] != "response.create":
            await asyncio.sleep(0.01)
    [item] = [event["item"]["id"] for event in call.received if "item" in event]
    call._send("blab.language", item_id=item, language="es", probability=0.99)
    typed = page.locator(".turn.you .words").filter(has_text="tiempo")  # the microphone beeps, too
    await expect(typed).to_have_attribute("lang", "es", timeout=WAIT)
    await expect(page.locator("#connection")).to_contain_text("Spanish", timeout=WAIT)


async def test_languages_that_load_and_one_without_a_voice_are_shown(
    browser_page: BrowserPage, gateway: MockGateway, address: str
) -> None:
    visit = await browser_page()
    page = await arrive(visit, address)
    await page.locator("#message").fill("Olá!")  # a call without a microphone
    await page.locator("#message").press("Enter")
    call = await gateway.next_call()
    words = page.locator(".turn.you .words")
    await expect(words).to_have_text("Olá!", timeout=WAIT)
    async with asyncio.timeout(10):
        while "response.create" not in [event["type"] for event in call.received]:
            await asyncio.sleep(0.01)
    [item] = [event["item"]["id"] for event in call.received if "item" in event]
    call._send("blab.language", item_id=item, language="pt", probability=0.99, spoken=False)
    await expect(words).to_have_attribute("lang", "pt", timeout=WAIT)
    loading = {"languages": ["en"], "languages_loading": ["de", "es"]}
    for _ in range(2):
        call._send("session.updated", session={"type": "realtime", "blab": loading})
    call._send("blab.languages", languages=["en", "de", "es"], languages_loading=[])
    note = page.locator(".line.note").filter(has_text="Heard now")
    shown = [
        "Heard now: English. Still loading: German, Spanish.",
        "Heard now: English, German, Spanish.",
    ]
    await expect(note).to_have_text(shown, timeout=WAIT)
    await expect(page.locator("#connection")).not_to_contain_text("Portuguese")


async def test_the_stopwatch_measures_what_is_heard(
    browser_page: BrowserPage, address: str
) -> None:
    """From the end of one tone to the beginning of another, as the page's own audio has them."""
    visit = await browser_page()
    page = await arrive(visit, address)
    measured = await page.evaluate(
        """async () => {
          const { Stopwatch } = await import("/sdk/client/stopwatch.js");
          const audio = new AudioContext();
          const tone = (from, to) => {
            const [oscillator, analyser] = [audio.createOscillator(), audio.createAnalyser()];
            oscillator.connect(analyser);
            oscillator.start(from);
            oscillator.stop(to);
            return analyser;
          };
          const now = audio.currentTime;
          const stopwatch = new Stopwatch();
          stopwatch.start(tone(now + 0.3, now + 0.8), tone(now + 1.5, now + 2));
          let running = true;
          const tick = () => {
            stopwatch.tick(performance.now());
            if (running) requestAnimationFrame(tick);
          };
          tick();
          const waited = await stopwatch.answer(5000);
          running = false;
          return waited - (audio.outputLatency || audio.baseLatency) * 1000;
        }"""
    )
    assert abs(measured - 700) <= 50


async def test_a_typed_turn_is_not_measured_from_the_last_word_spoken(
    browser_page: BrowserPage, gateway: MockGateway, address: str, question: Path
) -> None:
    visit = await browser_page(question)
    page = await arrive(visit, address, "websocket")
    await talk(page)
    spoken_reply = page.locator(".turn.blab").nth(0)
    measured = spoken_reply.locator(".latency-total[title^='measured on this page']")
    await expect(measured).to_have_count(1, timeout=WAIT)
    await expect(spoken_reply).to_have_attribute("data-state", "done", timeout=WAIT)
    await page.get_by_label("Type a message instead of speaking").fill("And then?")
    await page.keyboard.press("Enter")
    typed_reply = page.locator(".turn.blab").nth(1)
    known = typed_reply.locator(".latency-total[title^='as far as the server']")
    await expect(known).to_have_count(1, timeout=WAIT)


async def test_the_page_shows_that_the_server_ended_the_call(
    browser_page: BrowserPage, gateway: MockGateway, address: str
) -> None:
    visit = await browser_page()
    page = await arrive(visit, address, "websocket")
    await talk(page)
    await gateway.drop(WSCloseCode.OK)
    await expect(page.locator("body")).to_have_attribute("data-phase", "idle", timeout=WAIT)
    await expect(page.locator(".line").last).to_contain_text("Blab ended the call")


async def test_the_page_works_by_keyboard_alone(
    browser_page: BrowserPage, gateway: MockGateway, address: str, question: Path
) -> None:
    visit = await browser_page(question)
    page = await arrive(visit, address)
    await page.keyboard.press("Space")
    await live(page)
    button = page.get_by_role("button", name="Hang up")
    await button.focus()
    assert await button.evaluate("button => getComputedStyle(button).outlineStyle") == "solid"
    mute = page.get_by_role("button", name="Mute")
    await mute.focus()
    await page.keyboard.press("Enter")
    await expect(mute).to_have_attribute("aria-pressed", "true")
    await expect(page.locator("#state")).to_contain_text("Muted")
    await page.evaluate("document.activeElement.blur()")
    await page.keyboard.press("Enter")
    await expect(page.locator("body")).to_have_attribute("data-phase", "idle")


async def test_a_muted_microphone_sends_silence(
    browser_page: BrowserPage, gateway: MockGateway, address: str, question: Path
) -> None:
    visit = await browser_page(question)
    page = await arrive(visit, address, "websocket")
    await talk(page)
    call = await gateway.next_call()
    await page.get_by_role("button", name="Mute").click()
    call.heard.clear()
    await expect(page.locator("#connection")).to_contain_text("0:05", timeout=WAIT)
    assert len(call.heard) > 24_000 * 2  # the clock of the samples goes on
    assert call.loudness() < 5


async def test_the_theme_follows_the_system_and_the_button(
    browser_page: BrowserPage, address: str
) -> None:
    visit = await browser_page(color_scheme="dark", reduced_motion="reduce")
    page = await arrive(visit, address)
    background = "getComputedStyle(document.body).backgroundColor"
    dark = await page.evaluate(background)
    await page.get_by_role("button", name="Switch to light theme").click()
    light = await page.evaluate(background)
    assert dark != light
    await page.reload()
    assert await page.evaluate(background) == light
    await expect(page.get_by_role("button", name="Switch to dark theme")).to_be_visible()


async def test_the_layout_never_overflows(browser_page: BrowserPage, address: str) -> None:
    visit = await browser_page()
    page = await arrive(visit, address)
    for width, height in [(320, 568), (390, 844), (844, 390), (1280, 800)]:
        await page.set_viewport_size({"width": width, "height": height})
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await expect(page.locator("#theme")).to_be_in_viewport(ratio=1)
        button = page.get_by_role("button", name="Start talking")
        await button.scroll_into_view_if_needed()
        await expect(button).to_be_in_viewport(ratio=1)


async def test_every_control_stays_reachable_beside_a_problem(
    browser_page: BrowserPage, gateway: MockGateway, address: str
) -> None:
    gateway.session_status = 403
    visit = await browser_page()
    page = await arrive(visit, address)
    await page.get_by_role("button", name="Start talking").click()
    await expect(page.get_by_label("API key")).to_be_focused(timeout=WAIT)
    for width, height in [(1366, 650), (1280, 800)]:
        await page.set_viewport_size({"width": width, "height": height})
        for part in (page.locator("#orb"), page.get_by_role("button", name="Mute")):
            await expect(part).to_be_in_viewport(ratio=0.99)


async def test_every_control_has_a_name(browser_page: BrowserPage, address: str) -> None:
    visit = await browser_page()
    page = await arrive(visit, address)
    tree = await page.locator("body").aria_snapshot()
    nameless = re.findall(
        r"- (?:button|textbox|radio|meter|link|region)(?::|$)", tree, re.MULTILINE
    )
    assert nameless == []


async def test_the_content_security_policy_forbids_foreign_sources(address: str) -> None:
    async with ClientSession() as client, client.get(address) as response:
        assert response.headers["Content-Security-Policy"] == POLICY
        text = await response.text()
    assert not re.search(r"\sstyle=|<style|\son\w+=|https?://|<script>", text)
    for script in (path for name in OURS for path in (STATIC / name).rglob("*.js")):
        code = script.read_text()
        assert not re.search(r"innerHTML|insertAdjacentHTML|eval\(|document\.write", code), script
