"""Simulations over REST: started, followed, cancelled, deleted, on a real server with scripted
engines, whose calls are made by the real process."""

import asyncio
import io
import json
import re
import wave
from collections.abc import Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import aiohttp
import numpy as np
import pytest

from gateway.platform import SIMULATIONS
from pipelines.engines.base import ChatMessage
from store.tenants.accounts import LOCAL_WORKSPACE
from store.tenants.agents import Agents, NewAgent
from store.tenants.calls import Calls
from store.tenants.simulations import Simulations
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

    async def refused(self, reason: str) -> float:
        """How many calls were refused for that reason."""
        async with self.http.get(f"{self.server.url}/metrics") as answer:
            found = re.search(
                rf'blab_calls_refused_total{{reason="{reason}"}} (\S+)', await answer.text()
            )
        return float(found[1]) if found else 0.0

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


async def test_what_is_wrong_is_said_with_its_place(room: Room) -> None:
    wrong = SCENARIOS.replace("answered_within_ms", "answer_within")
    body = {"agentId": room.agent_id, "source": wrong, "recordings": {"word.wav": "none"}}
    for path in (PATH, f"{PATH}/check"):
        status, error = await room.ask("POST", path, body)
        assert (status, error["details"]["reason"]) == (400, "bad_scenarios")
        assert error["details"]["path"] == "scenario[0].line[0].expect.answer_within"
        assert "scenario 1 ('answers'), line 1" in error["message"]
    status, error = await room.ask("POST", PATH, body | {"source": SCENARIOS})
    assert (status, error["details"]["path"]) == (400, "recordings.word.wav")
    status, error = await room.ask("POST", PATH, {"agentId": room.agent_id})
    assert (status, error["details"]["path"]) == (400, "source")
    status, checked = await room.ask("POST", f"{PATH}/check", {"scenarios": WRITTEN})
    assert (status, checked) == (200, {"scenarios": WRITTEN, "calls": 1})


WRITTEN = {"scenario": [{"name": "written", "line": [{"say": "Hello there."}]}]}


def body_of(room: Room, **more: Any) -> dict[str, Any]:
    return {"agentId": room.agent_id, "scenarios": WRITTEN, **more}


async def test_bounds_and_agents_that_are_not_there(room: Room) -> None:
    many = {"scenario": [{"name": f"n{n}", "line": [{"say": "x."}]} for n in range(51)]}
    status, error = await room.ask("POST", PATH, body_of(room, scenarios=many))
    assert (status, error["details"]["path"]) == (400, "scenarios")
    half = {"scenario": many["scenario"][:25]}
    status, error = await room.ask("POST", PATH, body_of(room, scenarios=half, repeat=5))
    assert (status, error["details"]["path"]) == (400, "repeat")
    status, _ = await room.ask("POST", PATH, body_of(room, atOnce=100))
    assert status == 400
    status, error = await room.ask("POST", PATH, body_of(room, agentVersion=7))
    assert (status, error["details"]["path"]) == (404, "agentVersion")
    status, error = await room.ask("POST", PATH, body_of(room, agentId="agt_none"))
    assert (status, error["details"]["path"]) == (404, "agentId")
    status, error = await room.upload(b"this is no audio")
    assert (status, error["details"]["reason"]) == (400, "unreadable_media")


async def test_only_so_many_at_a_time_and_only_what_has_ended_is_deleted(room: Room) -> None:
    await room.server.app[SIMULATIONS].stop()  # they stay in the queue
    ids = []
    for _ in range(3):
        status, made = await room.ask("POST", PATH, body_of(room))
        assert status == 200
        ids.append(made["id"])
    status, error = await room.ask("POST", PATH, body_of(room))
    assert (status, error["details"]["reason"]) == (409, "too_many_simulations")
    status, error = await room.ask("DELETE", f"{PATH}/{ids[0]}")
    assert (status, error["details"]["reason"]) == (409, "simulation_active")
    status, cancelled = await room.ask("POST", f"{PATH}/{ids[0]}/cancel")
    assert (status, cancelled["status"]) == (200, "cancelled")
    events = await room.events(ids[0])
    assert [name for name, _ in events] == ["cancelled"]
    assert events[0][1]["results"][0]["status"] == "not_made"
    status, _ = await room.ask("DELETE", f"{PATH}/{ids[0]}")
    assert status == 200
    assert (await room.ask("GET", f"{PATH}/{ids[0]}"))[0] == 404


