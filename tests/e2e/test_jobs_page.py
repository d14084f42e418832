"""The room of jobs in a real Chromium, on a real server whose worker has scripted engines."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Page, expect

from pipelines.engines.base import EngineError
from pipelines.engines.scripted.jobs import ScriptedJobEngines
from pipelines.engines.scripted.live import Fault
from tests.e2e.browser import BrowserPage
from tests.e2e.npm_packages import web_tools
from tests.e2e.operating import (
    WAIT,
    Operated,
    everybody_can_use,
    operated,
    ready,
)
from tests.e2e.test_sign_in import arrive, create_account
from tests.support.paths import AUDIO

__all__ = ["operated", "web_tools"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SPEECH = {"model": "blab-stable", "input": "Your table is booked.", "language": "en"}
RECORDING = AUDIO / "lv_0930.wav"
SCOPES = ("tts:write", "stt:write", "jobs:read")


async def submitted(operated: Operated, path: str = "/api/tts", **request: Any) -> str:
    """The id of a job that somebody's program asked for."""
    key = await operated.server.new_key(scopes=SCOPES)
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        aiohttp.ClientSession(operated.server.url, headers=headers) as http,
        http.post(path, **(request or {"json": SPEECH})) as answer,
    ):
        assert answer.status == 202, await answer.text()
        return str((await answer.json())["data"]["jobId"])


def jobs_of(operated: Operated) -> ScriptedJobEngines:
    return operated.server.engines.jobs


async def heard(page: Page) -> float:
    """Seconds of the first sound, once the browser has understood it."""
    return float(
        await page.locator("audio").first.evaluate(
            """async (audio) => {
              if (!(audio.readyState >= 1)) await new Promise((resolve, reject) => {
                audio.onloadedmetadata = resolve;
                audio.onerror = () => reject(new Error("cannot be played"));
                audio.load();
              });
              return audio.duration;
            }"""
        )
    )


async def test_a_batch_is_written_followed_and_heard(
    operated: Operated, browser_page: BrowserPage
) -> None:
    gate = asyncio.Event()

    async def wait(_seconds: float) -> None:
        await gate.wait()

    jobs_of(operated).voice.delay = wait
    visit = await browser_page()
    page = visit.page
    await ready(page, f"{operated.url}/jobs")
    await expect(page.get_by_text("No jobs yet.")).to_be_visible()
    await page.get_by_role("button", name="New batch").click()
    await page.get_by_label("Texts").fill("Good evening.\n\n???\nGoodbye.")
    await expect(page.get_by_text("3 texts, 24 characters")).to_be_visible()
    await page.get_by_label("Language").select_option("en")
    await page.get_by_role("button", name="Speak all").click()
    await expect(page.get_by_role("alert").filter(has_text="Line 3")).to_contain_text(
        "nothing to say"
    )
    await page.get_by_label("If some lines cannot be spoken").check()
    async with operated.working():
        await page.get_by_role("button", name="Speak all").click()
        await page.wait_for_url("**/jobs/job_*")
        await expect(page.locator(".head .chip")).to_have_text("Running", timeout=WAIT)
        await expect(page.get_by_role("progressbar", name="Progress")).to_be_visible()
        gate.set()
        await expect(page.locator(".head .chip")).to_have_text("Done", timeout=WAIT)
    items = page.locator(".item")
    await expect(items).to_have_count(3)
    await expect(items.nth(0)).to_contain_text("Good evening.")
    await expect(items.nth(1)).to_contain_text("Refused")
    assert await heard(page) > 0.1
    await page.get_by_role("link", name="All jobs").click()
    await expect(page.locator("a.job")).to_have_count(1, timeout=WAIT)
    await expect(page.locator("a.job")).to_contain_text("2 of 3 texts spoken")
    assert [one for one in visit.console_errors if "400" not in one] == []
    assert visit.external_requests(operated.url) == []


