"""Firefox as the caller, driven through WebDriver BiDi (W3C), which it speaks by itself.

``firefox`` is a factory of pages: ``page = await firefox(wav)`` starts a browser with an empty
profile whose microphone plays nothing until ``Page.say``. What a page logs as an error is kept.
Its loudspeaker is PulseAudio's null sink: without a device, Firefox keeps every AudioContext
suspended. Commands have a deadline; browser, sink and profile are gone at the end of the test.
"""

import asyncio
import base64
import contextlib
import itertools
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.support.paths import AUDIO

PROGRAMS = ("firefox", "firefox-esr")
SECONDS = 60.0
"""For a command, and for the browser to start."""
PREFERENCES = {
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.peerconnection.ice.loopback": True,  # the only network may be the loopback one
    "browser.shell.checkDefaultBrowser": False,
    "browser.aboutwelcome.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "app.normandy.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "",
}
MICROPHONE = """() => {
  if (!navigator.mediaDevices) return; // an empty page
  const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (constraints) => {
    (await open(constraints)).getTracks().forEach((track) => track.stop()); // it plays a tone
    const context = new AudioContext();
    const microphone = context.createMediaStreamDestination();
    globalThis.sayIntoMicrophone = async (wav) => {
      const bytes = Uint8Array.from(atob(wav), (character) => character.charCodeAt(0));
      const source = context.createBufferSource();
      source.buffer = await context.decodeAudioData(bytes.buffer);
      source.connect(microphone);
      source.start();
    };
    return microphone.stream;
  };
}"""


@dataclass
class Page:
    """A page in its own browser."""

    socket: ClientConnection
    context: str = ""
    errors: list[str] = field(default_factory=list)
    """What the console said at level error."""
    _ids: "itertools.count[int]" = field(default_factory=itertools.count)
    _waiting: dict[int, "asyncio.Future[dict[str, Any]]"] = field(default_factory=dict)

    async def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command; its result. Raises AssertionError with the browser's message."""
        number = next(self._ids)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        async with asyncio.timeout(SECONDS):
            message = await answer
        assert message["type"] == "success", message
        result: dict[str, Any] = message["result"]
        return result

    async def receive(self) -> None:
        """Take what the browser sends, until it closes."""
        async for text in self.socket:
            message = json.loads(text)
            if message["type"] != "event":
                self._waiting.pop(message["id"]).set_result(message)
            elif message["params"].get("level") == "error":
                self.errors.append(message["params"]["text"])

    async def goto(self, url: str) -> None:
        """Open an address and wait until it has loaded."""
        await self.command(
            "browsingContext.navigate", context=self.context, url=url, wait="complete"
        )

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression, if it is plain; of a promise, what it becomes."""
        result = await self.command(
            "script.evaluate", expression=expression, target={"context": self.context},
            awaitPromise=True, userActivation=True,
        )  # fmt: skip
        assert result["type"] == "success", result
        return result["result"].get("value")

    async def until(self, expression: str, within: float = SECONDS) -> Any:
        """The first value of an expression that is true; fails with what the page shows."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while not (value := await self.evaluate(expression)):
                    await asyncio.sleep(0.1)
                return value
        shown = await self.evaluate("document.body.dataset.phase + ' ' + document.body.innerText")
        pytest.fail(f"never came: {expression}\n{self.errors}\n{shown}")

    async def click(self, selector: str) -> None:
        """Press the mouse's button in the middle of an element, as a hand does."""
        await self._press({"type": "css", "value": selector})

    async def press(self, label: str) -> None:
        """The same with the button of that text."""
        await self._press({"type": "xpath", "value": f"//button[normalize-space()='{label}']"})

    async def write(self, name: str, text: str) -> None:
        """Type into the input of that name."""
        await self.click(f"input[name={name}]")
        strokes = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        keyboard = {"type": "key", "id": "keyboard", "actions": strokes}
        await self.command("input.performActions", context=self.context, actions=[keyboard])

    async def _press(self, locator: dict[str, str]) -> None:
        place = await self.command(
            "browsingContext.locateNodes", context=self.context, locator=locator
        )
        (node,) = place["nodes"]
        origin = {"type": "element", "element": {"sharedId": node["sharedId"]}}
        actions = [
            {"type": "pointerMove", "x": 0, "y": 0, "origin": origin},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        pointer = {"type": "pointer", "id": "mouse", "actions": actions}
        await self.command("input.performActions", context=self.context, actions=[pointer])

    async def say(self, name: str) -> None:
        """Start saying a recording of tests/audio."""
        wav = base64.b64encode((AUDIO / f"{name}.wav").read_bytes()).decode()
        await self.evaluate(f"sayIntoMicrophone('{wav}')")


Firefox = Callable[[], Awaitable[Page]]


def _program(*names: str, package: str) -> str:
    for name in names:
        if found := shutil.which(name):
            return found
    message = f"{names[0]} is missing: install it (apt-get install {package})"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture
async def firefox(tmp_path: Path) -> AsyncIterator[Firefox]:
    """Factory of pages, each in a browser of its own. Without Firefox or PulseAudio the test is
    skipped, and fails where CI is set."""
    program = _program(*PROGRAMS, package="firefox-esr")
    async with contextlib.AsyncExitStack() as stack:
        sink = await stack.enter_async_context(_sink(tmp_path))

        async def visit() -> Page:
            profile = _profile(tmp_path / f"firefox-{os.urandom(4).hex()}")
            return await stack.enter_async_context(_browser(program, profile, sink))

        yield visit


def _profile(folder: Path) -> Path:
    """A new profile with ``PREFERENCES``."""
    folder.mkdir()
    lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in PREFERENCES.items()]
    (folder / "user.js").write_text("\n".join(lines))
    return folder


