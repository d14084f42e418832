"""The workbench as a user has it: a real Chromium, the embedded engines, and a recording as the
microphone. Speech, transcription and a voice, each from its beginning to its end.

Only a new voice is made with scripted engines."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.async_api import Locator, Page, expect

from media.files.decode import decode
from media.formats import HEARING_RATE
from pipelines.clone import CloneKind
from pipelines.jobs.artifacts import Artifacts
from store.objects import ObjectStore
from tests.e2e.browser import BrowserPage, Visit, spoken
from tests.e2e.live_server import LiveServer
from tests.support.gateway.scripted_server import ScriptedServer, server
from tests.support.paths import AUDIO
from tests.support.pipelines.job_support import working

__all__ = ["server"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WAIT = 60_000.0
"""ms until an engine of a busy machine must have done something."""
TEXT = "The museum opens at nine. On Mondays it is closed."


def url_of(server: LiveServer, bench: str = "") -> str:
    """The page under the name by which it gets a key without sign-in."""
    return server.url.replace("127.0.0.1", "localhost") + f"/workbench{bench}"


async def opened(visit: Visit, server: LiveServer, bench: str) -> Page:
    await visit.page.goto(url_of(server, bench))
    await expect(visit.page.locator("body")).to_have_attribute("data-ready", "true", timeout=WAIT)
    return visit.page


async def saved(page: Page, button: Locator, folder: Path) -> Path:
    """The file that the button downloads."""
    async with page.expect_download() as downloading:
        await button.click()
    download = await downloading.value
    path = folder / download.suggested_filename
    await download.save_as(path)
    return path


def seconds_of(path: Path) -> float:
    return sum(len(piece) for piece in decode(path)) / 2 / HEARING_RATE


def onset_of(path: Path) -> float:
    """When the recording's sound begins, in seconds."""
    pcm = np.frombuffer(b"".join(decode(path)), "<i2").astype(np.float32)
    frames = pcm[: len(pcm) // 160 * 160].reshape(-1, 160)
    level = 10 * np.log10(np.square(frames).mean(axis=1) + 1)
    return float(np.flatnonzero(level > level.max() - 35)[0]) / 100


async def test_speech_is_heard_kept_and_compared(
    live_server: LiveServer, browser_page: BrowserPage, tmp_path: Path
) -> None:
    visit = await browser_page()
    page = await opened(visit, live_server, "/speech")

    # heard while it is made
    await page.get_by_label("Text to speak").fill(TEXT)
    await page.get_by_role("button", name="Speak", exact=True).click()
    form = page.locator("form.making")
    await expect(form.get_by_role("status")).to_contain_text(
        re.compile(r"First audio after [\d.]+ m?s · [\d.]+ s of speech made in"), timeout=WAIT
    )
    streamed = await saved(page, form.get_by_role("button", name="Download WAV"), tmp_path)
    assert 2 < seconds_of(streamed) < 9

    # made into a file, which is listed, downloaded, made again and deleted
    files = page.get_by_role("listitem").filter(has_text=TEXT[:20])
    await page.get_by_text("Make a file that is kept", exact=True).click()
    await page.get_by_label("Format").select_option("flac")
    await page.get_by_role("button", name="Make the file").click()
    await expect(files).to_have_count(1, timeout=WAIT)
    await expect(files).to_contain_text("FLAC", timeout=WAIT)
    kept = await saved(page, files.get_by_role("button", name="Download"), tmp_path)
    assert kept.suffix == ".flac"
    assert seconds_of(kept) == pytest.approx(seconds_of(streamed), abs=0.5)
    await files.get_by_role("button", name="Make again").click()
    await expect(files).to_have_count(2, timeout=WAIT)
    await expect(files.first.get_by_role("button", name="Play")).to_be_visible(timeout=WAIT)
    await files.first.get_by_role("button", name="Delete").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(files).to_have_count(1, timeout=WAIT)

    # two speeds compared, blind: equally loud, and named only after the choice
    second = page.get_by_role("group", name="B", exact=True)
    await second.get_by_label("Voice").select_option("default")
    await second.get_by_label("Speed").fill("-0.5")
    await page.get_by_label("Blind").check()
    await page.get_by_role("button", name="Make both").click()
    choice = page.get_by_role("group", name="Which is better?")
    await expect(choice).to_be_visible(timeout=WAIT)
    await expect(page.get_by_role("group", name="Number 1")).to_contain_text("One of the two")
    await page.get_by_role("button", name="Play Number 2").click()
    await page.get_by_role("button", name="One after the other").click()
    await choice.get_by_role("button", name="Number 2").click()
    await expect(page.locator(".verdict")).to_have_text(
        re.compile(r"You chose Default voice( at 0\.71×)?, over Default voice( at 0\.71×)?\.")
    )
    await expect(second.get_by_label("Voice")).to_be_visible()
    assert visit.console_errors == []
    assert visit.external_requests(url_of(live_server)) == []


async def test_the_loudness_of_speech_is_that_of_the_standard(
    live_server: LiveServer, browser_page: BrowserPage
) -> None:
    """EBU Tech 3341: a sine of 1 kHz at -23 dBFS in one channel is -26.0 LUFS of a stereo signal;
    as the only channel it is the same. Silence has none."""
    page = await opened(await browser_page(), live_server, "/speech")
    found = await page.evaluate(
        """async () => {
          const { loudness } = await import("/workbench/sound.js");
          return [24000, 48000].map((rate) => {
            const sine = (dB) => new Float32Array(3 * rate)
              .map((_, i) => 10 ** (dB / 20) * Math.sin(2000 * Math.PI * i / rate));
            return [sine(-23), sine(-33), new Float32Array(rate)].map((one) => loudness(one, rate));
          });
        }"""
    )
    for loud, soft, silence in found:
        assert loud == pytest.approx(-26.0, abs=0.1)
        assert loud - soft == pytest.approx(10, abs=0.01)
        assert silence is None


async def test_a_recording_is_transcribed_read_and_exported(
    live_server: LiveServer, browser_page: BrowserPage, tmp_path: Path
) -> None:
    visit = await browser_page(permissions=["clipboard-read", "clipboard-write"])
    page = await opened(visit, live_server, "/transcription")
    await page.get_by_label("Choose a file").set_input_files(AUDIO / "joe_pause_flight.wav")
    await page.get_by_label("Label").fill("Flight")
    await page.get_by_role("button", name="Transcribe").click()
    transcript = page.get_by_role("region", name="Flight")
    await expect(transcript).to_be_visible(timeout=WAIT)
    await page.wait_for_url("**/workbench/transcription/job_*")

    # each word has its place, and lights up when it is said
    words = transcript.locator(".word")
    first, boston = words.first, words.filter(has_text="Boston")
    begins = await milliseconds(first, "ms"), await milliseconds(boston, "ms")
    assert begins[0] == pytest.approx(1000 * onset_of(AUDIO / "joe_pause_flight.wav"), abs=40)
    assert begins[1] == pytest.approx(2590, abs=100)  # after a pause of 0.9 s
    await boston.click()
    await expect(boston).to_have_class(re.compile("said"))
    await expect(transcript.get_by_role("button", name="Pause")).to_be_visible()
    await transcript.get_by_role("button", name="Pause").click()
    position = transcript.get_by_role("slider", name="Position")
    assert float(await position.input_value()) >= begins[1] - 100
    canvas = transcript.locator("canvas")
    box = await canvas.bounding_box()
    assert box is not None
    await canvas.click(position={"x": box["width"] / 2, "y": 10})
    assert float(await position.input_value()) == pytest.approx(4255 / 2, abs=60)

    # copied, and in every format
    await transcript.get_by_role("button", name="Copy").click()
    await expect(transcript.get_by_role("button", name="Copied")).to_be_visible()
    assert "Boston" in await page.evaluate("navigator.clipboard.readText()")
    for name, within in (
        ("Text", "flight"),
        ("SRT", " --> "),
        ("VTT", "WEBVTT"),
        ("JSON", '"words"'),
    ):
        button = transcript.get_by_role("button", name=name, exact=True)
        file = await saved(page, button, tmp_path)
        assert within in file.read_text()
    exported = json.loads((tmp_path / "joe_pause_flight.json").read_text())
    assert exported["segments"][0]["words"][0]["start"] * 1000 == pytest.approx(begins[0], abs=1)

    # heard again from what is stored, once the page has forgotten the file
    await page.reload()
    await expect(transcript).to_have_attribute("data-sound", "ready", timeout=WAIT)
    await words.nth(2).click()
    await expect(transcript.get_by_role("button", name="Pause")).to_be_visible()

    await page.get_by_role("button", name="Delete Flight").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await page.wait_for_url("**/workbench/transcription")
    await expect(transcript).to_have_count(0)
    assert visit.console_errors == []


async def milliseconds(word: Locator, name: str) -> float:
    return float(await word.get_attribute(f"data-{name}") or -1)


async def test_what_is_recorded_in_the_page_is_transcribed(
    live_server: LiveServer, browser_page: BrowserPage, tmp_path: Path
) -> None:
    visit = await browser_page(spoken(tmp_path / "said.wav", 0.5, "joe_q_capital", 20.0))
    page = await opened(visit, live_server, "/transcription")
    await page.get_by_role("button", name="Record", exact=True).click()
    await expect(page.locator(".recording")).to_contain_text("0:03", timeout=WAIT)
    await page.get_by_role("button", name="Stop recording").click()
    await page.get_by_label("Language spoken").select_option("en")
    await page.get_by_role("button", name="Transcribe").click()
    words = page.get_by_role("group", name="Transcript")
    await expect(words).to_contain_text("capital of France", timeout=WAIT)
    await expect(page.locator(".transcript-card")).to_have_attribute("data-sound", "ready")


async def test_a_microphone_that_is_refused_says_what_to_do(
    live_server: LiveServer, browser_page: BrowserPage
) -> None:
    page = await opened(await browser_page(microphone="refused"), live_server, "/transcription")
    await page.get_by_role("button", name="Record", exact=True).click()
    await expect(page.get_by_text("Allow it for this page")).to_be_visible()


async def test_a_voice_is_made_tried_and_deleted(
    server: ScriptedServer, browser_page: BrowserPage, tmp_path: Path
) -> None:
    """With scripted engines: the embedded ones compare voices for a minute."""
    said = spoken(tmp_path / "voice.wav", 0.3, "lv_0870", 0.3, "lv_0920", 30.0)
    visit = await browser_page(said)
    page = visit.page
    await page.goto(f"{server.url}/workbench/voices")
    await page.get_by_role("button", name="New voice").click(timeout=WAIT)
    form = page.get_by_role("form", name="A voice after a recording")
    await expect(form).to_contain_text("does not copy a voice")
    await form.get_by_role("textbox", name="Name").fill("Reader")
    make = form.get_by_role("button", name="Make the voice")
    consent = form.get_by_label("agrees that a voice")

    # a clip that is no good says why
    await form.get_by_label("Choose a clip instead").set_input_files(AUDIO / "joe_yes.wav")
    await consent.check()
    await make.click()
    await expect(form.get_by_role("alert")).to_contain_text("at least 2.5 s", timeout=WAIT)
    await consent.uncheck()

    await form.get_by_role("button", name="Record", exact=True).click()
    await expect(form.locator(".recording")).to_contain_text("0:05", timeout=WAIT)
    await form.get_by_role("button", name="Stop recording").click()

    # not without the consent
    await make.click()
    assert await consent.evaluate("(box) => box.validity.valueMissing")
    await consent.check()
    voice = page.get_by_role("listitem").filter(has_text="Reader")
    async with working(server.database, clone_kind(server, tmp_path)):
        await make.click()
        await expect(voice).to_contain_text("similarity to the recording 0.75", timeout=WAIT)
    await expect(form).to_have_count(0)
    [heard] = server.engines.jobs.copyist.heard
    assert heard / HEARING_RATE == pytest.approx(5.5, abs=0.7)
    await voice.get_by_role("button", name="Hear Reader").click()

    # spoken with at once
    await voice.get_by_role("link", name="Speak with Reader").click()
    await page.wait_for_url("**/workbench/speech?voice=voi_*")
    making = page.locator("form.making")
    await expect(making.locator("[name=voice] option:checked")).to_have_text("Reader")
    await page.get_by_role("button", name="Speak", exact=True).click()
    await expect(making.get_by_role("status")).to_contain_text("of speech made in", timeout=WAIT)
    assert server.engines.jobs.choices[-1].recipe == server.engines.jobs.copyist.recipe

    await page.go_back()
    await voice.get_by_role("button", name="Delete Reader").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(voice).to_have_count(0)
    await expect(page.get_by_text("No voices of your own yet.")).to_be_visible()
    assert ["400" in error for error in visit.console_errors] == [True]  # the clip's refusal


def clone_kind(server: ScriptedServer, folder: Path) -> Any:
    """What a worker of this server makes voices with; ``folder``: the server's data directory."""
    objects = ObjectStore.open(f"file://{folder}/objects")
    return CloneKind(server.database, server.engines.jobs, Artifacts(server.database, objects))
