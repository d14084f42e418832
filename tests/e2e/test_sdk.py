"""The client library: its types, its package, and calls from a page of another origin."""

import asyncio
import gzip
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.agents_page import ephemeral_key, foreign_page
from tests.e2e.browser import BrowserPage, spoken
from tests.e2e.npm_packages import web_tools
from tests.support.gateway.scripted_server import HEARD, ScriptedServer, server
from tests.support.paths import ROOT, STATIC

__all__ = ["server", "web_tools"]

SDK = STATIC / "sdk"
SCRIPTS = ("blab.js", "capture-worklet.js", "player-worklet.js")
MOST_BYTES = 15_000
"""Of these scripts, with gzip."""
SECONDS = 40.0
COMPILER_OPTIONS = {
    "allowJs": True,
    "checkJs": True,
    "strict": True,
    "noEmit": True,
    "noUnusedLocals": True,
    "target": "es2022",
    "module": "es2022",
    "moduleResolution": "bundler",
    "lib": ["es2023", "dom", "dom.iterable", "dom.asynciterable"],
    "types": [],
}
USER = """
import { Call, type HistoryItem, type Latency } from "./sdk/blab.js";

const key = async (signal: AbortSignal) => `ek_${signal.aborted}`;
const call = new Call({ server: "https://voice.example.com", key });
call.on("history_updated", (items: HistoryItem[]) => console.log(items[0].text));
call.on("latency", ({ heardMs }: Latency) => console.log(heardMs));
// @ts-expect-error: there is no such event
call.on("nothing", () => {});
// @ts-expect-error: there is no such option
new Call({ sever: "" });
await call.connect({ microphone: false });
"""


