"""The stock @openai/agents over WebSocket (Node) and over WebRTC (Chromium), unmodified."""

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines.engines.base import ChatMessage
from tests.e2e.agents_page import bundled, ephemeral_key, foreign_page
from tests.e2e.browser import BrowserPage, spoken
from tests.e2e.npm_packages import agents_sdk, node_modules
from tests.support.gateway.scripted_server import HEARD, ScriptedServer, server

__all__ = ["agents_sdk", "node_modules", "server"]

pytestmark = pytest.mark.timeout(240)

SENTENCE = "There was a parrot."
STORY = " ".join([SENTENCE] * 40)
SECONDS = 60.0
Fact = dict[str, Any]


def answer(messages: Sequence[ChatMessage]) -> str:
    last = messages[-1]
    if last.role == "tool":
        return f"It is {last.content}."
    if "weather" in last.content:
        return 'CALL weather {"city":"Paris"}'
    return STORY if "story" in last.content else "Fine."


def of(facts: list[Fact], what: str) -> list[Fact]:
    return [fact for fact in facts if fact["what"] == what]


def assert_conversed(facts: list[Fact]) -> None:
    """What both carriers must have shown."""
    assert not of(facts, "failed")
    assert not of(facts, "error")
    assert of(facts, "heard")[0]["words"] == HEARD
    assert of(facts, "spoken")[0]["words"] == "Fine."
    assert of(facts, "tool") == [{"what": "tool", "city": "Paris"}]
    assert of(facts, "called")[0]["words"] == "It is sunny in Paris."
    assert of(facts, "after")[0]["words"] == "Fine."
    [cut] = of(facts, "interrupted")
    assert cut["status"] == "incomplete"
    assert_cut(cut["words"])


def assert_cut(words: str) -> None:
    """What the history holds of the story: a beginning that the caller heard."""
    assert words.startswith("There was")
    assert STORY.startswith(words)
    assert len(words) < len(STORY) / 2


async def test_a_session_over_websocket(
    server: ScriptedServer, agents_sdk: Callable[[str], Path]
) -> None:
    server.engines.chat_model.answer = answer
    process = await asyncio.create_subprocess_exec(
        "node",
        str(agents_sdk("websocket.mjs")),
        f"{server.ws_url}/v1/realtime?model=gpt-realtime",
        server.key,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, complaints = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, complaints.decode()
    facts = [json.loads(line) for line in out.splitlines()]
    assert_conversed(facts)
    assert of(facts, "typed")[0]["words"] == "Fine."
    assert of(facts, "typed")[0]["audio"] > 0
    assert_cut(of(facts, "spoken over")[0]["words"])


async def test_a_session_over_webrtc(
    server: ScriptedServer,
    agents_sdk: Callable[[str], Path],
    browser_page: BrowserPage,
    tmp_path: Path,
) -> None:
    server.engines.chat_model.answer = answer
    bundle = await bundled(agents_sdk("webrtc.mjs"))
    facts: list[Fact] = []
    done = asyncio.Event()

    def tell(fact: Fact) -> None:
        facts.append(fact)
        if fact["what"] == "done":
            done.set()

    visit = await browser_page(spoken(tmp_path / "voice.wav", 1.0, "joe_okay", 60.0))
    async with foreign_page(bundle, await ephemeral_key(server)) as page_url:
        await visit.page.expose_function("tell", tell)
        await visit.page.add_init_script(f"globalThis.server = '{server.url}'")
        await visit.page.goto(page_url)
        async with asyncio.timeout(SECONDS):
            await done.wait()
    assert_conversed(facts)
    assert of(facts, "connected")[0]["call"].startswith("call_")
    kinds = [fact["type"] for fact in of(facts, "event")]
    assert kinds.index("output_audio_buffer.started") > kinds.index("response.content_part.added")
    assert kinds.index("output_audio_buffer.stopped") > kinds.index("response.done")
    assert "output_audio_buffer.cleared" in kinds
