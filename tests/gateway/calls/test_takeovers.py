"""Calls that are resumed, on real Postgres and Valkey: here and elsewhere, once, by their own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.app import REMOTE
from gateway.calls.takeovers import RELEASE_SECONDS, SILENT_SECONDS, ReleaseDeadlines
from gateway.services import ServiceUrls
from pipelines.engines.scripted.live import tone
from sessions.resumption.stored_calls import (
    LoadedCall,
    StoredCalls,
    digest_of,
    new_handle,
    resumption_key,
)
from store.errors import BusUnavailable
from store.ids import new_id
from store.tenants.accounts import LOCAL_WORKSPACE
from store.tenants.calls import Call, Calls, Turn, Turns
from tests.support.gateway.realtime_client import RealtimeClient
from tests.support.gateway.scripted_server import (
    ScriptedServer,
    ask,
    refused,
    running_node,
    second_node,
    server,
    speak,
)

__all__ = ["second_node", "server"]

WORDS = (
    "One two three four five six seven eight nine ten, eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen twenty."
)
RESUMPTION = "blab.session.resumption"
ASKS = {
    "type": "session.update",
    "session": {"type": "realtime", "blab": {"events": ["resumption"]}},
}


def slow_answers(node: ScriptedServer) -> None:
    """Each answer takes five seconds to speak."""
    node.engines.chat_model.answer = lambda _messages: WORDS


@asynccontextmanager
async def resumable(node: ScriptedServer, **options: Any) -> AsyncIterator[RealtimeClient]:
    """A call whose client has asked for a handle."""
    async with node.client(**options) as caller:
        await caller.wait_for("session.created")
        await caller.send(ASKS)
        await caller.wait_for(RESUMPTION)
        yield caller


@asynccontextmanager
async def resumed(
    node: ScriptedServer, handle: str, *, stays_open: bool = False, **options: Any
) -> AsyncIterator[RealtimeClient]:
    async with node.client(query=f"resume={handle}", checked=False, **options) as caller:
        await caller.wait_for("session.created")
        yield caller
        if stays_open:
            caller.connection.transport.abort()


def handle_of(caller: RealtimeClient) -> str:
    """The newest handle."""
    handle: str = caller.of(RESUMPTION)[-1]["handle"]
    return handle


def call_of(caller: RealtimeClient) -> str:
    call_id: str = caller.of("session.created")[0]["session"]["id"]
    return call_id


def cut(caller: RealtimeClient) -> None:
    """The network is gone: no close frame."""
    caller.connection.transport.abort()


async def speaking(caller: RealtimeClient, seconds: float = 1.0) -> None:
    """Ask something, and hear so much of the answer."""
    await caller.send({"type": "response.create"})
    await caller.until(lambda: len(caller.pcm) >= seconds * 48_000, what="audio")


async def stored(node: ScriptedServer, call_id: str) -> tuple[Call, list[Turn]]:
    call = await Calls(node.database).get(LOCAL_WORKSPACE, call_id)
    assert call is not None
    return call, await Turns(node.database).list_of_call(LOCAL_WORKSPACE, call_id)


async def ended(
    node: ScriptedServer, call_id: str, seconds: float = 5.0
) -> tuple[Call, list[Turn]]:
    """The call's record once it is closed."""
    async with asyncio.timeout(seconds):
        while (found := await stored(node, call_id))[0].ended_at is None:
            await asyncio.sleep(0.02)
    return found


def text_of(caller: RealtimeClient) -> str:
    return "".join(e["delta"] for e in caller.of("response.output_audio_transcript.delta"))


async def test_a_cut_call_goes_on_at_another_node_from_the_heard_word(
    server: ScriptedServer, second_node: ScriptedServer
) -> None:
    slow_answers(server)
    async with resumable(server) as first:
        await speaking(first)
        cut(first)
        call_id, handle = call_of(first), handle_of(first)
    async with resumed(second_node, handle) as second:
        assert call_of(second) == call_id
        done = await second.wait_for("response.done")
        assert done["response"]["status"] == "cancelled"
        await second.wait_for("response.done", count=2)
        heard = second.of("conversation.item.truncated")[0]
        assert 500 <= heard["audio_end_ms"] <= 2_500  # known to half a second
        rest = text_of(second)
        assert WORDS.endswith(rest.strip())
        assert len(rest) > len(WORDS) / 3
    call, turns = await ended(second_node, call_id)
    assert call.end_reason == "peer_gone"
    assert call.node_id == second_node.app_node
    assert [(turn.number, turn.heard_text) for turn in turns] == [(1, WORDS)]


