"""Turns by recordings, with scripted engines on real stores."""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import av
import pytest

from pipelines.engines.base import ChatMessage, EngineBusy, EngineFailed
from pipelines.engines.scripted.live import (
    Fault,
    ScriptedLanguageDetector,
    scripted_engines,
    tone_of,
)
from pipelines.jobs.erasure import submit_erasure
from pipelines.jobs.usage import Prices, Usage
from rest.agents import turns
from rest.http.errors import ProviderFailed
from rest.jobs import recordings as turn_audio
from sessions.core.commands import RecordTurn
from sessions.core.config import SessionConfig
from sessions.core.items import ReplyStatus
from sessions.persistence import OpenedCall
from store.bus import Bus
from store.database import Database
from store.ids import new_id
from store.tenants.agents import Agents, NewAgent
from store.tenants.calls import Calls, Turns
from store.tenants.erasures import Erasures
from tests.support.pipelines.job_support import new_workspace
from tests.support.pipelines.polyglot import listen_in
from tests.support.rest.agent_app import AgentNode, Called, called, recording


@pytest.fixture
def node(database: Database, redis: Bus, tmp_path: Path) -> AgentNode:
    return AgentNode(database, redis, tmp_path)


def hold_back(node: AgentNode) -> tuple[asyncio.Event, asyncio.Event]:
    """(asked, go): the chat model gives no token before ``go``."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def wait(_: float) -> None:
        asked.set()
        await go.wait()

    node.engines.chat_model.delay = wait
    return asked, go


def decoded(data: bytes, path: Path) -> tuple[bytes, int]:
    """PCM16 of an audio file, and its rate."""
    path.write_bytes(data)
    with av.open(str(path)) as file:
        resampler = av.AudioResampler("s16", "mono", 24_000)
        frames = [out for frame in file.decode(audio=0) for out in resampler.resample(frame)]
    return b"".join(frame.to_ndarray().tobytes() for frame in frames), 24_000


async def test_a_turn_is_answered_stored_and_billed(node: AgentNode, tmp_path: Path) -> None:
    node.engines = scripted_engines(answers=("One two three four.",), frequency=500)
    node.__post_init__()
    async with called(node) as caller:
        status, turn = await caller.turn(label="ignored")
        assert status == 200
        assert (turn["userTranscript"], turn["assistantText"]) == (
            "hello there",
            "One two three four.",
        )
        assert turn["durationMs"] == pytest.approx(1000, abs=10)
        [shown] = await caller.history()
        assert (shown["id"], shown["turnId"], shown["number"]) == (turn["turnId"],) * 2 + (1,)
        assert shown["conversationId"] == shown["callId"] == turn["conversationId"]
        assert shown["heardText"] == "One two three four."
        assert shown["assistantAudioUrl"] == turn["assistantAudioUrl"]
        assert (shown["status"], shown["interrupted"]) == ("completed", False)
        assert shown["latencies"]["totalMs"] >= 0
        ours = caller.workspace_id
        call = await Calls(node.database).get(ours, turn["conversationId"])
        assert call is not None
        assert (call.channel, call.agent_id, call.end_reason) == (
            "rest",
            caller.agent.id,
            "turn_ended",
        )
        assert call.config["instructions"] == "Be brief."
        [(workspace_id, call_id, booked)] = node.booked
        assert (workspace_id, call_id, booked.id) == (ours, call.id, turn["turnId"])
        assert booked.completion_tokens == 4
        key = re.search(r"/files/(\S+)\?signed", turn["assistantAudioUrl"])
        assert key is not None
        kept = await node.artifacts.find(ours, key[1])
        assert kept is not None
        assert (kept.kind, kept.content_type) == ("turn", "audio/mpeg")
        pcm, rate = decoded(await node.artifacts.read(ours, key[1]), tmp_path / "reply.mp3")
        assert len(pcm) / 2 / rate == pytest.approx(1.0, abs=0.15)
        assert tone_of(pcm, rate) == pytest.approx(500, abs=3)


async def test_an_answer_that_is_kept_is_erased_with_its_call(node: AgentNode) -> None:
    async with called(node) as caller:
        headers = {"Idempotency-Key": "one"}
        _, turn = await caller.turn(headers=headers)
        _, again = await caller.turn(headers=headers)
        assert again == turn
        erasures, ours = Erasures(node.database), caller.workspace_id
        erasure = await submit_erasure(
            node.database, ours, requested_by="usr_x", call_id=turn["conversationId"]
        )
        await erasures.remove(erasure, [turn["conversationId"]])
        _, anew = await caller.turn(headers=headers)
        assert anew["conversationId"] != turn["conversationId"]


@pytest.mark.parametrize("asked", [{}, {"language": "auto"}])
async def test_a_turn_is_heard_and_answered_in_the_callers_language(
    node: AgentNode, asked: dict[str, str]
) -> None:
    listen_in(node.engines, "es", {"en": "ola key tall", "es": "hola qué tal"})
    async with called(node) as caller:
        status, turn = await caller.turn(file=recording(2.5), **asked)
        assert (status, turn["userTranscript"]) == (200, "hola qué tal")
        assert "speaks Spanish" in node.engines.chat_model.asked[-1][1].content
        status, turn = await caller.turn(file=recording(2.5), language="en")
        assert (status, turn["userTranscript"]) == (200, "ola key tall")


async def test_a_conversation_keeps_the_language_that_it_has_found(node: AgentNode) -> None:
    listen_in(node.engines, "es", {"en": "ola key tall", "es": "hola qué tal"})
    async with called(node) as caller:
        _, first = await caller.turn(file=recording(2.5))
        node.engines.linguist = ScriptedLanguageDetector(("en",), 0.7)
        _, second = await caller.turn(first["conversationId"], file=recording(2.5))
        assert second["userTranscript"] == "hola qué tal"
        node.engines.linguist = ScriptedLanguageDetector(("en",), 0.99)
        _, third = await caller.turn(first["conversationId"], file=recording(2.5))
        assert third["userTranscript"] == "ola key tall"
        call = await Calls(node.database).get(caller.workspace_id, first["conversationId"])
        assert call is not None
        assert call.config["language"] == "en"
        _, other = await caller.turn(file=recording(2.5))
        assert other["userTranscript"] == "ola key tall"


async def test_a_conversation_continues(node: AgentNode) -> None:
    node.engines = scripted_engines(hears=("I am Ann", "Who am I"), answers=("Hello Ann.", "Ann."))
    node.__post_init__()
    async with called(node) as caller:
        _, first = await caller.turn()
        status, second = await caller.turn(first["conversationId"])
        assert (status, second["conversationId"]) == (200, first["conversationId"])
        assert second["turnId"] != first["turnId"]
        system, *said = node.engines.chat_model.asked[1]
        assert system.content.startswith("You are Ann, an AI voice assistant")
        assert system.content.endswith("\n\nBe brief.")
        assert [(message.role, message.content) for message in said] == [
            ("user", "I am Ann"),
            ("assistant", "Hello Ann."),
            ("user", "Who am I"),
        ]
        assert [turn["number"] for turn in await caller.history()] == [2, 1]
        assert len({turn.id for _, _, turn in node.booked}) == 2
        call = await Calls(node.database).get(caller.workspace_id, first["conversationId"])
        last = (await Turns(node.database).latest_of_call(caller.workspace_id, call.id, 1))[0]
        assert call is not None
        assert call.ended_at is not None
        assert call.ended_at > last.created_at


async def test_each_turn_is_billed_once(node: AgentNode) -> None:
    node.book = cast(Any, Usage(node.database, Prices()).book_turn)
    async with called(node) as caller:
        _, first = await caller.turn()
        _, second = await caller.turn(first["conversationId"], model="another")
        events = await node.database.fetch(
            "SELECT unit, type, tokens FROM usage_events WHERE workspace_id = $1 ORDER BY id",
            caller.workspace_id,
        )
    assert [(event["unit"], event["type"]) for event in events] == [
        (f"{turn['turnId']}:chat", "agent") for turn in (first, second)
    ]
    assert all(event["tokens"] > 6 for event in events)


def last_words(messages: Sequence[ChatMessage]) -> str:
    """The answer names everything the user ever said in this conversation."""
    return "You said " + " and ".join(m.content for m in messages if m.role == "user") + "."


async def test_interleaved_conversations_of_one_agent_do_not_mix(node: AgentNode) -> None:
    names = [f"name{letter}" for letter in "abcdef"]

    async def transcribe(pcm: bytes, language: str = "en") -> Any:
        """The length of the speech says who speaks."""
        ears = node.engines.ears
        windows = round((len(pcm) / 2 / 16_000 - 0.1) * 10)
        return await ears.finish(names[(windows - 6) // 4])

    node.engines.ears.transcribe = transcribe
    node.engines.chat_model.answer = last_words
    node.engines.ears.partial_delay = 0.001

    async def talk(caller: Called, place: int) -> tuple[str, list[str]]:
        file = recording(0.6 + 0.4 * place)
        answers, conversation = [], None
        for _ in range(3):
            status, turn = await caller.turn(conversation, file)
            assert status == 200
            conversation = turn["conversationId"]
            answers.append(turn["assistantText"])
        return str(conversation), answers

    async with called(node) as caller:
        talks = await asyncio.gather(*(talk(caller, place) for place in range(len(names))))
        history = await caller.history()
    assert len({conversation for conversation, _ in talks}) == len(names)
    for name, (conversation, answers) in zip(names, talks, strict=True):
        assert answers == [f"You said {' and '.join([name] * n)}." for n in (1, 2, 3)]
        mine = [turn for turn in history if turn["conversationId"] == conversation]
        assert [turn["number"] for turn in mine] == [3, 2, 1]
        assert {turn["userTranscript"] for turn in mine} == {name}


async def test_turns_of_one_conversation_wait_for_each_other(node: AgentNode) -> None:
    async with called(node) as caller:
        _, first = await caller.turn()
        asked, go = hold_back(node)
        both = [asyncio.create_task(caller.turn(first["conversationId"])) for _ in range(2)]
        async with asyncio.timeout(5):
            await asked.wait()
        assert node.host.active == 1
        go.set()
        answers = await asyncio.gather(*both)
        assert [status for status, _ in answers] == [200, 200]
        assert [turn["number"] for turn in await caller.history()] == [3, 2, 1]
        longest = max(node.engines.chat_model.asked, key=len)
        assert [m.role for m in longest].count("user") == 3


async def test_waiting_for_the_previous_turn_has_a_deadline(node: AgentNode) -> None:
    node.wait_seconds = 0.1
    async with called(node) as caller:
        _, first = await caller.turn()
        asked, go = hold_back(node)
        other = asyncio.create_task(caller.turn(first["conversationId"]))
        async with asyncio.timeout(5):
            await asked.wait()
        status, error = await caller.turn(first["conversationId"])
        assert (status, error["details"]["reason"]) == (409, "conversation_busy")
        assert not other.done()
        go.set()
        assert (await other)[0] == 200


async def test_another_callers_conversation_is_not_found(node: AgentNode) -> None:
    async with called(node) as caller:
        _, own = await caller.turn()
        other = await Agents(node.database).create(caller.workspace_id, NewAgent("Bea"))
        live = OpenedCall(
            call_id=new_id("call"),
            workspace_id=caller.workspace_id,
            agent_id=caller.agent.id,
            channel="websocket",
            config=SessionConfig(),
        )
        node.journal.start()
        node.journal.opened(live)
        await node.journal.stop()
        async with called(node, "stranger@example.com") as stranger:
            refusals = [
                await stranger.turn(own["conversationId"]),
                await caller.turn(live.call_id),
                await caller.turn(new_id("call")),
                await caller.turn("nonsense\x7f"),
                await Called(caller.client, caller.workspace_id, other).turn(own["conversationId"]),
            ]
        assert {status for status, _ in refusals} == {404}
        assert len({str(error) for _, error in refusals}) == 1
        assert len(await caller.history()) == 1


@pytest.mark.parametrize("file", [recording(silent=True), recording(0.05)])
async def test_a_recording_without_speech_is_refused(node: AgentNode, file: bytes) -> None:
    async with called(node) as caller:
        status, error = await caller.turn(file=file)
        assert (status, error["code"]) == (400, "VALIDATION_ERROR")
        assert error["details"] == {"path": "file", "reason": "no_speech"}
        assert node.engines.ears.finals == 0
        assert await caller.history() == []


async def test_speech_without_words_is_refused(node: AgentNode) -> None:
    node.engines.ears.texts = ("",)
    async with called(node) as caller:
        status, error = await caller.turn()
        assert (status, error["details"]["reason"]) == (400, "no_speech")
        assert await caller.history() == []


async def test_a_file_that_is_not_a_recording_is_refused(
    node: AgentNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn_audio, "RECORDING_SECONDS", 2)
    async with called(node) as caller:
        for file in (b"not audio at all", b"#EXTM3U\nhttp://localhost/x", recording(3)):
            status, error = await caller.turn(file=file)
            assert (status, error["code"]) == (400, "VALIDATION_ERROR")
            assert error["details"] == {"path": "file", "reason": "unreadable_audio"}


async def test_the_silence_around_the_speech_is_not_listened_to(node: AgentNode) -> None:
    heard: list[int] = []

    async def transcribe(pcm: bytes, language: str = "en") -> Any:
        heard.append(len(pcm) // 2)
        return await node.engines.ears.finish("hello")

    node.engines.ears.transcribe = transcribe
    file, speech = bytearray(recording(41, silent=True)), recording(1.0)[44:]
    place = 44 + 20 * 32_000
    file[place : place + len(speech)] = speech
    async with called(node) as caller:
        assert (await caller.turn(file=bytes(file)))[0] == 200
    assert heard[0] / 16_000 == pytest.approx(1.7, abs=0.2)


@pytest.mark.parametrize("part", ["chat_model", "voice", "ears"])
async def test_an_engine_that_fails_is_a_provider_error(node: AgentNode, part: str) -> None:
    node.engines.ears.texts = ("",) if part == "ears" else ("hello",)
    engine = getattr(node.engines, part)
    async with called(node) as caller:
        engine.fault = Fault(EngineFailed("The engine is broken."))
        status, error = await caller.turn()
        assert (status, error["code"]) == (502, "PROVIDER_ERROR")
        assert error["message"] == "The engine is broken."
        assert await caller.history() == []
        assert node.booked == []
        engine.fault = Fault(EngineBusy("crowded"))
        status, error = await caller.turn()
        if part == "ears":  # it is tried again, and hears nothing
            assert (status, error["code"]) == (400, "VALIDATION_ERROR")
        else:
            assert status == 502


@pytest.mark.parametrize("nothing", ["", "…", "<think>What now?</think>"])
async def test_an_empty_answer_is_a_provider_error(node: AgentNode, nothing: str) -> None:
    node.engines.chat_model.answers = (nothing,)
    async with called(node) as caller:
        status, error = await caller.turn()
        assert (status, error["code"]) == (502, "PROVIDER_ERROR")
        assert error["message"] == "The chat model had nothing to say."
        assert len(node.engines.chat_model.asked) == 2


async def test_a_turn_holds_the_answer_only(node: AgentNode) -> None:
    node.engines.chat_model.answers = ("<think>A greeting.</think>1. **Hello** [smiles] Ann.",)
    async with called(node) as caller:
        status, turn = await caller.turn()
        assert (status, turn["assistantText"]) == (200, "Hello Ann.")


async def test_a_bug_is_an_internal_error_and_frees_the_slot(node: AgentNode) -> None:
    node.engines.chat_model.answer = lambda _: str(1 // 0)
    async with called(node) as caller:
        status, error = await caller.turn()
        assert (status, error["code"]) == (500, "INTERNAL")


async def test_models_and_languages_of_one_turn(node: AgentNode) -> None:
    node.engines.absent = frozenset({"nobody"})
    languages: list[str] = []
    speak = node.engines.voice.speak

    def note(text: str, **options: Any) -> Any:
        languages.append(options["language"])
        return speak(text, **options)

    node.engines.voice.speak = note
    async with called(node) as caller:
        status, error = await caller.turn(model="nobody")
        assert (status, error["code"], error["details"]) == (
            404,
            "MODEL_UNAVAILABLE",
            {"path": "model"},
        )
        status, error = await caller.turn(language="frankly my dear")
        assert (status, error["details"]) == (404, {"path": "language"})
        assert (await caller.turn(language="fr", model="other"))[0] == 200
        await Agents(node.database).update(
            caller.workspace_id, caller.agent.id, {"tts_model": "nobody"}
        )
        status, error = await caller.turn()
        assert (status, error["code"], error["details"]) == (
            409,
            "MODEL_UNAVAILABLE",
            {"path": "speech_model"},
        )
        assert "nobody" in error["message"]
    assert languages == ["fr"]


async def test_a_full_server_says_when_to_retry(node: AgentNode) -> None:
    node.capacity = 1
    node.__post_init__()
    async with called(node) as caller:
        with node.host.admit("ws_1"):
            status, error = await caller.turn()
            assert (status, error["code"]) == (503, "MODEL_UNAVAILABLE")
            assert error["details"] == {"reason": "server_full", "retryAfter": 10}
        node.waiting = "The models are being loaded."
        status, error = await caller.turn()
        assert (status, error["message"]) == (503, "The models are being loaded.")
        node.waiting = None
        assert (await caller.turn())[0] == 200


async def test_a_client_that_leaves_releases_the_slot_and_stores_nothing(node: AgentNode) -> None:
    async with called(node) as caller:
        _, first = await caller.turn()
        asked, _ = hold_back(node)
        before = asyncio.all_tasks()
        turn = asyncio.create_task(caller.turn(first["conversationId"]))
        async with asyncio.timeout(5):
            await asked.wait()
        assert node.admission.active == 1
        turn.cancel()
        await asyncio.gather(turn, return_exceptions=True)
        await node.at_rest()
        async with asyncio.timeout(5):
            while any("_take" in repr(task) for task in asyncio.all_tasks() - before):
                await asyncio.sleep(0.01)
        assert node.engines.chat_model.cancelled == 1
        assert len(await caller.history()) == 1
        node.engines.chat_model.delay = asyncio.sleep
        assert (await caller.turn(first["conversationId"]))[0] == 200  # its lease was given back


async def test_a_turn_has_a_deadline(node: AgentNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns.AgentTurns.__init__, "__kwdefaults__", {"seconds": 0.2})
    hold_back(node)
    async with called(node) as caller:
        status, error = await caller.turn()
        assert (status, error["details"]["reason"]) == (503, "timeout")


async def test_a_failed_store_leaves_no_audio(node: AgentNode) -> None:
    async def refuse(*_: Any) -> None:
        raise ProviderFailed("no booking today")

    node.book = cast(Any, refuse)
    async with called(node) as caller:
        assert (await caller.turn())[0] == 502
        assert await caller.history() == []
        assert await node.database.fetchval("SELECT count(*) FROM objects") == 0
        assert await node.database.fetchval("SELECT count(*) FROM calls") == 0


async def test_the_history_has_the_turns_of_live_calls_and_pages(node: AgentNode) -> None:
    async with called(node) as caller:
        _, first = await caller.turn()
        live = OpenedCall(
            call_id=new_id("call"),
            workspace_id=caller.workspace_id,
            agent_id=caller.agent.id,
            channel="websocket",
            config=SessionConfig(),
        )
        spoken = RecordTurn(
            turn=1,
            user_text="hi",
            reply_text="Hello. Bye.",
            heard_text="Hello.",
            interrupted=True,
            status=ReplyStatus.CANCELLED,
            latency=None,
        )
        node.journal.start()
        node.journal.opened(live)
        node.journal.record(caller.workspace_id, live.call_id, spoken)
        await node.journal.stop()
        newest, oldest = await caller.history()
        assert oldest["id"] == first["turnId"]
        assert (newest["callId"], newest["heardText"]) == (live.call_id, "Hello.")
        assert (newest["interrupted"], newest["assistantAudioUrl"]) == (True, None)
        assert newest["latencies"]["totalMs"] is None
        path = f"/api/agents/{caller.agent.id}/turns"
        _, page = await caller.ask("GET", f"{path}?limit=1")
        assert (page["data"], page["meta"]["hasMore"]) == ([newest], True)
        _, page = await caller.ask("GET", f"{path}?limit=1&cursor={page['meta']['nextCursor']}")
        assert (page["data"], page["meta"]["hasMore"]) == ([oldest], False)
        other = await new_workspace(node.database, "x@example.com")
        assert await Turns(node.database).list_of_agent(other, caller.agent.id) == []
