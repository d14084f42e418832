"""<blab-agent> on a page of another origin, under a strict policy: bundle, calls, words, access."""

import asyncio
import gzip
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from playwright.async_api import Locator, Page, expect

from tests.e2e.browser import BrowserPage, Visit, spoken
from tests.e2e.live_server import LiveServer, free_port
from tests.e2e.npm_packages import web_tools
from tests.e2e.test_sdk import SCRIPTS, SDK
from tests.support.gateway.scripted_server import HEARD, ScriptedServer, server
from tests.support.paths import ROOT

__all__ = ["server", "web_tools"]

MOST_BYTES = 20_000
"""Of the element's one script, with gzip."""
WAIT = 20_000.0
HZ = 500
SCOPES = ("agents:read", "agents:write")
CONSENT = "What you say is processed on the shop's server."
WATCH = """
globalThis.seen = { microphones: 0, events: [], heard: false };
const open = navigator.mediaDevices?.getUserMedia.bind(navigator.mediaDevices);
if (open) navigator.mediaDevices.getUserMedia = (...rest) => (seen.microphones++, open(...rest));
const create = AudioContext.prototype.createAnalyser;
const analysers = [];
AudioContext.prototype.createAnalyser = function () {
  const made = create.call(this);
  analysers.push(made);
  return made;
};
/** Whether one of them hears a tone of so many Hz, louder than all else. */
const hears = (hz) => analysers.some((analyser) => {
  const bins = new Float32Array(analyser.frequencyBinCount);
  analyser.getFloatFrequencyData(bins);
  const loudest = bins.reduce((best, level, place) => (level > bins[best] ? place : best), 0);
  const width = analyser.context.sampleRate / analyser.fftSize;
  return bins[loudest] > -60 && Math.abs(loudest * width - hz) < 2 * width;
});
setInterval(() => (seen.heard ||= hears(500)), 30);
for (const name of ["opened", "closed", "consent-given", "call-waiting", "call-started", "message",
  "call-ended", "problem"])
  addEventListener(`blab-${name}`, ({ detail }) => seen.events.push([`blab-${name}`, detail]));
"""


def page_of(body: str, script: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Shop</title>'
        '<link rel="icon" href="data:,"><meta name="viewport" content="width=device-width">'
        f'<script type="module" src="{script}"></script></head>'
        f"<body><main><h1>Shop</h1>{body}</main></body></html>"
    )


class Shop:
    """A page of somebody else, and the embed for it."""

    def __init__(self, server: ScriptedServer) -> None:
        self.server = server
        self.body = ""
        self.address = ""
        self.embed: dict[str, Any] = {}

    async def owner(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {await self.server.new_key(scopes=SCOPES)}"}
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.request(method, self.server.url + path, json=body) as answer,
        ):
            envelope = await answer.json()
            assert envelope["ok"], envelope
            return envelope["data"]

    async def new_embed(self, attributes: str = "", **fields: Any) -> None:
        """An embed, and the element for it in the page."""
        agent = {"name": "Ann", "systemPrompt": f"talk {HZ}"}
        agent_id = (await self.owner("POST", "/api/agents", agent))["id"]
        made = {"name": "Shop", "origins": [self.address], "callsPerMinute": 60} | fields
        self.embed = await self.owner("POST", f"/api/agents/{agent_id}/embeds", made)
        self.body = f'<blab-agent embed="{self.embed["id"]}" {attributes}></blab-agent>'

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Serve the page under another host name, with a policy that allows the server only."""
        app = web.Application()
        app.add_routes([web.get("/", self._index)])
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.address = f"http://localhost:{runner.addresses[0][1]}"
            yield
        finally:
            await runner.cleanup()

    async def _index(self, _: web.Request) -> web.Response:
        url = self.server.url
        policy = (
            f"default-src 'none'; img-src data:; script-src {url};"
            f" connect-src {url} {self.server.ws_url}"
        )
        text = page_of(self.body, f"{url}/sdk/blab-agent.js")
        headers = {"Content-Security-Policy": policy}
        return web.Response(text=text, content_type="text/html", headers=headers)


@pytest.fixture
async def shop(server: ScriptedServer) -> AsyncIterator[Shop]:
    made = Shop(server)
    async with made.open():
        yield made


async def arrive(visit: Visit, shop: Shop) -> Page:
    await visit.page.add_init_script(WATCH)
    await visit.page.goto(shop.address)
    return visit.page


def status(page: Page) -> Locator:
    return page.get_by_role("status")


async def events(page: Page, name: str) -> list[Any]:
    found: list[Any] = await page.evaluate(
        "(name) => seen.events.filter(([type]) => type === name).map(([, detail]) => detail)", name
    )
    return found


async def faults(page: Page, tools: Path) -> list[str]:
    """What axe finds on the whole page. The page's policy allows no foreign script, a test may."""
    source = (tools / "axe-core" / "axe.min.js").read_text()
    await page.evaluate(source)
    found = await page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found["violations"]]


