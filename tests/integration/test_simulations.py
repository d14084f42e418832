"""Simulations over REST: started, followed, cancelled, deleted, on a real server with scripted
engines, whose calls are made by the real process."""

import asyncio
import io
import json
import wave
from collections.abc import Sequence
from typing import Any

import aiohttp
import numpy as np
import pytest

from gateway.platform import SIMULATIONS
from pipelines.engines.base import ChatMessage
from store.tenants.accounts import LOCAL_WORKSPACE
from store.tenants.agents import Agents, NewAgent
from store.tenants.calls import Calls
from tests.support.gateway.scripted_server import ScriptedServer, server

__all__ = ["server"]

pytestmark = pytest.mark.slow

PATH = "/api/simulations"
RATE = 24_000
SCENARIOS = """
[[scenario]]
name = "answers"
[[scenario.line]]
audio = "word.wav"
expect = {reply_contains = "new words", answered_within_ms = 10000}

[[scenario]]
name = "written"
[[scenario.line]]
say = "Hello there."
"""


def answer(messages: Sequence[ChatMessage]) -> str:
    return "These are the new words." if "be new" in messages[0].content else "Old ones."


def word_wav(milliseconds: int = 700) -> bytes:
    """A tone that the detector takes for speech, and quiet behind it."""
    count = RATE * milliseconds // 1000
    tone = 4000 * np.sin(np.arange(count) * (2 * np.pi * 440 / RATE))
    samples = np.concatenate([tone.astype("<i2"), np.zeros(RATE // 5, "<i2")])
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    return made.getvalue()


class Room:
    """What a page does."""

    def __init__(self, server: ScriptedServer, http: aiohttp.ClientSession) -> None:
        self.server = server
        self.http = http
        self.agent_id = ""

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status, and data or error."""
        async with self.http.request(method, f"{self.server.url}{path}", json=body) as answer:
            envelope = await answer.json()
            return answer.status, envelope["data"] if envelope["ok"] else envelope["error"]

    async def upload(self, data: bytes, name: str = "word.wav") -> tuple[int, Any]:
        form = aiohttp.FormData()
        form.add_field("file", data, filename=name, content_type="audio/wav")
        async with self.http.post(f"{self.server.url}{PATH}/recordings", data=form) as answer:
            envelope = await answer.json()
            return answer.status, envelope["data"] if envelope["ok"] else envelope["error"]

    async def start(self, **more: Any) -> Any:
        status, recording = await self.upload(word_wav())
        assert status == 200, recording
        given = {"source": SCENARIOS, "recordings": {"word.wav": recording["storageKey"]}}
        status, made = await self.ask("POST", PATH, {"agentId": self.agent_id, **given, **more})
        assert status == 200, made
        return made

    async def events(self, simulation_id: str, last: int | None = None) -> list[tuple[str, Any]]:
        """Those of the stream until it ends."""
        headers = {} if last is None else {"Last-Event-ID": str(last)}
        url = f"{self.server.url}{PATH}/{simulation_id}/events"
        found = []
        async with asyncio.timeout(60), self.http.get(url, headers=headers) as answer:
            assert answer.status == 200
            for block in (await answer.text()).split("\n\n"):
                fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
                if "data" in fields:
                    found.append((fields["event"], json.loads(fields["data"])))
        return found


@pytest.fixture
async def room(server: ScriptedServer) -> Any:
    server.app[SIMULATIONS].url = server.url
    server.engines.chat_model.answer = answer
    key = await server.new_key(scopes=("agents:read", "agents:write"))
    agents = Agents(server.database)
    agent = await agents.create(LOCAL_WORKSPACE, NewAgent("Ann", system_prompt="be old"))
    await agents.update(LOCAL_WORKSPACE, agent.id, {"system_prompt": "be new"})
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        made = Room(server, http)
        made.agent_id = agent.id
        yield made


async def test_a_simulation_from_its_start_to_its_report(room: Room) -> None:
    made = await room.start(atOnce=2)
    assert (made["status"], made["passed"], made["calls"]) == ("queued", None, 2)
    assert made["agentVersion"] == 2
    events = await room.events(made["id"])
    assert [name for name, _ in events[:-1]] == ["progress"] * (len(events) - 1)
    name, last = events[-1]
    assert name == "completed"
    assert [call["status"] for call in last["results"]] == ["passed", "passed"]
    _, shown = await room.ask("GET", f"{PATH}/{made['id']}")
    assert shown["passed"] is True
    assert shown["source"] == SCENARIOS
    assert shown["summary"]["callsPassed"] == 2
    first = shown["results"][0]
    line = first["lines"][0]
    assert line["reply"] == "These are the new words."
    assert line["ttfaMs"] > 0
    assert {check["name"].split()[0] for check in line["checks"]} == {
        "answered_within_ms",
        "reply_contains",
    }
    call = await Calls(room.server.database).get(LOCAL_WORKSPACE, first["callId"])
    assert call is not None
    assert call.agent_version == 2
    _, listed = await room.ask("GET", f"{PATH}?agentId={room.agent_id}")
    assert [one["id"] for one in listed] == [made["id"]]


async def test_the_version_before_answers_where_it_is_wanted(room: Room) -> None:
    made = await room.start(agentVersion=1)
    events = await room.events(made["id"])
    assert events[-1][0] == "completed"
    _, shown = await room.ask("GET", f"{PATH}/{made['id']}")
    assert shown["passed"] is False
    failed = [check for check in shown["results"][0]["lines"][0]["checks"] if not check["passed"]]
    assert failed == [
        {"name": "reply_contains 'new words'", "passed": False, "found": "'Old ones.'"}
    ]