@contextlib.asynccontextmanager
async def _sink(folder: Path) -> AsyncIterator[str]:
    """A loudspeaker that nobody hears, with its files in a folder; its server's address."""
    address = folder / "native"
    process = await asyncio.create_subprocess_exec(
        _program("pulseaudio", package="pulseaudio"),
        "-n", "--daemonize=no", "--exit-idle-time=-1", "--disable-shm=yes",
        "-L", "module-null-sink",
        "-L", f"module-native-protocol-unix socket={address} auth-anonymous=1",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        env=os.environ | {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)},
    )  # fmt: skip
    try:
        async with asyncio.timeout(SECONDS):
            while not address.exists():
                assert process.returncode is None, "PulseAudio did not start"
                await asyncio.sleep(0.05)
        yield f"unix:{address}"
    finally:
        await _end(process)


@contextlib.asynccontextmanager
async def _browser(program: str, profile: Path, sink: str) -> AsyncIterator[Page]:
    process = await asyncio.create_subprocess_exec(
        program, "--headless", "--remote-debugging-port", "0", "--profile", str(profile),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"HOME": str(profile), "PULSE_SERVER": sink},
    )  # fmt: skip
    try:
        async with connect(await _address(process) + "/session", max_size=None) as socket:
            page = Page(socket)
            drained = asyncio.create_task(_drain(process), name="firefox-log")
            receiving = asyncio.create_task(page.receive(), name="firefox-receive")
            try:
                await page.command("session.new", capabilities={})
                await page.command("session.subscribe", events=["log.entryAdded"])
                await page.command("script.addPreloadScript", functionDeclaration=MICROPHONE)
                made = await page.command("browsingContext.create", type="tab")
                page.context = made["context"]
                yield page
                await page.command("browser.close")
            finally:
                receiving.cancel()
                drained.cancel()
                await asyncio.gather(receiving, drained, return_exceptions=True)
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    await process.wait()


async def _address(process: asyncio.subprocess.Process) -> str:
    """Where the browser listens; it says so on standard error."""
    assert process.stderr is not None
    said = ""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SECONDS):
            while line := (await process.stderr.readline()).decode():
                said += line
                if found := re.search(r"WebDriver BiDi listening on (ws://\S+)", line):
                    return found[1]
    pytest.fail(f"Firefox did not start:\n{said}")


async def _drain(process: asyncio.subprocess.Process) -> None:
    """Read what it writes, so that it never waits for a reader."""
    assert process.stderr is not None
    while await process.stderr.read(65_536):
        pass
