"""A call over WebSocket is recorded, and everything that was recorded of it lies where the timeline
says: the caller's words, the agent's, the consent text before them, the cut where it was
interrupted."""

import asyncio
import contextlib
import io
import json
import zipfile
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import av
import numpy as np
import pytest

from gateway.services import ServiceUrls
from media.formats import HEARING_RATE
from pipelines.jobs.cleanup import Cleanup
from pipelines.jobs.erasure import Eraser
from sessions.event_log import replay
from sessions.fanout import forget
from store.database import Database
from store.objects import ObjectStore
from tests.support.gateway.realtime_client import RealtimeClient
from tests.support.gateway.scripted_server import (
    HEARD,
    RATE,
    ScriptedServer,
    running_node,
    server,
)
from tests.support.pipelines.job_support import working

__all__ = ["server"]

pytestmark = pytest.mark.slow
CONSENT = "This call is recorded 500."
LONG = "Answer 900 one two three four five six seven eight nine ten eleven twelve thirteen."
SCOPES = ("agents:read", "agents:write")
SECONDS = 20.0
NEAR_MS = 40


@contextlib.asynccontextmanager
async def rest(server: ScriptedServer, workspace_id: str | None = None) -> AsyncIterator[Any]:
    """Asks the server; gives status, and the body: the envelope's data or error, or bytes."""
    whose = {} if workspace_id is None else {"workspace_id": workspace_id}
    key = await server.new_key(scopes=SCOPES, **whose)
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(server.url, headers=headers) as http:

        async def asked(method: str, path: str, **sent: Any) -> tuple[int, Any]:
            async with http.request(method, path, **sent) as answer:
                if answer.content_type != "application/json":
                    return answer.status, await answer.read()
                body = await answer.json()
                return answer.status, body.get("data", body.get("error", body))

        yield asked


async def new_agent(asked: Any, **recording: Any) -> str:
    wanted = {"name": "R", "systemPrompt": "talk 900", "recording": {"enabled": True, **recording}}
    status, agent = await asked("POST", "/api/agents", json=wanted)
    assert status == 200, agent
    return str(agent["id"])


async def settled(asked: Any, call_id: str) -> dict[str, Any]:
    """The call, once nothing more happens to its recording."""
    async with asyncio.timeout(SECONDS):
        while True:
            status, call = await asked("GET", f"/api/calls/{call_id}")
            if status == 200 and call["status"] == "ended" and call["recording"] is None:
                return dict(call)
            if status == 200 and (call["recording"] or {}).get("state") == "complete":
                return dict(call)
            await asyncio.sleep(0.02)


def chirp(seconds: float, rate: int) -> np.ndarray:
    """A sound that is like itself at one place only, and loud enough to be speech."""
    time = np.arange(int(seconds * rate)) / rate
    return 12_000 * np.sin(2 * np.pi * (300 * time + 500 * time**2 / seconds))


async def say(caller: RealtimeClient, samples: np.ndarray) -> None:
    """Speak, and be silent for a second, in real time."""
    pcm = samples.astype("<i2").tobytes() + bytes(2 * RATE)
    loop = asyncio.get_running_loop()
    due = loop.time()
    for start in range(0, len(pcm), 960):
        await caller.send_audio(pcm[start : start + 960])
        due += 0.02
        await asyncio.sleep(max(0.0, due - loop.time()))