def run(*command: str | Path, folder: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        check=False,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_types_hold(web_tools: Path, tmp_path: Path) -> None:
    """In the library itself, which implements its declarations, and for a program that uses it."""
    shutil.copytree(SDK, tmp_path / "sdk")
    (tmp_path / "user.ts").write_text(USER)
    worklets = [f"sdk/client/{name}" for name in SCRIPTS if name.endswith("-worklet.js")]
    config = {
        "compilerOptions": COMPILER_OPTIONS,
        "include": ["sdk/client/*.js", "sdk/agent/*.js", "user.ts"],
        # Worklets live in another global scope, of which no types are published.
        "exclude": worklets,
    }
    (tmp_path / "tsconfig.json").write_text(json.dumps(config))
    run("node", web_tools / "typescript" / "bin" / "tsc", "-p", ".", folder=tmp_path)


def test_the_package_is_small_and_complete(web_tools: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sdk"
    shutil.copytree(SDK, folder)
    (folder / "node_modules").symlink_to(web_tools)
    run("npm", "pack", "--silent", "--pack-destination", tmp_path, folder=folder)
    [archive] = tmp_path.glob("*.tgz")
    run("tar", "-xf", archive, folder=tmp_path)
    package = tmp_path / "package"
    files = [path.relative_to(package) for path in package.rglob("*") if path.is_file()]
    assert {path.as_posix() for path in files} == {"package.json", "blab.d.ts", *SCRIPTS}
    sizes = {name: len(gzip.compress((package / name).read_bytes(), 9)) for name in SCRIPTS}
    assert sum(sizes.values()) <= MOST_BYTES, sizes
    made_for = json.loads((package / "package.json").read_text())
    assert (package / made_for["exports"]["."]["default"]).is_file()
    assert (package / made_for["types"]).is_file()


# ---------------------------------------------------------------------- calls

COUNTED = """
globalThis.listening = new Map();
globalThis.timers = new Map();
const add = EventTarget.prototype.addEventListener;
const remove = EventTarget.prototype.removeEventListener;
let entries = 0;
const known = (...wanted) =>
  [...listening].find(([, { key }]) => key.every((part, place) => part === wanted[place]))?.[0];
EventTarget.prototype.addEventListener = function (type, listener, options) {
  if (known(this, type, listener) === undefined) {
    const id = entries++;
    const key = [this, type, listener];
    listening.set(id, { key, name: `${this?.constructor?.name} ${type}` });
    if (options?.signal) add.call(options.signal, "abort", () => listening.delete(id));
    if (options?.once) add.call(this, type, () => listening.delete(id), { once: true });
  }
  return add.call(this, type, listener, options);
};
EventTarget.prototype.removeEventListener = function (type, listener, options) {
  listening.delete(known(this, type, listener));
  return remove.call(this, type, listener, options);
};
const pairs = [
  ["setTimeout", "clearTimeout"],
  ["setInterval", "clearInterval"],
  ["requestAnimationFrame", "cancelAnimationFrame"],
];
for (const [start, stop] of pairs) {
  const [begin, end] = [globalThis[start].bind(globalThis), globalThis[stop].bind(globalThis)];
  globalThis[start] = (work, ...rest) => {
    const id = begin((...values) => {
      if (start !== "setInterval") timers.delete(`${start} ${id}`);
      work(...values);
    }, ...rest);
    timers.set(`${start} ${id}`);
    return id;
  };
  globalThis[stop] = (id) => {
    timers.delete(`${start} ${id}`);
    end(id);
  };
}
const named = () => [...listening.values()].map(({ name }) => name);
globalThis.left = () => [...named(), ...timers.keys()];
"""
PAGE = """
import { Call } from "SERVER/sdk/blab.js";

const facts = (globalThis.facts = { states: [], events: [], loudness: 0 });
const call = (globalThis.call = new Call({
  key: async () => (await (await fetch("/key")).json()).value,
  transport: "TRANSPORT",
}));
call.on("connection_change", ({ state }) => facts.states.push(state));
for (const name of ["agent_start", "audio_start", "audio_stopped", "agent_end"]) {
  call.on(name, () => facts.events.push(name));
}
call.on("latency", ({ heardMs }) => (facts.heardMs = heardMs ?? facts.heardMs));
call.on("transport_event", (event) => (facts.last = event.type));
call.on("agent_end", ({ output }) => (facts.output = output));
globalThis.listen = () => {
  const samples = new Float32Array(1024);
  call.output.getFloatTimeDomainData(samples);
  facts.loudness = Math.max(facts.loudness, ...samples);
  return facts.loudness;
};
globalThis.ready = true;
"""


KNOWN = "JSON.stringify(call.history) + facts.last"


async def opened(server: ScriptedServer, page: Any, url: str) -> None:
    await page.add_init_script(COUNTED)
    await page.goto(url)
    await page.wait_for_function("globalThis.ready")
    await page.evaluate("() => { globalThis.before = left(); }")
    await page.evaluate("call.connect()")
    assert await page.evaluate("[call.state, call.history.length]") == ["live", 0]
    assert len(server.app_calls()) == 1


async def nothing_is_left(page: Any) -> None:
    """No listener and no timer of the call."""
    await page.wait_for_function("left().length <= before.length", timeout=10_000)
    assert await page.evaluate("left()") == await page.evaluate("before")


@pytest.mark.browser
@pytest.mark.timeout(90)
@pytest.mark.parametrize("transport", ["webrtc", "websocket"])
async def test_a_spoken_call_from_another_origin(
    transport: str, server: ScriptedServer, browser_page: BrowserPage, tmp_path: Path
) -> None:
    visit = await browser_page(spoken(tmp_path / "voice.wav", 2.0, "joe_q_weather", 60.0))
    page = visit.page
    script = PAGE.replace("SERVER", server.url).replace("TRANSPORT", transport)
    async with foreign_page(script, await ephemeral_key(server)) as url:
        await opened(server, page, url)
        await page.wait_for_function("call.history.length === 2 && listen() > 0.05", timeout=20_000)
        await page.wait_for_function("facts.events.includes('audio_stopped')", timeout=20_000)
        await page.wait_for_function("facts.heardMs > 0", timeout=20_000)
        said = await page.evaluate("call.history")
        assert [(item["role"], item["text"], item["status"]) for item in said] == [
            ("user", HEARD, "completed"),
            ("assistant", "Fine.", "completed"),
        ]
        facts = await page.evaluate("facts")
        assert facts["output"] == "Fine."
        assert facts["events"][:2] == ["agent_start", "audio_start"]
        await page.evaluate("call.close()")
        await server.empty()
        await nothing_is_left(page)
        assert await page.evaluate("facts.states") == ["opening", "live", "ended"]
        assert visit.console_errors == []


@pytest.mark.browser
@pytest.mark.timeout(90)
async def test_a_call_can_be_made_again_and_what_comes_late_changes_nothing(
    server: ScriptedServer, browser_page: BrowserPage
) -> None:
    server.engines.chat_model.answer = lambda _: " ".join(["There was a parrot."] * 40)
    visit = await browser_page(microphone="missing")
    page = visit.page
    script = PAGE.replace("SERVER", server.url).replace("TRANSPORT", "websocket")
    async with foreign_page(script, await ephemeral_key(server)) as url:
        await page.add_init_script(COUNTED)
        await page.goto(url)
        await page.wait_for_function("globalThis.ready")
        await page.evaluate("() => { globalThis.before = left(); }")
        await page.evaluate("() => { call.sendMessage('Tell me a story.'); }")
        for _ in range(2):
            await page.evaluate("call.connect({ microphone: false })")
            await page.evaluate("() => { call.history.length || call.sendMessage('Another.'); }")
            await page.wait_for_function("call.agentState === 'speaking'", timeout=20_000)
            await page.evaluate("call.close()")
            seen = await page.evaluate(KNOWN)
            await server.empty()
            await nothing_is_left(page)
            assert await page.evaluate(KNOWN) == seen
        refusal = "call.connect({ microphone: false }).then(() => call.connect()).catch(String)"
        assert "live already" in await page.evaluate(refusal)
        await page.evaluate("call.close()")
        await server.empty()


@pytest.mark.browser
@pytest.mark.timeout(90)
async def test_a_busy_server_is_waited_for(
    server: ScriptedServer, browser_page: BrowserPage
) -> None:
    server.set_capacity(0)
    visit = await browser_page(microphone="missing")
    page = visit.page
    script = PAGE.replace("SERVER", server.url).replace("TRANSPORT", "webrtc")
    async with foreign_page(script, await ephemeral_key(server)) as url:
        await page.goto(url)
        await page.wait_for_function("globalThis.ready")
        await page.evaluate(
            """() => {
              call.on("waiting", ({ server }) => (facts.server = server));
              globalThis.dialled = call.connect({ microphone: false });
            }"""
        )
        await page.wait_for_function("facts.server === 'full'", timeout=10_000)
        server.set_capacity(2)
        async with asyncio.timeout(SECONDS):
            await page.evaluate("dialled")
        assert await page.evaluate("facts.states") == ["opening", "retrying", "opening", "live"]
        await page.evaluate("call.close()")
        await server.empty()


DOCUMENTED = re.compile(r"^## The browser client$.*?^```js\n(.*?)^```$", re.DOTALL | re.MULTILINE)
IN_THE_README = re.compile(r"^```js\n(import \{ Call \}.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.browser
@pytest.mark.timeout(90)
@pytest.mark.parametrize("document", ["README.md", "docs/clients.md"])
async def test_the_documented_example_runs(
    document: str, server: ScriptedServer, browser_page: BrowserPage, tmp_path: Path
) -> None:
    pattern = IN_THE_README if document == "README.md" else DOCUMENTED
    found = pattern.search((ROOT / document).read_text())
    assert found is not None
    visit = await browser_page(spoken(tmp_path / "voice.wav", 1.0, "joe_okay", 30.0))
    answered = asyncio.Event()
    visit.page.on("console", lambda line: answered.set() if line.text == "Fine." else None)
    key = await ephemeral_key(server)
    script = f"const key = '{key}';\n" if document == "README.md" else ""
    script += found[1].replace("http://127.0.0.1:8484", server.url)
    async with foreign_page(script, key) as url:
        await visit.page.goto(url)
        async with asyncio.timeout(SECONDS):
            await answered.wait()
        await visit.page.goto("about:blank")
    await server.empty()
    assert visit.console_errors == []
