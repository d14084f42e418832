"""The host: what calls share, what each leaves behind, and how all of them end."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.channels.wire.wire_format import RealtimeWireFormat
from pipelines.engines.scripted.live import ScriptedEngines, scripted_engines
from sessions import host as host_module
from sessions.admission import Admission, ServerFull
from sessions.core.commands import Command, RecordTurn
from sessions.core.events import CallStarted, Event, HangUp
from sessions.event_log import replay
from sessions.host import CallRequest, SessionHost
from sessions.live import INTERNAL_ERROR
from sessions.persistence import OpenedCall
from sessions.registry import CallState, RegisteredCall
from tests.support.sessions.fake_channel import FakeChannel
from tests.support.sessions.scripted_call import CONFIG, RATE, scripted_speech


class Shared:
    """Journal, fan-out and registry in memory, in the order of their notifications."""

    def __init__(self) -> None:
        self.log: list[tuple[str, str]] = []
        self.turns: list[RecordTurn] = []
        self.reasons: dict[str, str] = {}

    def opened(self, call: OpenedCall) -> None:
        self.log.append(("opened", call.call_id))

    def record(self, workspace_id: str, call_id: str, turn: RecordTurn) -> None:
        assert workspace_id == "ws_1"
        self.turns.append(turn)

    def closed(self, workspace_id: str, call_id: str, reason: str) -> None:
        self.log.append(("closed", call_id))
        self.reasons[call_id] = reason

    def publish(self, call_id: str, event: dict[str, Any]) -> None:
        self.log.append(("published", call_id))

    def end(self, call_id: str) -> None:
        self.log.append(("ended", call_id))

    def register(
        self, call: RegisteredCall, describe: Callable[[], CallState], *, adopted: bool
    ) -> None:
        self.log.append(("registered", call.call_id))
        self.describe = describe

    def touch(self, call_id: str) -> None:
        pass

    def unregister(self, call_id: str) -> None:
        self.log.append(("unregistered", call_id))


class Follower:
    """Follows one call."""

    def __init__(self, node: "Node", request: CallRequest, channel: str) -> None:
        self.node, self.channel = node, channel

    def stepped(self, event: Event, now: float, commands: list[Command]) -> None:
        self.node.steps.append(event)

    def ended(self, reason: str) -> None:
        self.node.ended.append((self.channel, reason))


class Node:
    """A SessionHost and its calls."""

    def __init__(self, engines: ScriptedEngines | None = None, to: Path | None = None) -> None:
        self.shared = Shared()
        shared: Any = self.shared
        self.admission = Admission(10)
        self.ended: list[tuple[str, str]] = []
        self.steps: list[Event] = []
        self.host = SessionHost(
            engines or scripted_engines(answers=("Fine.",)),
            self.admission,
            shared,
            shared,
            shared,
            record_to=to,
            observe=[partial(Follower, self)],
        )
        self.tasks: list[asyncio.Task[str]] = []

    async def call(self, call_id: str = "call_1") -> tuple[FakeChannel, asyncio.Task[str]]:
        channel = FakeChannel(RATE)
        request = CallRequest(call_id, "ws_1", None, CONFIG)
        work = self.host.run(request, channel, RealtimeWireFormat(call_id))
        task = asyncio.create_task(work)
        self.tasks.append(task)
        async with asyncio.timeout(5):
            while not channel.events:
                await asyncio.sleep(0)
        return channel, task


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    made = Node()
    yield made
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)
    assert made.host.active == 0


async def test_every_observer_sees_the_whole_call(node: Node) -> None:
    channel, task = await node.call()
    assert node.host.active == 1
    assert node.host.find("call_1") is not None
    await channel.inbox.put(scripted_speech(0.6))
    await channel.inbox.put(bytes(2 * RATE))
    async with asyncio.timeout(5):
        while not node.shared.turns:
            await asyncio.sleep(0.01)
    await channel.inbox.put(None)
    assert await asyncio.wait_for(task, 5) == "peer_gone"
    log = [what for what, _ in node.shared.log]
    assert log[:3] == ["registered", "opened", "published"]
    assert log[-3:] == ["unregistered", "closed", "ended"]
    assert node.shared.reasons == {"call_1": "peer_gone"}
    assert [turn.reply_text for turn in node.shared.turns] == ["Fine."]
    assert channel.closed == "peer_gone"
    assert (node.host.active, node.host.find("call_1")) == (0, None)
    assert node.ended == [("fake", "peer_gone")]
    assert isinstance(node.steps[0], CallStarted)
    assert isinstance(node.steps[-1], HangUp)


async def test_a_fault_ends_that_call_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    engines = scripted_engines()
    engines.chat_model.answer = lambda _: str(1 // 0)
    node = Node(engines)
    neighbour, other = await node.call("call_2")
    channel, task = await node.call()
    await channel.inbox.put(scripted_speech(0.6))
    await channel.inbox.put(bytes(2 * RATE))
    assert await asyncio.wait_for(task, 5) == INTERNAL_ERROR
    assert channel.closed == INTERNAL_ERROR
    assert node.shared.reasons == {"call_1": INTERNAL_ERROR}
    assert len([r for r in caplog.records if r.levelno >= logging.ERROR]) == 1
    assert not any("hello there" in record.getMessage() for record in caplog.records)
    assert not other.done()
    await neighbour.inbox.put(None)
    assert await asyncio.wait_for(other, 5) == "peer_gone"


async def test_a_call_that_cannot_even_begin_is_closed(node: Node) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    node.host._engines.vad_model.initial_state = broken  # type: ignore[assignment]
    channel = FakeChannel(RATE)
    request = CallRequest("call_1", "ws_1", None, CONFIG)
    assert await node.host.run(request, channel, RealtimeWireFormat("call_1")) == INTERNAL_ERROR
    assert channel.closed == INTERNAL_ERROR
    assert node.host.active == 0


async def test_a_channel_that_does_not_close_delays_nobody(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_module, "_GOODBYE_SECONDS", 0.05)
    channel, task = await node.call()
    channel.hangs = True
    await channel.inbox.put(None)
    assert await asyncio.wait_for(task, 2) == "peer_gone"


async def test_nobody_calls_some_time_after_the_last_call(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_module, "QUIET_SECONDS", 0.2)
    quiet = asyncio.create_task(node.host.quiet())
    channel, task = await node.call()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(quiet), 0.3)
    await channel.inbox.put(None)
    await asyncio.wait_for(task, 5)
    assert not quiet.done()
    await asyncio.wait_for(quiet, 5)


async def test_draining_waits_then_hangs_up(node: Node) -> None:
    first, one = await node.call("call_1")
    second, two = await node.call("call_2")
    draining = asyncio.create_task(node.host.drain(0.2))
    await asyncio.sleep(0)
    with pytest.raises(ServerFull, match="shutting down"):
        node.host.admit("ws_1")
    await first.inbox.put(None)
    assert await asyncio.wait_for(one, 2) == "peer_gone"
    assert not draining.done()
    await asyncio.wait_for(draining, 2)
    assert await asyncio.wait_for(two, 2) == "server_shutdown"
    assert second.closed == "server_shutdown"


async def test_calls_are_admitted_while_load_balancers_notice_the_end(node: Node) -> None:
    node.host._drain_grace = 0.05
    draining = asyncio.create_task(node.host.drain(5))
    await asyncio.sleep(0)
    assert node.admission.leaving
    node.host.admit("ws_1").release()
    await asyncio.wait_for(draining, 2)
    with pytest.raises(ServerFull):
        node.host.admit("ws_1")


async def test_draining_an_empty_host_takes_no_time(node: Node) -> None:
    await asyncio.wait_for(node.host.drain(60), 1)


async def test_a_cancelled_call_is_closed_all_the_same(node: Node) -> None:
    channel, task = await node.call()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert node.shared.reasons == {"call_1": "server_shutdown"}
    assert channel.closed == "server_shutdown"


async def test_a_recorded_call_replays_identically(tmp_path: Path) -> None:
    node = Node(to=tmp_path)
    channel, task = await node.call()
    await channel.inbox.put(scripted_speech(0.6))
    await channel.inbox.put(bytes(2 * RATE))
    async with asyncio.timeout(5):
        while not node.shared.turns:
            await asyncio.sleep(0.01)
    await channel.inbox.put(None)
    await asyncio.wait_for(task, 5)
    outcome = replay(tmp_path / "call_1.jsonl")
    assert outcome.complete
    assert len(outcome.events) > 20
    assert not outcome.mismatches
