"""Requests that travel through a real Valkey to the node of the call."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
import pytest

from sessions.client_messages import Answer
from sessions.fanout import Fanout
from sessions.following import Following
from sessions.host import SessionHost
from sessions.remote import (
    CALL_GONE,
    HANG_UP_REASON,
    WAITING,
    ClientEvent,
    Describe,
    EndCall,
    NoAnswer,
    Refusal,
    RemoteRequest,
    RemoteRequests,
    TooManyRequests,
    Transfer,
)
from store.bus import Bus
from store.errors import BusUnavailable

NODE = "node_1"


@dataclass
class FakeCall:
    messages: list[Mapping[str, Any]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def inject(self, message: Mapping[str, Any], answer: Answer | None = None) -> None:
        assert answer is not None
        self.messages.append(message)
        if message["type"] == "bad":
            error = {"type": "invalid_request_error", "code": "bad", "message": "No.", "param": "x"}
            answer([{"type": "error", "error": error}])
        self.changed.set()

    def describe(self, answer: Answer) -> None:
        answer([{"type": "session.created"}])

    def hang_up(self, reason: str) -> None:
        self.ended.append(reason)
        self.changed.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.messages) + len(self.ended) < count:
                self.changed.clear()
                await self.changed.wait()


@dataclass
class FakeHost:
    calls: dict[str, FakeCall]
    node_id: str = NODE

    def find(self, call_id: str) -> FakeCall | None:
        return self.calls.get(call_id)

    def call_ids(self) -> tuple[str, ...]:
        return tuple(self.calls)


async def transfer(_call_id: str, order: Transfer) -> Refusal | None:
    if order.agent_id == "agt_known":
        return None
    return Refusal("agent_not_found", "There is no such agent.", "agentId")


@dataclass
class Node:
    calls: dict[str, FakeCall]
    requests: RemoteRequests
    fanout: Fanout
    following: Following

    async def seen_by(self, name: str, count: int) -> list[tuple[int, Any]]:
        """Number and content of the first ``count`` events of a call, or all until its end."""
        seen: list[tuple[int, Any]] = []
        with self.following.follow("call_1", name=name) as follower:
            while len(seen) < count and (batch := await follower.next()) is not None:
                seen += [(one.number, msgspec.json.decode(one.data)) for one in batch.events]
        return seen


@pytest.fixture
async def node(redis: Bus) -> AsyncIterator[Node]:
    calls = {"call_1": FakeCall(), "call_2": FakeCall()}
    fanout = Fanout(redis)
    fanout.start()
    requests = RemoteRequests(redis, fanout, cast(SessionHost, FakeHost(calls)), transfer)
    following = Following(redis)
    following.start()
    yield Node(calls, requests, fanout, following)
    await following.stop()
    await requests.stop()
    await fanout.stop()


def numbered(number: int) -> RemoteRequest:
    return RemoteRequest("side_1", ClientEvent({"type": "x", "n": number}))


async def test_requests_arrive_in_their_order_at_their_call(node: Node, redis: Bus) -> None:
    node.requests.start()
    for number in range(3 * WAITING):
        while not await node.requests.send(NODE, "call_1", numbered(number)):
            pass
    await node.requests.send(NODE, "call_2", RemoteRequest("side_1", EndCall()))
    await node.calls["call_1"].until(3 * WAITING)
    await node.calls["call_2"].until(1)
    assert [message["n"] for message in node.calls["call_1"].messages] == list(range(3 * WAITING))
    assert node.calls["call_2"].ended == [HANG_UP_REASON]


async def test_a_flood_is_refused_and_the_neighbours_requests_are_not(node: Node) -> None:
    sent = [await node.requests.send(NODE, "call_1", numbered(n)) for n in range(WAITING + 2)]
    assert sent == [True] * WAITING + [False] * 2
    assert await node.requests.send(NODE, "call_2", numbered(1))
    node.requests.start()
    await node.calls["call_1"].until(WAITING)
    await node.calls["call_2"].until(1)


async def test_a_request_for_an_ended_call_is_dropped(node: Node) -> None:
    node.requests.start()
    assert await node.requests.send(NODE, "call_gone", numbered(1))
    assert await node.requests.send(NODE, "call_1", numbered(2))
    await node.calls["call_1"].until(1)


async def test_a_broken_request_affects_only_itself(
    node: Node, redis: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    box, bell = "call:call_1:commands", f"node:{NODE}:bell"
    await redis.post(box, b"{}", bell=bell, name="call_1", keep=9, ttl=9)
    await node.requests.send(NODE, "call_1", RemoteRequest("side_1", ClientEvent({"n": "no type"})))
    await node.requests.send(NODE, "call_1", numbered(3))
    node.requests.start()
    await node.calls["call_1"].until(2)
    assert node.calls["call_1"].messages[-1]["n"] == 3
    assert len(caplog.records) == 2


async def test_a_refusal_is_published_to_its_sender_alone(node: Node) -> None:
    node.requests.start()
    await node.requests.send(NODE, "call_1", RemoteRequest("side_1", ClientEvent({"type": "bad"})))
    await node.calls["call_1"].until(1)
    node.fanout.end("call_1")
    [(number, event)] = await node.seen_by("side_1", 2)
    assert (number, event["type"], event["error"]["code"]) == (1, "error", "bad")
    assert await node.seen_by("side_2", 2) == []


async def test_a_late_observer_gets_the_session(node: Node) -> None:
    node.requests.start()
    await node.requests.send(NODE, "call_1", RemoteRequest("side_1", Describe()))
    assert await node.seen_by("side_1", 1) == [(1, {"type": "session.created"})]
    assert not node.calls["call_1"].ended


async def test_requests_queued_during_an_outage_are_executed(
    node: Node, redis: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bell may have rung unheard: after an outage every mailbox is checked."""
    assert await node.requests.send(NODE, "call_1", numbered(1))
    assert await redis.rung(f"node:{NODE}:bell") == "call_1"
    ring, failed = redis.rung, asyncio.Event()

    async def rung(bell: str, *, wait: float = 0.5) -> str | None:
        if not failed.is_set():
            failed.set()
            raise BusUnavailable("gone")
        return await ring(bell, wait=wait)

    monkeypatch.setattr(redis, "rung", rung)
    node.requests.start()
    await node.calls["call_1"].until(1)