async def hears(page: Page) -> None:
    """Wait until the visitor hears the agent. (The page's policy forbids what Playwright waits
    with.)"""
    async with asyncio.timeout(WAIT / 1000):
        while not await page.evaluate("seen.heard"):
            await asyncio.sleep(0.05)


# ---------------------------------------------------------------------- the bundle


def test_the_bundles_are_small_and_made_of_their_sources(web_tools: Path, tmp_path: Path) -> None:
    """`npm run build` in static/sdk, with the pinned esbuild, gives what the server serves."""
    folder = tmp_path / "sdk"
    shutil.copytree(SDK, folder)
    (folder / "node_modules").symlink_to(web_tools)
    done = subprocess.run(
        ["npm", "run", "--silent", "build"],
        check=False,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in SDK.glob("*.js")} == {"blab-agent.js", "resampler.js", *SCRIPTS}
    for path in SDK.glob("*.js"):
        assert path.read_bytes() == (folder / path.name).read_bytes(), "run `npm run build` there"
    assert len(gzip.compress((SDK / "blab-agent.js").read_bytes(), 9)) <= MOST_BYTES


# ---------------------------------------------------------------------- calls


@pytest.mark.browser
async def test_a_visitor_agrees_speaks_and_hears_the_answer(
    shop: Shop, browser_page: BrowserPage, web_tools: Path, tmp_path: Path
) -> None:
    await shop.new_embed(texts={"title": "Ask us", "consent": CONSENT, "accent": "#ffd400"})
    visit = await browser_page(spoken(tmp_path / "voice.wav", 1.5, "joe_q_weather", 30.0))
    page = await arrive(visit, shop)
    opener = page.get_by_role("button", name="Open the voice assistant")
    await expect(opener).to_have_attribute("aria-expanded", "false")
    await opener.click()
    panel = page.get_by_role("dialog", name="Ask us")
    await expect(panel.get_by_text(CONSENT)).to_be_visible()
    assert await faults(page, web_tools) == []
    assert await page.evaluate("seen.microphones") == 0

    await panel.get_by_role("button", name="Agree and call").click()
    await expect(status(page)).to_have_text("I am listening.", timeout=WAIT)
    assert await page.evaluate("seen.microphones") == 1
    await expect(panel.get_by_role("listitem").first).to_contain_text(HEARD, timeout=WAIT)
    await hears(page)
    await expect(panel.get_by_role("listitem").nth(1)).to_contain_text(f"Answer {HZ}.")
    assert await faults(page, web_tools) == []
    assert (await shop.owner("GET", f"/api/embeds/{shop.embed['id']}"))["callsNow"] == 1

    await panel.get_by_role("button", name="Hang up").click()
    await expect(status(page)).to_have_text("The call has ended.")
    said = [(one["role"], one["text"]) for one in await events(page, "blab-message")]
    assert said[:2] == [("user", HEARD), ("assistant", f"Answer {HZ}.")]
    [ended] = await events(page, "blab-call-ended")
    assert ended["reason"] == "hung_up"
    assert await events(page, "blab-call-started") == [{"transport": "WebRTC"}]
    await shop.server.empty()
    assert visit.console_errors == []


@pytest.mark.browser
async def test_the_keyboard_is_enough(
    shop: Shop, browser_page: BrowserPage, tmp_path: Path
) -> None:
    """Also: over WebSocket, whose worklets come from the server's origin."""
    await shop.new_embed('transport="websocket"')
    visit = await browser_page(spoken(tmp_path / "voice.wav", 1.5, "joe_q_weather", 30.0))
    page = await arrive(visit, shop)
    keys = page.keyboard
    opener = page.get_by_role("button", name="Open the voice assistant")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await keys.press("Tab")
    await expect(opener).to_be_focused()
    await keys.press("Enter")
    await expect(page.get_by_role("button", name="Call", exact=True)).to_be_focused()
    await keys.press("Enter")
    await expect(status(page)).to_have_text("I am listening.", timeout=WAIT)
    await hears(page)
    await expect(page.get_by_role("button", name="Hang up")).to_be_focused()
    await keys.press("Tab")
    await keys.press("Space")
    await expect(page.get_by_role("button", name="Mute")).to_have_attribute("aria-pressed", "true")
    await keys.press("Tab")
    await keys.type("Hello")
    await keys.press("Enter")
    await expect(page.get_by_text("Hello")).to_be_visible()
    await keys.press("Escape")
    await expect(opener).to_be_focused()
    await keys.press("Enter")
    await expect(page.get_by_role("button", name="Hang up")).to_be_focused()
    await keys.press("Enter")
    await expect(status(page)).to_have_text("The call has ended.")
    assert visit.console_errors == []


