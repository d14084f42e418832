"""Telephone calls whose stream breaks off and comes back, on real Postgres and Valkey."""

import asyncio
from typing import cast

import pytest

from gateway.calls.carrier_lines import CarrierLines
from gateway.calls.takeovers import Takeovers
from media import g711
from pipelines.engines.scripted.live import tone
from sessions.resumption.stored_calls import StoredCalls, call_of
from store.errors import BusUnavailable
from store.ids import new_id
from store.tenants.accounts import LOCAL_WORKSPACE
from store.tenants.agents import Agents, NewAgent
from store.tenants.calls import Call, Calls, Turn, Turns
from tests.support.gateway.scripted_server import ScriptedServer, second_node, server
from tests.support.gateway.twilio_client import SILENCE, TwilioClient

__all__ = ["second_node", "server"]

RATE = 8_000
SPEECH = g711.encode_ulaw(tone(440, RATE // 2, RATE))
WORDS = (
    "One two three four five six seven eight nine ten, eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen twenty."
)
"""Takes five seconds to speak."""


async def new_agent(node: ScriptedServer) -> str:
    return (await Agents(node.database).create(LOCAL_WORKSPACE, NewAgent(name="Tone"))).id


def telephone(
    node: ScriptedServer, agent_id: str, before: TwilioClient | None = None, **parameters: str
) -> TwilioClient:
    """A stream of a telephone call; ``before``: of the same as that."""
    url = f"{node.ws_url}/api/agents/{agent_id}/twilio"
    caller = TwilioClient(url, parameters, {"Authorization": f"Bearer {node.key}"})
    if before is not None:
        caller.call, caller.stream = before.call, f"MZ{before.call}"
    return caller


async def begun(node: ScriptedServer, caller: TwilioClient) -> str:
    """Start the stream; the id of its call."""
    before = set(node.app_calls())
    await caller.open()
    await caller.start()
    async with asyncio.timeout(5):
        while not (made := set(node.app_calls()) - before):
            await asyncio.sleep(0.01)
    return made.pop()


def voiced(caller: TwilioClient) -> float:
    """Seconds of sound that the caller has heard."""
    return (len(caller.heard) - caller.heard.count(SILENCE)) / RATE


async def answering(node: ScriptedServer, caller: TwilioClient) -> None:
    """Say something, and hear a second of the long answer."""
    node.engines.chat_model.answer = lambda _messages: WORDS
    caller.say(SPEECH)
    await caller.until(lambda: voiced(caller) >= 1, what="a second of the answer")


async def heard_out(caller: TwilioClient) -> None:
    """Hear the rest of what is being said."""
    await caller.until(lambda: voiced(caller) > 1 and caller.silent, what="the rest")
    await caller.until(lambda: caller.heard.endswith(SILENCE * RATE), what="silence")


async def ended(node: ScriptedServer, call_id: str) -> tuple[Call, list[Turn]]:
    """The call's record once it is closed."""
    async with asyncio.timeout(5):
        while (call := await Calls(node.database).get(LOCAL_WORKSPACE, call_id)) is None or (
            call.ended_at is None
        ):
            await asyncio.sleep(0.02)
    return call, await Turns(node.database).list_of_call(LOCAL_WORKSPACE, call_id)


async def calls_of(node: ScriptedServer) -> int:
    return int(await node.database.fetchval("SELECT count(*) FROM calls"))


async def test_a_cut_stream_goes_on_at_another_node_with_the_words_that_were_not_heard(
    server: ScriptedServer, second_node: ScriptedServer
) -> None:
    agent_id = await new_agent(server)
    first = telephone(server, agent_id, order="A-17")
    call_id = await begun(server, first)
    await answering(server, first)
    await first.cut()
    second = telephone(second_node, agent_id, first, order="A-17")
    assert await begun(second_node, second) == call_id
    session = second_node.host.find(call_id)
    assert session is not None
    assert session.config.instructions.count("order: A-17") == 1
    await heard_out(second)
    assert voiced(second) < 4.5
    keys = b" ".join([key async for key in server.bus._redis.scan_iter("*")])
    assert first.call.encode() not in keys
    await second.hang_up()
    call, turns = await ended(server, call_id)
    assert (call.end_reason, call.node_id) == ("peer_gone", second_node.app_node)
    assert [(turn.number, turn.heard_text) for turn in turns] == [(1, WORDS)]
    assert await calls_of(server) == 1


async def test_a_living_stream_is_replaced_again_and_again(server: ScriptedServer) -> None:
    agent_id = await new_agent(server)
    streams = [telephone(server, agent_id)]
    call_id = await begun(server, streams[0])
    await answering(server, streams[0])
    for _ in range(2):
        streams.append(telephone(server, agent_id, streams[0]))
        await streams[-1].open()
        await streams[-1].start()
        assert await streams[-2].wait_closed() == (1008, "resumed_elsewhere")
        await streams[-1].until(lambda: bool(streams[-1].of("media")), what="audio")
    await heard_out(streams[-1])
    await streams[-1].hang_up()
    _, turns = await ended(server, call_id)
    assert [(turn.number, turn.heard_text) for turn in turns] == [(1, WORDS)]
    assert await calls_of(server) == 1


async def test_a_stream_that_breaks_off_at_once_again_is_continued(server: ScriptedServer) -> None:
    agent_id = await new_agent(server)
    first = telephone(server, agent_id)
    call_id = await begun(server, first)
    await answering(server, first)
    await first.cut()
    for _ in range(5):
        again = telephone(server, agent_id, first)
        await again.open()
        await again.start()
        again.connection.transport.abort()
    last = telephone(server, agent_id, first)
    await last.open()
    await last.start()
    await heard_out(last)
    await last.hang_up()
    _, turns = await ended(server, call_id)
    assert [(turn.number, turn.heard_text) for turn in turns] == [(1, WORDS)]


async def test_at_the_drains_deadline_the_carrier_takes_the_call_to_another_node(
    server: ScriptedServer, second_node: ScriptedServer
) -> None:
    agent_id = await new_agent(server)
    first = telephone(server, agent_id)
    call_id = await begun(server, first)
    await answering(server, first)
    await server.host.drain(0)
    assert await first.wait_closed() == (1012, "moved")
    second = telephone(second_node, agent_id, first, blab_resume="only")
    assert await begun(second_node, second) == call_id
    await heard_out(second)
    await second.hang_up()
    _, turns = await ended(server, call_id)
    assert [(turn.number, turn.heard_text) for turn in turns] == [(1, WORDS)]


async def test_after_stop_the_next_stream_begins_a_call_unless_it_only_resumes(
    server: ScriptedServer,
) -> None:
    agent_id = await new_agent(server)
    async with telephone(server, agent_id) as first:
        await first.until(lambda: bool(server.app_calls()), what="call")
        (call_id,) = server.app_calls()
    await ended(server, call_id)
    async with telephone(server, agent_id, first, blab_resume="only") as refused:
        assert await refused.wait_closed() == (1008, "resumption_not_found")
    assert await calls_of(server) == 1
    second = telephone(server, agent_id, first)
    call_id = await begun(server, second)
    await second.hang_up()
    await ended(server, call_id)
    assert await calls_of(server) == 2


async def test_a_call_with_another_agent_is_another_call(server: ScriptedServer) -> None:
    first = telephone(server, await new_agent(server))
    call_id = await begun(server, first)
    second = telephone(server, await new_agent(server), first)
    assert await begun(server, second) != call_id
    assert first.closed is None
    for caller in (first, second):
        await caller.hang_up()


async def test_without_redis_a_call_begins_and_cannot_be_resumed(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise BusUnavailable("away")

    for name in ("call_on", "put_on"):
        monkeypatch.setattr(StoredCalls, name, away)
    agent_id = await new_agent(server)
    async with telephone(server, agent_id, blab_resume="only") as refused:
        assert await refused.wait_closed() == (1013, "storage_unavailable")
    first = telephone(server, agent_id)
    call_id = await begun(server, first)
    await first.cut()
    assert (await ended(server, call_id))[0].end_reason == "peer_gone"


async def test_a_line_is_one_call_of_one_carrier_with_one_agent() -> None:
    known: dict[str, str] = {}

    class Memory:
        async def put_on(self, line: str, call_id: str) -> None:
            known[line] = call_id

    stored = cast(StoredCalls, Memory())
    names = ("ws_1", "agt_1", "twilio", "CA1")
    others = [(*names[:at], "other", *names[at + 1 :]) for at in range(4)]
    call_id = new_id("call")
    for secret in (b"one", b"two"):
        lines = CarrierLines(stored, cast(Takeovers, None), secret)
        for name in (names, names, *others):
            handle = await lines.of(*name).note(call_id)
            assert handle is not None
            assert call_of(handle) == call_id
    assert len(known) == 10