@pytest.fixture
async def elsewhere(redis: Bus) -> AsyncIterator[RemoteRequests]:
    """Another node, without calls."""
    host = cast(SessionHost, FakeHost({}, node_id="node_2"))
    requests = RemoteRequests(redis, Fanout(redis), host, transfer)
    requests.start()
    yield requests
    await requests.stop()


async def test_a_call_answers_whether_it_accepts(node: Node, elsewhere: RemoteRequests) -> None:
    node.requests.start()
    for requests in (elsewhere, node.requests):

        async def ask(order: Any, call_id: str = "call_1", by: RemoteRequests = requests) -> Any:
            return await by.ask(NODE, call_id, order)

        assert await ask(ClientEvent({"type": "x"})) is None
        assert await ask(ClientEvent({"type": "bad"})) == Refusal("bad", "No.", "x")
        assert await ask(Transfer("ws_1", "agt_known")) is None
        refusal = await ask(Transfer("ws_1", "agt_unknown"))
        assert (refusal.code, refusal.param) == ("agent_not_found", "agentId")
        assert await ask(EndCall()) is None
        assert await ask(EndCall(), "call_gone") == CALL_GONE
    assert node.calls["call_1"].ended == [HANG_UP_REASON] * 2
    assert elsewhere._asked == node.requests._asked == {}


async def test_answers_of_many_askers_go_to_the_right_ones(
    node: Node, elsewhere: RemoteRequests
) -> None:
    node.requests.start()
    kinds = ["bad" if n % 3 else "x" for n in range(WAITING)]
    orders = [ClientEvent({"type": kind}) for kind in kinds]
    answers = await asyncio.gather(*(elsewhere.ask(NODE, "call_2", order) for order in orders))
    assert [answer is None for answer in answers] == [kind == "x" for kind in kinds]


async def test_a_node_that_does_not_answer(node: Node, elsewhere: RemoteRequests) -> None:
    with pytest.raises(NoAnswer):
        await elsewhere.ask(NODE, "call_1", EndCall(), within=0.02)
    for _ in range(WAITING - 1):
        assert await elsewhere.send(NODE, "call_1", numbered(1))
    with pytest.raises(TooManyRequests):
        await elsewhere.ask(NODE, "call_1", EndCall())
    assert elsewhere._asked == {}


async def test_a_transfer_that_is_refused_is_an_error_event_for_a_sideband(node: Node) -> None:
    node.requests.start()
    order = Transfer("ws_1", "agt_unknown")
    await node.requests.send(NODE, "call_1", RemoteRequest("side_1", order))
    [(_, event)] = await node.seen_by("side_1", 1)
    assert (event["type"], event["error"]["code"]) == ("error", "agent_not_found")