async def test_the_node_that_lost_the_call_suspends_it(server: ScriptedServer) -> None:
    async with resumable(server) as caller:
        await ask(caller, within=10)
        cut(caller)
        await server.empty()
        async with asyncio.timeout(20):
            while not (found := await stored(server, call_of(caller)))[1]:
                await asyncio.sleep(0.02)
        assert found[0].ended_at is None
        assert (await server.live(call_of(caller))).state == "suspended"


async def test_a_goodbye_ends_the_call(server: ScriptedServer) -> None:
    async with resumable(server) as caller:
        handle = handle_of(caller)
    call, _ = await ended(server, call_of(caller))
    assert call.end_reason == "peer_gone"
    assert await refused(server, query=f"resume={handle}", headers=bearer(server)) == (
        404,
        "resumption_not_found",
    )


async def test_a_client_that_has_not_asked_has_no_handle(server: ScriptedServer) -> None:
    async with server.client() as caller:
        await ask(caller, within=10)
        cut(caller)
    assert not caller.of(RESUMPTION)
    await ended(server, call_of(caller))


async def test_history_and_numbers_go_on(
    server: ScriptedServer, second_node: ScriptedServer
) -> None:
    async with resumable(server) as first:
        await ask(first, within=10)
        cut(first)
    prompts: list[list[tuple[str, str]]] = []

    def answer(messages: Any) -> str:
        prompts.append([(m.role, m.content) for m in messages[1:]])
        return "Again."

    second_node.engines.chat_model.answer = answer
    async with resumed(second_node, handle_of(first)) as second:
        await ask(second, within=10)
    assert prompts[-1] == [
        ("user", "SECRET TRANSCRIPT"),
        ("assistant", "Fine."),
        ("user", "SECRET TRANSCRIPT"),
    ]
    _, turns = await ended(server, call_of(first))
    assert [turn.number for turn in turns] == [1, 2]


async def test_a_living_connection_is_taken_over(
    server: ScriptedServer, second_node: ScriptedServer
) -> None:
    slow_answers(server)
    async with resumable(server) as first:
        await speaking(first)
        async with resumed(second_node, handle_of(first)) as second:
            assert await first.wait_closed() == (1008, "resumed_elsewhere")
            await second.wait_for("response.done", count=2)
            assert server.app_calls() == ()
    _, turns = await ended(server, call_of(first))
    assert [turn.heard_text for turn in turns] == [WORDS]


async def test_a_call_is_resumed_at_the_same_node(server: ScriptedServer) -> None:
    slow_answers(server)
    async with resumable(server) as first:
        await speaking(first)
        cut(first)
        async with resumed(server, handle_of(first)) as second:
            await second.wait_for("response.done", count=2)
    _, turns = await ended(server, call_of(first))
    assert [turn.heard_text for turn in turns] == [WORDS]


async def test_of_two_that_resume_one_wins(
    server: ScriptedServer, second_node: ScriptedServer
) -> None:
    async with resumable(server) as first:
        await ask(first, within=10)
        cut(first)
        await server.empty()

    async def attempt(node: ScriptedServer) -> RealtimeClient | Exception:
        caller = node.client(query=f"resume={handle_of(first)}", checked=False)
        try:
            return await caller.__aenter__()
        except Exception as error:  # noqa: BLE001 - what it is, is for the test to say
            return error

    made = await asyncio.gather(attempt(server), attempt(second_node))
    won = [one for one in made if isinstance(one, RealtimeClient)]
    lost = [one for one in made if isinstance(one, Exception)]
    assert (len(won), len(lost)) == (1, 1)
    assert "409" in str(lost[0])
    await won[0].__aexit__(None, None, None)


