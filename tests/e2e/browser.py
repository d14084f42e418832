"""A real browser as the caller: Chromium under Playwright, with a recording as its microphone.

Fixtures: ``chromium`` (the program, installed where that is possible) and ``browser_page`` (a
factory of visits). A visit is one new browser with an empty profile, because the recording that
plays as the microphone is a flag of the process. The recording starts when the page opens the
microphone; `spoken` puts silence before and between utterances. What must be said at a moment
that only the page knows (into an answer, however long it turns out) is mixed into the
microphone by `Visit.say`.

Against the real server it is the whole Chromium. Elsewhere it is the same release without a window
(chromium-headless-shell) where that is installed: it starts with a third of the work. It cannot
refuse the microphone.
"""

import base64
import os
import shutil
import subprocess
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
from playwright.async_api import (
    ConsoleMessage,
    Page,
    Playwright,
    Request,
    async_playwright,
    expect,
)

from tests.support.paths import AUDIO

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WINDOWLESS = "chromium-headless-shell"
PATIENCE = 20_000.0
"""ms until a page must show what a test expects, unless the test says otherwise. Playwright's 5 s
pass on a machine that does four times as much as it can."""
expect.set_options(timeout=PATIENCE)
FLAGS = (
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=user-gesture-required",
    # The only network may be the loopback one (containers, CI).
    "--allow-loopback-in-peer-connection",
)
RATE = 16_000
MIXED_MICROPHONE = """
const open = navigator.mediaDevices?.getUserMedia.bind(navigator.mediaDevices);
if (open) navigator.mediaDevices.getUserMedia = async (constraints) => {
  const context = new AudioContext();
  const mixed = context.createMediaStreamDestination();
  context.createMediaStreamSource(await open(constraints)).connect(mixed);
  globalThis.sayIntoMicrophone = async (wav) => {
    const bytes = Uint8Array.from(atob(wav), (character) => character.charCodeAt(0));
    const source = context.createBufferSource();
    source.buffer = await context.decodeAudioData(bytes.buffer);
    source.connect(mixed);
    source.start();
  };
  return mixed.stream;
};
"""

Microphone = Literal["granted", "refused", "missing"]


@dataclass
class Visit:
    """A page in its own browser, and what it did that somebody should know of."""

    page: Page
    console_errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def external_requests(self, origin: str) -> list[str]:
        """Requests that left ``origin`` (scheme://host:port), WebSockets included."""
        host = urlsplit(origin).netloc
        return [url for url in self.requests if urlsplit(url).netloc not in ("", host)]

    async def mix_microphone(self) -> None:
        """Before the page is opened: lets `say` speak into its microphone."""
        await self.page.add_init_script(MIXED_MICROPHONE)

    async def say(self, name: str) -> None:
        """Start saying a recording of tests/audio now, beside what the microphone plays."""
        wav = base64.b64encode((AUDIO / f"{name}.wav").read_bytes()).decode()
        await self.page.evaluate("(wav) => sayIntoMicrophone(wav)", wav)


BrowserPage = Callable[..., Awaitable[Visit]]


def find_chromium() -> str | None:
    """The browser's program; installed through apt where we are root and it is missing."""
    for program in PROGRAMS:
        if found := shutil.which(program):
            return found
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return None
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "chromium"]):
        subprocess.run(["apt-get", *command], check=False, env=environment, timeout=600)
    return shutil.which("chromium")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of Chromium. Without it the test is skipped loudly, and fails where CI is set."""
    program = find_chromium()
    if program:
        return program
    message = "Chromium is missing: install it (apt-get install chromium) to run the browser tests"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture
async def browser_page(chromium: str, request: pytest.FixtureRequest) -> AsyncIterator[BrowserPage]:
    """Factory: ``visit = await browser_page(wav, microphone=…, viewport=…, color_scheme=…)``.

    ``wav``: 16-bit mono recording played once as the microphone; None: Chromium's beeps.
    ``microphone``: "granted", "refused" (the caller says no) or "missing" (there is none)."""
    real = "live_server" in request.fixturenames
    async with async_playwright() as playwright:
        browsers: list[Any] = []

        async def visit(
            wav: Path | None = None,
            *,
            microphone: Microphone = "granted",
            viewport: tuple[int, int] = (1280, 800),
            **context: Any,
        ) -> Visit:
            size = {"width": viewport[0], "height": viewport[1]}
            windowless = None if real or microphone == "refused" else shutil.which(WINDOWLESS)
            browser = await _launch(playwright, windowless or chromium, microphone, wav)
            browsers.append(browser)
            page = await (await browser.new_context(viewport=size, **context)).new_page()
            return _watched(page)

        try:
            yield visit
        finally:
            for browser in browsers:
                await browser.close()


async def _launch(
    playwright: Playwright, program: str, microphone: Microphone, wav: Path | None
) -> Any:
    flags = list(FLAGS)
    if microphone == "granted":
        flags.append("--use-fake-ui-for-media-stream")
    if microphone != "missing":
        flags.append("--use-fake-device-for-media-stream")
    if wav is not None:
        flags.append(f"--use-file-for-fake-audio-capture={wav}%noloop")
    return await playwright.chromium.launch(executable_path=program, args=flags)


def _watched(page: Page) -> Visit:
    seen = Visit(page)

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            seen.console_errors.append(message.text)

    def on_request(request: Request) -> None:
        seen.requests.append(request.url)

    page.on("console", on_console)
    page.on("pageerror", lambda error: seen.console_errors.append(str(error)))
    page.on("request", on_request)
    page.on("websocket", lambda socket: seen.requests.append(socket.url))
    return seen


def spoken(path: Path, *parts: str | float) -> Path:
    """Write a microphone recording: names of tests/audio and seconds of silence, in order."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        for part in parts:
            if isinstance(part, str):
                with wave.open(str(AUDIO / f"{part}.wav")) as recording:
                    out.writeframes(recording.readframes(recording.getnframes()))
            else:
                out.writeframes(bytes(2 * round(part * RATE)))
    return path