@pytest.mark.browser
async def test_a_visitor_writes_in_german_without_a_microphone(
    shop: Shop, browser_page: BrowserPage, web_tools: Path
) -> None:
    await shop.new_embed('mode="inline" text-only language="de-CH" theme="dark"')
    visit = await browser_page(microphone="missing", reduced_motion="reduce")
    page = await arrive(visit, shop)
    panel = page.get_by_role("group", name="Sprechen Sie mit uns")
    await panel.get_by_label("Nachricht schreiben").fill("Guten Tag")
    await page.keyboard.press("Enter")
    log = panel.get_by_role("log", name="Gespräch")
    await expect(log.get_by_role("listitem")).to_have_text(
        ["Sie: Guten Tag", f"Assistent: Answer {HZ}."], timeout=WAIT
    )
    assert await faults(page, web_tools) == []
    assert await page.evaluate("seen.microphones") == 0
    await page.evaluate("document.querySelector('blab-agent').remove()")
    await shop.server.empty()
    assert visit.console_errors == []


@pytest.mark.browser
async def test_a_foreign_page_says_that_it_may_not(
    shop: Shop, browser_page: BrowserPage, web_tools: Path
) -> None:
    await shop.new_embed('mode="inline"', origins=["https://shop.example"])
    visit = await browser_page()
    page = await arrive(visit, shop)
    await expect(status(page)).to_have_text("This page is not allowed to use this assistant.")
    await expect(page.get_by_role("button")).to_have_count(0)
    assert await faults(page, web_tools) == []
    [problem] = await events(page, "blab-problem")
    assert problem["kind"] == "foreign"
    assert any("origins" in line and shop.address in line for line in visit.console_errors)


@pytest.mark.browser
async def test_a_visitor_waits_for_a_free_line(shop: Shop, browser_page: BrowserPage) -> None:
    await shop.new_embed('mode="inline" text-only', maxCalls=1)
    origin = {"Origin": shop.address}
    url = f"{shop.server.url}/api/embeds/{shop.embed['id']}/client_secrets"
    async with aiohttp.ClientSession(headers=origin) as http, http.post(url, json={}) as answer:
        key = (await answer.json())["data"]
    query = f"agent_id={key['agentId']}"
    async with shop.server.client(key=key["value"], headers=origin, query=query) as other:
        await other.wait_for("session.created")
        visit = await browser_page(microphone="missing")
        page = await arrive(visit, shop)
        await page.get_by_label("Write a message").fill("Hello")
        await page.keyboard.press("Enter")
        await expect(status(page)).to_have_text(re.compile(r"Your place in the queue: 1\."))
        await expect(page.get_by_role("button", name="Stop waiting")).to_be_visible()
    await expect(page.get_by_text(f"Answer {HZ}.")).to_be_visible(timeout=WAIT)
    waits = await events(page, "blab-call-waiting")
    assert waits[0] == {"reason": "busy", "place": 1}


def test_the_readers_of_each_language_get_all_words() -> None:
    """The types see to the names (test_sdk); here: no text is left in English."""
    source = (SDK / "agent" / "texts.js").read_text()
    pairs = re.findall(r"^ +(\w+): \"(.*)\",$", source, re.MULTILINE)
    english = dict(pairs[: len({name for name, _ in pairs})])
    others = pairs[len(english) :]
    assert len(others) == 5 * len(english)
    same = {name for name, text in others if english[name] == text}
    assert same <= {"conversation", "agent"}, same  # French has the same words
    assert all(("{n}" in text) == (name == "place") for name, text in pairs)


# ---------------------------------------------------------------------- the document's example

SECTION = re.compile(r"^## Embed an agent$(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)


@pytest.mark.browser
@pytest.mark.engines
async def test_the_example_of_the_document(
    live_server: LiveServer, browser_page: BrowserPage
) -> None:
    """The commands of docs/clients.md, exactly as written, on the real engines."""
    section = SECTION.search((ROOT / "docs" / "clients.md").read_text())
    assert section is not None
    [commands] = re.findall(r"^```sh\n(.*?)^```$", section[1], re.DOTALL | re.MULTILINE)
    commands = commands.replace("http://127.0.0.1:8484", live_server.url)
    commands = commands.replace("./blab", f"{sys.executable} -m gateway.cli")
    own = {"BLAB_DATA_DIR": str(live_server.data_dir), "PORT": str(free_port())}
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", f"set -eu\n{commands}"), cwd=ROOT, env=os.environ | own,
        stdout=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        address = (await asyncio.wait_for(process.stdout.readline(), 60)).decode().strip()
        visit = await browser_page(microphone="missing")
        page = visit.page
        await page.goto(address)
        await page.get_by_role("button", name="Open the voice assistant").click()
        await page.get_by_role("button", name="Agree and call").click()
        await expect(status(page)).to_contain_text("The microphone cannot be used.", timeout=WAIT)
        await page.get_by_label("Write a message").fill("What is the capital of France?")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("listitem").nth(1)).to_contain_text("Paris", timeout=WAIT)
        await page.get_by_role("button", name="Use the microphone").click()
        await expect(status(page)).to_contain_text("The microphone cannot be used.")
        await page.get_by_role("button", name="Hang up").click()
        await expect(status(page)).to_have_text("The call has ended.")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 20)