async def listen(caller: RealtimeClient) -> None:
    """Be silent until cancelled, in real time."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        await caller.send_audio(bytes(960))
        due += 0.02
        await asyncio.sleep(max(0.0, due - loop.time()))


@contextlib.asynccontextmanager
async def listening(caller: RealtimeClient) -> AsyncIterator[None]:
    task = asyncio.create_task(listen(caller))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def decoded(content: bytes) -> np.ndarray:
    """A track's samples at HEARING_RATE."""
    resampler = av.AudioResampler("s16", "mono", HEARING_RATE)
    with av.open(io.BytesIO(content)) as opened:
        frames = [made for frame in opened.decode(audio=0) for made in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(float)


def place_of(sound: np.ndarray, track: np.ndarray) -> float:
    """Where ``sound`` begins in ``track``, in ms, by cross-correlation."""
    size = len(sound) + len(track)
    spectrum = np.fft.rfft(track, size) * np.conj(np.fft.rfft(sound, size))
    return float(np.argmax(np.fft.irfft(spectrum, size)[: len(track)]) * 1000 / HEARING_RATE)


def loud_spans(track: np.ndarray) -> list[tuple[float, float]]:
    """Where something is heard, in ms; what is less than 120 ms apart is one span."""
    window = HEARING_RATE // 100
    whole = track[: len(track) // window * window].reshape(-1, window)
    loud = np.flatnonzero(np.sqrt((whole**2).mean(axis=1)) > 300)
    groups = np.split(loud, np.flatnonzero(np.diff(loud) > 12) + 1) if len(loud) else []
    return [(float(group[0] * 10), float(group[-1] * 10 + 10)) for group in groups]


def frequency(track: np.ndarray, begins: float, ends: float) -> float:
    part = track[int(begins * 16) : int(ends * 16)]
    return float(np.argmax(np.abs(np.fft.rfft(part))) * HEARING_RATE / len(part))


@pytest.mark.alone
async def test_both_voices_lie_where_the_timeline_says(server: ScriptedServer) -> None:
    server.engines.chat_model.answer = lambda _: LONG
    sound = chirp(0.8, RATE)
    async with rest(server) as asked:
        agent = await new_agent(asked, consent=CONSENT, retentionDays=30)
        async with server.client(binary=True, query=f"agent_id={agent}") as caller:
            await caller.wait_for("session.created")
            async with listening(caller):
                await caller.send({"type": "response.cancel"})  # it cannot be skipped
                first = await caller.wait_for("response.done")
                assert caller.of("error")[0]["error"]["code"] == "consent_in_progress"
                assert first["response"]["status"] == "completed"
            await say(caller, sound)
            async with listening(caller):
                await caller.wait_for("response.output_audio_transcript.delta", count=2)
            await say(caller, sound)  # over the reply
            async with listening(caller):
                await caller.wait_for("response.done", count=3, seconds=SECONDS)
        _, listed = await asked("GET", "/api/calls")
        call_id = listed[0]["id"]
        call = await settled(asked, call_id)
        (part,) = call["parts"]
        status, timeline = await asked("GET", f"/api/calls/{call_id}/timeline")
        assert status == 200, timeline
        tracks = []
        for name in ("callerUrl", "agentUrl"):
            status, content = await asked("GET", part[name])
            assert (status, content[:4]) == (200, b"OggS")
            tracks.append(decoded(content))
    caller_track, agent_track = tracks
    assert call["recording"] == {
        "state": "complete", "consent": True, "expiresAt": call["recording"]["expiresAt"],
    }  # fmt: skip
    for track in tracks:
        assert len(track) / 16 == pytest.approx(part["durationMs"], abs=30)
    # the caller
    spans = timeline["callerSpeech"]
    assert [turn["outcome"] for turn in timeline["turns"]] == ["turn", "turn"]
    wanted = chirp(0.8, HEARING_RATE)
    half = int((spans[0]["toMs"] + spans[1]["fromMs"]) / 2) * 16
    places = [place_of(wanted, caller_track[:half]), place_of(wanted, caller_track[half:])]
    assert places[0] == pytest.approx(spans[0]["fromMs"], abs=NEAR_MS)
    assert places[1] + half / 16 == pytest.approx(spans[1]["fromMs"], abs=NEAR_MS)
    # the agent: the consent first, then the reply that was cut, then another
    heard = timeline["agentSpeech"]
    found = loud_spans(agent_track)
    replies = timeline["replies"]
    assert [reply["status"] for reply in replies] == ["completed", "cancelled", "completed"]
    assert (replies[0]["text"], replies[0]["heard"]) == (CONSENT, CONSENT)
    assert heard[0]["replyId"] == replies[0]["replyId"]
    assert heard[0]["toMs"] < spans[0]["fromMs"] + NEAR_MS
    for span in heard:
        begins, ends = min(found, key=lambda one: abs(one[0] - span["fromMs"]))
        assert begins == pytest.approx(span["fromMs"], abs=NEAR_MS)
        assert ends == pytest.approx(span["toMs"], abs=NEAR_MS)
    assert len(found) == len(heard)
    tones = {reply["replyId"]: 900 for reply in replies} | {replies[0]["replyId"]: 500}
    for span in heard:
        hertz = frequency(agent_track, span["fromMs"] + 40, span["toMs"] - 40)
        assert hertz == pytest.approx(tones[span["replyId"]], rel=0.03)
    cut = replies[1]
    assert cut["heard"] != cut["text"]
    assert cut["text"].startswith(cut["heard"])
    assert "interruption" in [mark["kind"] for mark in timeline["marks"]]
    assert call["turns"][0]["heardText"] == CONSENT


async def test_everything_of_a_call_can_be_exported_and_is_erased(
    server: ScriptedServer, tmp_path: Path
) -> None:
    foreign = await server.foreign_workspace()
    async with rest(server) as asked, rest(server, foreign) as stranger:
        agent = await new_agent(asked)
        async with server.client(binary=True, query=f"agent_id={agent}") as caller:
            await caller.wait_for("session.created")
            await say(caller, chirp(0.6, RATE))
            async with listening(caller):
                await caller.wait_for("response.done")
        _, listed = await asked("GET", "/api/calls?q=secr")
        (call_id,) = [call["id"] for call in listed]
        call = await settled(asked, call_id)
        assert call["excerpt"] == f"{HEARD} / Answer 900."
        for path in ("", "/timeline", "/events", "/export"):
            status, _ = await stranger("GET", f"/api/calls/{call_id}{path}")
            assert status == 404
        assert await stranger("GET", "/api/calls") == (200, [])
        # a part of a track
        url = call["parts"][0]["callerUrl"]
        status, part = await asked("GET", url, headers={"Range": "bytes=0-3"})
        assert (status, part) == (206, b"OggS")
        # the event log is the one that blab replay reads
        status, events = await asked("GET", f"/api/calls/{call_id}/events")
        assert status == 200
        (tmp_path / "log").write_bytes(events)
        replayed = replay(tmp_path / "log")
        assert (replayed.complete, replayed.mismatches) == (True, ())
        # the whole of it
        status, content = await asked("GET", f"/api/calls/{call_id}/export")
        assert status == 200
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert archive.testzip() is None
            assert sorted(archive.namelist()) == [
                "part1-agent.opus", "part1-caller.opus", "part1-events.jsonl", "timeline.json",
                "transcript.json", "transcript.txt",
            ]  # fmt: skip
            assert archive.read("part1-events.jsonl") == events
            assert HEARD in archive.read("transcript.txt").decode()
            assert json.loads(archive.read("transcript.json"))["id"] == call_id
            assert json.loads(archive.read("timeline.json"))["turns"][0]["text"] == HEARD
        assert list((tmp_path / "recordings").iterdir()) == []
        files = list((tmp_path / "objects").rglob(f"{call_id}/*"))
        assert len(files) == 3


@pytest.mark.parametrize("enabled", [True, False], ids=["before its consent", "unrecorded"])
async def test_what_may_not_be_recorded_is_not_kept(server: ScriptedServer, enabled: bool) -> None:
    async with rest(server) as asked:
        agent = await new_agent(asked, enabled=enabled, consent=CONSENT)
        async with server.client(binary=True, query=f"agent_id={agent}") as caller:
            await caller.wait_for("session.created")
            if enabled:
                await caller.wait_for("response.created")
        async with asyncio.timeout(SECONDS):
            while not (listed := (await asked("GET", "/api/calls"))[1]) or (
                listed[0]["status"] == "live"
            ):
                await asyncio.sleep(0.02)
        call = await settled(asked, listed[0]["id"])
        assert (call["recording"], call["parts"]) == (None, [])
        status, error = await asked("GET", f"/api/calls/{call['id']}/timeline")
        assert (status, error["details"]["reason"]) == (404, "no_recording")


async def test_a_call_that_moves_to_another_node_has_two_parts_on_one_axis(
    database: Database, own_database_url: str, redis_url: str, tmp_path: Path
) -> None:
    urls, shared = ServiceUrls(own_database_url, redis_url), f"file://{tmp_path}/shared"
    wants = {"type": "realtime", "blab": {"events": ["resumption"]}}
    async with (
        running_node(database, urls, tmp_path / "one", objects_url=shared) as one,
        running_node(database, urls, tmp_path / "two", objects_url=shared) as two,
        rest(one) as asked,
    ):
        agent = await new_agent(asked, retentionDays=1)
        async with one.client(query=f"agent_id={agent}", checked=False) as caller:
            await caller.send({"type": "session.update", "session": wants})
            handle = (await caller.wait_for("blab.session.resumption"))["handle"]
            await say(caller, chirp(0.6, RATE))
            async with listening(caller):
                await caller.wait_for("response.done")
            caller.connection.transport.abort()
            await caller.wait_closed()
        async with two.client(query=f"resume={handle}", checked=False, key=one.key) as caller:
            await caller.wait_for("session.created")
            await say(caller, chirp(0.6, RATE))
            async with listening(caller):
                await caller.wait_for("response.done")
        _, listed = await asked("GET", "/api/calls")
        (call_id,) = [call["id"] for call in listed]
        call = await settled(asked, call_id)
        first, second = call["parts"]
        assert second["number"] > first["number"]
        assert first["beginsMs"] == 0
        assert second["beginsMs"] > first["durationMs"] // 2  # node one may notice late
        assert call["recording"]["state"] == "complete"
        _, timeline = await asked("GET", f"/api/calls/{call_id}/timeline")
        turns = [turn for turn in timeline["turns"] if turn["outcome"] == "turn"]
        assert [turn["text"] for turn in turns] == [HEARD, HEARD]
        assert turns[1]["fromMs"] >= second["beginsMs"]
        assert "resumed" in [mark["kind"] for mark in timeline["marks"]]
        for part, turn in zip((first, second), turns, strict=True):
            _, content = await asked("GET", part["callerUrl"])
            place = part["beginsMs"] + place_of(chirp(0.6, HEARING_RATE), decoded(content))
            assert place == pytest.approx(turn["fromMs"], abs=NEAR_MS)


async def test_an_erasure_deletes_what_was_recorded(server: ScriptedServer, tmp_path: Path) -> None:
    objects = ObjectStore.open(f"file://{tmp_path}/objects")
    eraser = Eraser(server.database, objects, partial(forget, server.bus))
    kind: Any = Cleanup(server.database, objects, eraser)
    async with rest(server) as asked, working(server.database, kind):
        agent = await new_agent(asked)
        async with server.client(binary=True, query=f"agent_id={agent}") as caller:
            await caller.wait_for("session.created")
            await say(caller, chirp(0.6, RATE))
        _, listed = await asked("GET", "/api/calls?recorded=true")
        (call_id,) = [call["id"] for call in listed]
        call = await settled(asked, call_id)
        assert len(list((tmp_path / "objects").rglob(f"{call_id}/*"))) == 3
        status, erasure = await asked("DELETE", f"/api/calls/{call_id}")
        assert status == 202
        async with asyncio.timeout(SECONDS):
            while erasure["status"] != "completed":
                await asyncio.sleep(0.02)
                _, erasure = await asked("GET", f"/api/erasures/{erasure['id']}")
        assert erasure["erased"]["recordings"] == 3
        assert list((tmp_path / "objects").rglob(f"{call_id}*")) == []
        assert (await asked("GET", f"/api/calls/{call_id}"))[0] == 404
        assert (await asked("GET", call["parts"][0]["callerUrl"]))[0] == 404
        assert await server.database.fetchval("SELECT count(*) FROM recordings") == 0