async def test_a_running_one_is_cancelled_and_its_call_is_hung_up(room: Room) -> None:
    room.server.engines.chat_model.answer = lambda _: "a long answer " * 400
    _, made = await room.ask("POST", PATH, body_of(room))
    async with asyncio.timeout(30):
        while not room.server.app_calls():
            await asyncio.sleep(0.05)
    status, _ = await room.ask("POST", f"{PATH}/{made['id']}/cancel")
    assert status == 200
    events = await room.events(made["id"])
    assert events[-1][0] == "cancelled"
    await room.server.empty(10)
    status, error = await room.ask("POST", f"{PATH}/{made['id']}/cancel")
    assert status == 200  # it is so already
    assert error["status"] == "cancelled"


async def test_a_process_that_dies_is_followed_by_another(room: Room) -> None:
    runner = room.server.app[SIMULATIONS]
    await runner.stop()
    _, made = await room.ask("POST", PATH, body_of(room, repeat=2))
    simulations = Simulations(room.server.database)
    dead = await simulations.claim(timedelta(seconds=0.2))
    assert dead is not None
    await simulations.call_began(dead, 0, "call_lost")
    async with asynccontextmanager(runner.context)(room.server.app):
        events = await room.events(made["id"])
    assert events[-1][0] == "completed"
    assert events[-1][1]["summary"]["calls"] == 2
    assert {call["status"] for call in events[-1][1]["results"]} == {"passed"}


async def test_a_server_that_stops_gives_its_simulation_back(room: Room) -> None:
    room.server.engines.chat_model.answer = lambda _: "a long answer " * 400
    runner = room.server.app[SIMULATIONS]
    _, made = await room.ask("POST", PATH, body_of(room))
    async with asyncio.timeout(30):
        while not room.server.app_calls():
            await asyncio.sleep(0.05)
    await runner.stop()
    _, waiting = await room.ask("GET", f"{PATH}/{made['id']}")
    assert waiting["status"] == "queued"
    assert waiting["results"][0]["status"] == "waiting"
    await room.server.empty(10)


async def test_callers_wait_for_lines_that_nobody_else_needs(room: Room) -> None:
    room.server.set_capacity(2)
    async with room.server.client() as caller:
        await caller.wait_for("session.created")
        _, made = await room.ask("POST", PATH, body_of(room))
        refused = room.server.host.full_for(LOCAL_WORKSPACE)
        assert refused is None  # a real caller would be answered
        async with asyncio.timeout(30):
            while await room.refused("spared") < 1:
                await asyncio.sleep(0.05)
    events = await room.events(made["id"])
    assert events[-1][0] == "completed"
    assert events[-1][1]["passed"] is True


async def test_another_workspace_sees_nothing_of_it(room: Room) -> None:
    await room.server.app[SIMULATIONS].stop()
    _, made = await room.ask("POST", PATH, body_of(room))
    _, recording = await room.upload(word_wav())
    theirs = await room.server.foreign_workspace()
    key = await room.server.new_key(theirs, scopes=("agents:read", "agents:write"))
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as http:
        stranger = Room(room.server, http)
        one = f"{PATH}/{made['id']}"
        assert (await stranger.ask("GET", PATH))[1] == []
        for method, path in [("GET", one), ("DELETE", one), ("POST", f"{one}/cancel")]:
            assert (await stranger.ask(method, path))[0] == 404
        async with http.get(f"{room.server.url}{one}/events") as answer:
            assert answer.status == 404
        assert (await stranger.ask("POST", PATH, body_of(room)))[0] == 404
        own = await Agents(room.server.database).create(theirs, NewAgent("Bob"))
        given = {"source": SCENARIOS, "recordings": {"word.wav": recording["storageKey"]}}
        status, error = await stranger.ask("POST", PATH, {"agentId": own.id, **given})
        assert (status, error["details"]["path"]) == (400, "recordings.word.wav")


async def test_a_key_that_may_only_read_starts_nothing(room: Room) -> None:
    key = await room.server.new_key(scopes=("agents:read",))
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as http:
        reader = Room(room.server, http)
        assert (await reader.ask("GET", PATH))[0] == 200
        assert (await reader.ask("POST", PATH, body_of(room)))[0] == 403
        assert (await reader.upload(word_wav()))[0] == 403