async def test_a_job_in_the_list_is_followed_to_its_end(
    operated: Operated, browser_page: BrowserPage
) -> None:
    page = (await browser_page()).page
    for _ in range(5):  # more than the streams that are open at once
        await submitted(operated)
    await ready(page, f"{operated.url}/jobs")
    rows = page.locator("a.job")
    await expect(rows).to_have_count(5)
    await expect(rows.first).to_contain_text("Waiting")
    async with operated.working():
        await expect(rows.filter(has_text="Done")).to_have_count(5, timeout=WAIT)
    await expect(rows.first).to_contain_text(SPEECH["input"])
    await page.get_by_label("Status").select_option("failed")
    await expect(page.get_by_text("No job fits.")).to_be_visible()
    assert page.url.endswith("?status=failed")
    await page.get_by_label("Status").select_option("")
    await page.get_by_label("Type").select_option("tts")
    await expect(rows).to_have_count(5)


async def test_a_job_is_cancelled_fails_is_retried_and_deleted(
    operated: Operated, browser_page: BrowserPage
) -> None:
    page = (await browser_page()).page
    job = await submitted(operated)
    await ready(page, f"{operated.url}/jobs/{job}")
    state = page.locator(".head .chip")
    await expect(state).to_have_text("Waiting")
    await page.get_by_role("button", name="Cancel").click()
    await expect(state).to_have_text("Cancelled", timeout=WAIT)

    jobs_of(operated).voice.fault = Fault(EngineError("The voice is hoarse."))
    async with operated.working():
        await page.get_by_role("button", name="Retry").click()
        await expect(state).to_have_text("Failed", timeout=WAIT)
        why = page.get_by_role("region", name="Why it failed")
        await expect(why).to_contain_text("PROVIDER_ERROR")
        await expect(why).to_contain_text("Retry; if it fails again")
        await page.get_by_role("button", name="Retry").click()
        await expect(state).to_have_text("Done", timeout=WAIT)
    await expect(why).to_have_count(0)
    await expect(page.locator(".result")).to_contain_text(SPEECH["input"])
    assert await heard(page) > 0.1

    await page.get_by_role("button", name="Delete").click()
    await page.get_by_role("button", name="Cancel").click()
    await page.get_by_role("button", name="Delete").click()
    await page.get_by_role("button", name="Delete the job").click()
    await page.wait_for_url("**/jobs")
    await expect(page.get_by_text("No jobs yet.")).to_be_visible(timeout=WAIT)


async def test_a_recording_is_dubbed(operated: Operated, browser_page: BrowserPage) -> None:
    jobs_of(operated).words.dictionary = {"hello there": "olá a todos"}
    page = (await browser_page()).page
    await ready(page, f"{operated.url}/jobs")
    await page.get_by_role("button", name="Dub a recording").click()
    await page.get_by_label("Recording, audio or video").set_input_files(RECORDING)
    await page.get_by_label("Spoken in").select_option("en")
    await page.get_by_label("Dub into").select_option("pt")
    await expect(page.get_by_label("let the chat model translate")).to_be_hidden()
    async with operated.working():
        await page.get_by_role("button", name="Dub it").click()
        await page.wait_for_url("**/jobs/job_*")
        await expect(page.locator(".head .chip")).to_have_text("Done", timeout=2 * WAIT)
    await expect(page.locator(".result")).to_contain_text(f"{RECORDING.name} in Portuguese")
    await expect(page.locator(".result tbody tr")).to_contain_text("hello there")
    assert await heard(page) > 1
    async with page.expect_download() as downloading:
        await page.get_by_role("link", name="SRT, original").click()
    assert "hello there" in (await (await downloading.value).path()).read_text()


async def test_who_is_signed_in_works_in_a_workspace_of_their_own(
    operated: Operated, browser_page: BrowserPage
) -> None:
    await submitted(operated)  # of the local workspace
    jobs_of(operated).words.dictionary = {"hello there": "olá a todos"}
    page = (await browser_page()).page
    await arrive(page, operated.server, "/jobs")
    await create_account(page)
    await expect(page.get_by_text("No jobs yet.")).to_be_visible(timeout=WAIT)
    await page.get_by_role("button", name="Dub a recording").click()
    await page.get_by_label("Recording, audio or video").set_input_files(RECORDING)
    await page.get_by_label("Spoken in").select_option("en")
    await page.get_by_label("Dub into").select_option("pt")
    await page.get_by_role("button", name="Dub it").click()
    await page.wait_for_url("**/jobs/job_*")
    await expect(page.locator(".head .chip")).to_have_text("Waiting", timeout=WAIT)
    async with operated.working():
        await expect(page.locator(".head .chip")).to_have_text("Done", timeout=2 * WAIT)
    await page.get_by_role("button", name="Delete").click()
    await page.get_by_role("button", name="Delete the job").click()
    await expect(page.get_by_text("No jobs yet.")).to_be_visible(timeout=WAIT)