async def test_a_claim_that_came_to_nothing_does_not_spend_the_handle(
    server: ScriptedServer, second_node: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with resumable(server) as first:
        await ask(first, within=10)
        cut(first)
        await server.empty()
    claim, faults = StoredCalls.claim, iter((True,))

    async def unanswered(
        self: StoredCalls, loaded: LoadedCall, handle: str, node_id: str
    ) -> LoadedCall | None:
        claimed = await claim(self, loaded, handle, node_id)
        if next(faults, False):
            raise BusUnavailable("Redis is away")
        return claimed

    monkeypatch.setattr(StoredCalls, "claim", unanswered)
    query = f"resume={handle_of(first)}"
    answer = await refused(second_node, query=query, headers=bearer(server))
    assert answer == (503, "storage_unavailable")
    async with resumed(second_node, handle_of(first)) as second:
        assert call_of(second) == call_of(first)


async def test_a_node_that_dies_over_a_takeover_does_not_spend_the_handle(
    server: ScriptedServer, second_node: ScriptedServer
) -> None:
    async with resumable(server) as first:
        await ask(first, within=10)
        cut(first)
        await server.empty()
    async with asyncio.timeout(5):
        while (known := await server.bus.load(resumption_key(call_of(first)))) is not None:
            if not known.values["held"]:
                break
            await asyncio.sleep(0.01)
    assert known is not None
    claimed = {"held": new_id("node"), "spent": digest_of(handle_of(first))}
    values = {name: value.encode() for name, value in claimed.items()}
    assert await server.bus.claim(known, values, 60)
    async with resumed(second_node, handle_of(first)) as second:
        assert call_of(second) == call_of(first)
        await ask(second, within=10)


async def test_the_handle_that_resumed_a_call_takes_it_from_nobody(
    server: ScriptedServer, second_node: ScriptedServer
) -> None:
    async with resumable(server) as first:
        cut(first)
    async with resumed(server, handle_of(first)):
        answer = await refused(
            second_node, query=f"resume={handle_of(first)}", headers=bearer(server)
        )
        assert answer == (409, "resumption_conflict")


def bearer(node: ScriptedServer) -> dict[str, str]:
    return {"Authorization": f"Bearer {node.key}"}


@pytest.mark.parametrize(
    "handle",
    ["", "nonsense", "resume.call_1.x", new_handle(new_id("call")), "x" * 2_000],
    ids=["empty", "nonsense", "short", "of no call", "long"],
)
async def test_an_unknown_handle_is_refused(server: ScriptedServer, handle: str) -> None:
    answer = await refused(server, query=f"resume={handle}", headers=bearer(server))
    assert answer == (404, "resumption_not_found")


async def test_a_handle_of_another_workspace_is_unknown(server: ScriptedServer) -> None:
    async with resumable(server) as caller:
        key = await server.new_key(await server.foreign_workspace())
        headers = {"Authorization": f"Bearer {key}"}
        answer = await refused(server, query=f"resume={handle_of(caller)}", headers=headers)
        assert answer == (404, "resumption_not_found")
        assert caller.closed is None


async def test_a_page_reads_why_its_handle_is_refused(server: ScriptedServer) -> None:
    headers = {"Origin": server.url}
    protocols = ["realtime", "blab-resume.nonsense"]
    async with server.client(headers=headers, subprotocols=protocols, checked=False) as caller:
        assert (await caller.wait_closed())[0] == 1008
    assert caller.of("error")[0]["error"]["code"] == "resumption_not_found"


async def test_the_subprotocol_resumes_too(server: ScriptedServer) -> None:
    async with resumable(server) as first:
        cut(first)
    protocols = ["realtime", f"blab-resume.{handle_of(first)}"]
    async with server.client(subprotocols=protocols, checked=False) as second:
        await second.wait_for("session.created")
        assert call_of(second) == call_of(first)
        assert (await second.wait_for(RESUMPTION))["resumed"] is True


async def test_what_the_caller_was_saying_is_answered(
    server: ScriptedServer, second_node: ScriptedServer
) -> None:
    async with resumable(server) as first:
        await first.send_audio(tone(440, 24_000, 24_000))
        await first.wait_for("input_audio_buffer.speech_started")
        await first.until(
            lambda: bool(first.of("conversation.item.input_audio_transcription.delta"))
        )
        cut(first)
    async with resumed(second_node, handle_of(first)) as second:
        await second.wait_for("response.done")
    _, turns = await ended(second_node, call_of(first))
    assert [(turn.user_text.split()[0], turn.status) for turn in turns] == [("SECRET", "completed")]


async def test_a_draining_node_hands_calls_over_once_nobody_speaks(
    server: ScriptedServer, second_node: ScriptedServer
) -> None:
    slow_answers(server)
    async with resumable(server) as first:
        await speaking(first)
        draining = asyncio.create_task(server.host.drain(30))
        assert await first.wait_closed() == (1012, "moved")
        assert first.of("response.done")[0]["response"]["status"] == "completed"
        assert first.of(RESUMPTION)[-1]["reconnect"] is True
    async with resumed(second_node, handle_of(first)) as second:
        assert not second.of("response.created")
        await ask(second, within=10)
        await draining
    _, turns = await ended(second_node, call_of(first))
    assert [(turn.number, turn.status) for turn in turns] == [(1, "completed"), (2, "completed")]
    assert turns[0].heard_text == WORDS


async def test_without_another_node_calls_stay_until_the_deadline(server: ScriptedServer) -> None:
    async with resumable(server) as caller, server.client() as other:
        await ask(caller, within=10)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await server.host.drain(1.5)
        assert await caller.wait_closed() == (1012, "moved")
        assert loop.time() - began >= 1.5
        assert await other.wait_closed() == (1001, "server_shutdown")


@pytest.mark.parametrize("seconds", [0, 0.2])
async def test_at_the_deadline_calls_are_handed_over_in_the_middle_of_a_reply(
    server: ScriptedServer, second_node: ScriptedServer, seconds: float
) -> None:
    slow_answers(server)
    async with resumable(server) as first:
        await speaking(first)
        await server.host.drain(seconds)
        assert await first.wait_closed() == (1012, "moved")
        assert first.of(RESUMPTION)[-1]["reconnect"] is True
    async with resumed(second_node, handle_of(first)) as second:
        await second.wait_for("response.done", count=2)
    _, turns = await ended(server, call_of(first))
    assert [turn.heard_text for turn in turns] == [WORDS]


async def test_a_call_that_nobody_resumes_ends_after_the_window(
    server: ScriptedServer, own_database_url: str, redis_url: str, tmp_path: Path
) -> None:
    urls = ServiceUrls(own_database_url, redis_url)
    async with running_node(server.database, urls, tmp_path / "brief", resume_seconds=1) as node:
        slow_answers(node)
        async with resumable(node) as caller:
            await speaking(caller)
            cut(caller)
        call, turns = await ended(node, call_of(caller))
        assert call.end_reason == "peer_gone"
        assert [(turn.number, turn.status) for turn in turns] == [(1, "cancelled")]
        assert turns[0].heard_text
        assert WORDS.startswith(turns[0].heard_text)
        answer = await refused(server, query=f"resume={handle_of(caller)}", headers=bearer(server))
        assert answer == (404, "resumption_not_found")


async def test_a_node_that_does_not_answer_loses_the_call(
    server: ScriptedServer, second_node: ScriptedServer
) -> None:
    slow_answers(server)
    async with resumable(server) as first:
        await speaking(first)
        await server.app[REMOTE].stop()
        async with resumed(second_node, handle_of(first)) as second:
            await second.wait_for("response.done", count=2)
            assert (await first.wait_closed())[1] == "resumed_elsewhere"
    _, turns = await ended(server, call_of(first))
    assert [turn.heard_text for turn in turns] == [WORDS]


def test_the_calls_of_a_node_that_does_not_answer_wait_for_it_together() -> None:
    deadlines = ReleaseDeadlines()
    first = deadlines.of("a", 10.0)
    assert first == 10.0 + RELEASE_SECONDS
    assert deadlines.of("a", 10.3) == first
    assert deadlines.of("b", 10.3) == 10.3 + RELEASE_SECONDS
    assert deadlines.of("a", first + SILENT_SECONDS - 0.1) == first
    later = first + SILENT_SECONDS
    assert deadlines.of("a", later) == later + RELEASE_SECONDS
    deadlines.answered("a")
    assert deadlines.of("a", later + 0.1) == later + 0.1 + RELEASE_SECONDS


async def test_observers_see_one_call(server: ScriptedServer, second_node: ScriptedServer) -> None:
    async with resumable(server) as first:
        await ask(first, within=10)
        side = await server.client(query=f"call_id={call_of(first)}&after=0").__aenter__()
        side.checked = False
        cut(first)
    async with resumed(second_node, handle_of(first)) as second:
        await ask(second, within=10)
        await side.wait_for("response.done", count=2)
    await side.wait_closed()
    numbers = [e["sequence_number"] for _, e in side.events if "sequence_number" in e]
    assert numbers == list(range(1, len(numbers) + 1))
    assert not side.of("blab.events.missed")
    assert not side.of(RESUMPTION), "a handle is for the caller's program alone"
    await side.__aexit__(None, None, None)


async def test_what_is_stored_cannot_be_read(server: ScriptedServer) -> None:
    async with resumable(server) as caller:
        await ask(caller, within=10)
        await asyncio.sleep(0)
        redis = server.bus._redis
        async with asyncio.timeout(20):
            while not (values := await redis.hgetall(f"blab:call:{call_of(caller)}:resumption")):
                await asyncio.sleep(0.01)
        written = b"".join(values.values())
        assert b"SECRET" not in written
        assert handle_of(caller).encode() not in written


async def test_speech_is_heard_after_the_return(
    server: ScriptedServer, second_node: ScriptedServer
) -> None:
    async with resumable(server) as first:
        cut(first)
    async with resumed(second_node, handle_of(first)) as second:
        await speak(second)
        await second.wait_for("response.done")
    _, turns = await ended(second_node, call_of(first))
    assert [turn.user_text for turn in turns] == ["SECRET TRANSCRIPT"]