async def test_a_transcript_is_read_and_exported(
    operated: Operated, browser_page: BrowserPage
) -> None:
    page = (await browser_page()).page
    form = aiohttp.FormData()
    form.add_field("file", RECORDING.read_bytes(), filename="talk.wav", content_type="audio/wav")
    job = await submitted(operated, "/api/stt", data=form)
    async with operated.working():
        await ready(page, f"{operated.url}/jobs/{job}")
        await expect(page.locator(".lines")).to_contain_text("hello there", timeout=WAIT)
    async with page.expect_download() as downloading:
        await page.get_by_role("button", name="SRT").click()
    file = await downloading.value
    assert file.suggested_filename == "talk.srt"
    assert "hello there" in (await file.path()).read_text()


FOLLOWED = """async () => {
  const { follow } = await import("/jobs/follow.js");
  const line = (id, event, progress) =>
    `id: ${id}\\nevent: ${event}\\ndata: ${JSON.stringify({ progress })}\\n\\n`;
  const stream = (text) => new Response(new Blob([text]).stream());
  const answers = [
    () => stream(line(1, "progress", 10) + ": still here\\n\\n" + "id: 2\\nevent: prog"),
    () => { throw Object.assign(new Error("no network"), { status: 0 }); },
    () => stream(line(3, "progress", 60)),
    () => stream(line(4, "completed", 100) + line(5, "progress", 0)),
  ];
  const seen = [], asked = [];
  const access = { fetch: async (path, { headers }) => {
    asked.push([path, headers["Last-Event-ID"] ?? ""]);
    return answers.shift()();
  } };
  const signal = new AbortController().signal;
  const happened = (name, data) => seen.push([name, data.progress]);
  await follow(access, "job_1", { signal, happened });
  const gone = { fetch: async () => { throw Object.assign(new Error("gone"), { status: 404 }); } };
  const refusal = await follow(gone, "job_1", { signal, happened }).catch((error) => error);
  return { seen, asked, refusal: refusal.status };
}"""


async def test_a_broken_stream_goes_on_where_it_was(
    operated: Operated, browser_page: BrowserPage
) -> None:
    page = (await browser_page()).page
    await ready(page, f"{operated.url}/jobs")
    found = await page.evaluate(FOLLOWED)
    assert found["seen"] == [["progress", 10], ["progress", 60], ["completed", 100]]
    path = "/api/jobs/job_1/events"
    assert found["asked"] == [[path, ""], [path, "1"], [path, "1"], [path, "3"]]
    assert found["refusal"] == 404


async def test_everybody_can_use_it(
    operated: Operated, browser_page: BrowserPage, web_tools: Path
) -> None:
    axe = (web_tools / "axe-core" / "axe.min.js").read_text()
    page = (await browser_page()).page
    await submitted(operated)
    await ready(page, f"{operated.url}/jobs")
    await everybody_can_use(page, axe, "list")
    for opener in ("New batch", "Dub a recording"):
        await page.get_by_role("button", name=opener).click()
        await page.get_by_role("dialog").wait_for(timeout=WAIT)
        await everybody_can_use(page, axe, opener)
        await page.keyboard.press("Escape")
    job = await submitted(operated)
    await ready(page, f"{operated.url}/jobs/{job}")
    await everybody_can_use(page, axe, "waiting")
    jobs_of(operated).voice.fault = Fault(EngineError("The voice is hoarse."), times=2)
    async with operated.working():
        await expect(page.locator(".head .chip")).to_have_text("Failed", timeout=WAIT)
        await everybody_can_use(page, axe, "failed")
        await page.get_by_role("button", name="Retry").click()
        await expect(page.locator(".head .chip")).to_have_text("Done", timeout=WAIT)
        await everybody_can_use(page, axe, "done")
