"""The stock ``openai`` package against the whole application: every event by its typed models.

The engines are scripted; each stream is checked by the protocol validator too.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from openai import AsyncOpenAI
from openai.types.beta.realtime import RealtimeServerEvent as BetaServerEvent
from pydantic import BaseModel, TypeAdapter

from pipelines.engines.scripted.live import tone
from tests.support.gateway.protocol_validator import ProtocolValidator, unknown_fields
from tests.support.gateway.scripted_server import HEARD, RATE, ScriptedServer, server

__all__ = ["server"]

PUSH_TO_TALK: Any = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
TEXT: Any = {"type": "realtime", "output_modalities": ["text"]}


class Client:
    """A connection of the stock package; keeps and checks what comes."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.events: list[Any] = []
        self._validator = ProtocolValidator()

    async def next(self) -> Any:
        raw = await asyncio.wait_for(self.connection.recv_bytes(), 5)
        self._validator.feed(json.loads(raw))
        event = self.connection.parse_event(raw)
        assert isinstance(event, BaseModel)
        assert unknown_fields(event) == []
        self.events.append(event)
        return event

    async def until(self, kind: str) -> Any:
        """The next event of that type."""
        while True:
            event = await self.next()
            if event.type == kind:
                return event

    async def say(self, pcm: bytes) -> None:
        for start in range(0, len(pcm), 9_600):
            audio = base64.b64encode(pcm[start : start + 9_600]).decode()
            await self.connection.input_audio_buffer.append(audio=audio)

    async def write(self, text: str = "Hello", **item: Any) -> None:
        content = [{"type": "input_text", "text": text}]
        message = {"type": "message", "role": "user", "content": content, **item}
        await self.connection.conversation.item.create(item=message)

    @property
    def kinds(self) -> list[str]:
        return [event.type for event in self.events]


@asynccontextmanager
async def connected(server: ScriptedServer, **session: Any) -> AsyncIterator[Client]:
    async with (
        AsyncOpenAI(api_key=server.key, base_url=f"{server.url}/v1") as openai,
        openai.realtime.connect(model="gpt-realtime") as connection,
    ):
        client = Client(connection)
        await client.until("session.created")
        if session:
            await connection.session.update(session=session)
            await client.until("session.updated")
        yield client


def speech(seconds: float = 0.6, silence: float = 1.0) -> bytes:
    return tone(440, int(seconds * RATE), RATE) + bytes(int(silence * RATE) * 2)


SPEECH = base64.b64encode(speech(silence=0)).decode()


async def test_a_text_turn_in_openais_order(server: ScriptedServer) -> None:
    async with connected(server, **TEXT) as client:
        await client.write()
        await client.connection.response.create()
        done = await client.until("response.done")
        assert [kind for kind in client.kinds if not kind.endswith("delta")] == [
            "session.created",
            "session.updated",
            "conversation.item.added",
            "conversation.item.done",
            "response.created",
            "rate_limits.updated",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "conversation.item.done",
            "response.done",
        ]
        response = done.response
        assert response.status == "completed"
        assert response.output[0].content[0].text == "Fine."
        assert response.output_modalities == ["text"]
        assert response.conversation_id
        assert response.usage.total_tokens == response.usage.input_tokens + 1
        limits = next(event for event in client.events if event.type == "rate_limits.updated")
        assert limits.rate_limits[0].name == "requests"
        assert limits.rate_limits[0].remaining < limits.rate_limits[0].limit


async def test_an_audio_turn_with_server_vad(server: ScriptedServer) -> None:
    vad = {"type": "server_vad", "silence_duration_ms": 300}
    audio: Any = {"input": {"turn_detection": vad}, "output": {"voice": "marin", "speed": 1.25}}
    async with connected(server, type="realtime", audio=audio) as client:
        await client.say(speech())
        started = await client.until("input_audio_buffer.speech_started")
        await client.until("input_audio_buffer.speech_stopped")
        committed = await client.until("input_audio_buffer.committed")
        assert committed.item_id == started.item_id
        heard = await client.until("conversation.item.input_audio_transcription.completed")
        assert (heard.item_id, heard.transcript) == (started.item_id, HEARD)
        created = await client.until("response.created")
        assert created.response.audio.output.voice == "marin"
        delta = await client.until("response.output_audio.delta")
        assert base64.b64decode(delta.delta)
        done = await client.until("response.done")
        assert done.response.output[0].content[0].transcript == "Fine."


async def test_a_manual_turn_with_overrides(server: ScriptedServer) -> None:
    async with connected(server, **PUSH_TO_TALK) as client:
        await client.say(speech(silence=0))
        await client.connection.input_audio_buffer.clear()
        await client.until("input_audio_buffer.cleared")
        await client.say(speech(silence=0))
        await client.connection.input_audio_buffer.commit()
        await client.until("conversation.item.input_audio_transcription.completed")
        await client.connection.response.create(
            response={
                "instructions": "talk 500",
                "output_modalities": ["text"],
                "max_output_tokens": 1,
                "metadata": {"topic": "tea"},
            }
        )
        created = (await client.until("response.created")).response
        assert (created.metadata, created.max_output_tokens) == ({"topic": "tea"}, 1)
        done = (await client.until("response.done")).response
        assert (done.status, done.status_details.reason) == ("incomplete", "max_output_tokens")
        assert done.output[0].content[0].text == "Answer"
        assert done.metadata == {"topic": "tea"}


async def test_an_interruption_and_a_truncation(server: ScriptedServer) -> None:
    server.engines.chat_model.answer = lambda _: "word " * 12
    async with connected(server) as client:
        await client.write()
        await client.connection.response.create()
        item = (await client.until("response.output_item.added")).item
        await client.until("response.output_audio.delta")
        await client.say(speech(0.8, 0.6))
        cut = await client.until("conversation.item.truncated")
        done = (await client.until("response.done")).response
        assert (done.status, done.status_details.reason) == ("cancelled", "turn_detected")
        await client.connection.conversation.item.truncate(
            item_id=item.id, content_index=0, audio_end_ms=0
        )
        again = await client.until("conversation.item.truncated")
        assert (again.item_id, again.audio_end_ms) == (item.id, 0)
        assert cut.audio_end_ms > 0
        await client.connection.conversation.item.retrieve(item_id=item.id)
        kept = (await client.until("conversation.item.retrieved")).item
        assert kept.content[0].transcript == ""
        await client.connection.conversation.item.delete(item_id=item.id)
        assert (await client.until("conversation.item.deleted")).item_id == item.id


async def test_side_replies_leave_the_conversation_alone(server: ScriptedServer) -> None:
    asked: list[Any] = server.engines.chat_model.asked
    async with connected(server, type="realtime", instructions="talk 300") as client:
        await client.write("The first.", id="one")
        await client.until("conversation.item.done")
        await client.connection.response.create(
            response={
                "conversation": "none",
                "output_modalities": ["text"],
                "instructions": "talk 700",
                "metadata": {"kind": "summary"},
                "input": [
                    {"type": "item_reference", "id": "one"},
                    {
                        "type": "message",
                        "role": "user",
                        "content": [{"type": "input_text", "text": "Sum up."}],
                    },
                ],
            }
        )
        done = (await client.until("response.done")).response
        assert (done.conversation_id, done.metadata) == (None, {"kind": "summary"})
        assert done.output[0].content[0].text == "Answer 700."
        assert [line.content for line in asked[-1]] == ["talk 700", "The first.\nSum up."]
        await client.connection.response.create(response={"conversation": "none", "input": []})
        spoken = (await client.until("response.done")).response
        assert spoken.output[0].content[0].transcript == "Answer 300."
        await client.connection.response.create()
        await client.until("response.done")
        system, *said = asked[-1]
        assert system.content.endswith("\n\ntalk 300")
        assert [line.content for line in said] == ["The first."]


async def test_speech_in_an_item_is_transcribed_and_answered(server: ScriptedServer) -> None:
    async with connected(server, **TEXT) as client:
        content = [{"type": "input_audio", "audio": SPEECH}]
        await client.connection.conversation.item.create(
            item={"id": "mine", "type": "message", "role": "user", "content": content}
        )
        await client.connection.response.create()
        heard = await client.until("conversation.item.input_audio_transcription.completed")
        assert (heard.item_id, heard.transcript) == ("mine", HEARD)
        assert heard.usage.seconds == pytest.approx(0.6)
        await client.until("response.done")
        assert server.engines.chat_model.asked[-1][-1].content == HEARD


async def test_live_captions_have_no_agent(server: ScriptedServer) -> None:
    server.engines.ears.texts = ("one two three four", "five six")
    transcription = {"model": "gpt-4o-transcribe", "language": "en"}
    audio: Any = {"input": {"transcription": transcription}}
    async with connected(server, type="transcription", audio=audio) as client:
        session = client.events[-1].session
        assert session.type == "transcription"
        assert session.audio.input.transcription.model == "gpt-4o-transcribe"
        for text in server.engines.ears.texts:
            await client.say(speech(1.2))
            done = await client.until("conversation.item.input_audio_transcription.completed")
            assert done.transcript == text
        assert "conversation.item.input_audio_transcription.delta" in client.kinds
        await client.connection.response.create(event_id="mine")
        error = (await client.until("error")).error
        assert (error.code, error.event_id) == ("response_not_supported", "mine")
        assert not [kind for kind in client.kinds if kind.startswith("response.")]
        assert not server.engines.chat_model.asked


@pytest.mark.parametrize("name", ["intent=transcription", "session"])
async def test_a_session_can_begin_as_captions(server: ScriptedServer, name: str) -> None:
    async with AsyncOpenAI(api_key=server.key, base_url=f"{server.url}/v1") as openai:
        key, query = server.key, {"intent": "transcription"}
        if name == "session":
            secret = await openai.realtime.client_secrets.create(session={"type": "transcription"})
            assert secret.session.type == "transcription"
            key, query = secret.value, {}
        async with openai.with_options(api_key=key).realtime.connect(extra_query=query) as line:
            created = await Client(line).next()
            assert created.session.type == "transcription"
    assert not server.engines.chat_model.prefilled


async def test_errors_name_the_event_and_the_call_goes_on(server: ScriptedServer) -> None:
    wrong: list[tuple[dict[str, Any], str, str | None]] = [
        (
            {
                "type": "response.create",
                "response": {"input": [{"type": "item_reference", "id": "absent"}]},
            },
            "item_not_found",
            "response.input",
        ),
        (
            {"type": "response.create", "response": {"conversation": "some"}},
            "invalid_value",
            "response.conversation",
        ),
        (
            {"type": "response.cancel", "response_id": "absent"},
            "response_cancel_not_active",
            "response_id",
        ),
        (
            {
                "type": "conversation.item.create",
                "previous_item_id": "absent",
                "item": {
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_text", "text": "x"}],
                },
            },
            "item_not_found",
            "previous_item_id",
        ),
        (
            {
                "type": "conversation.item.create",
                "item": {
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_audio", "audio": "%%%%"}],
                },
            },
            "invalid_base64",
            "item.content[0].audio",
        ),
        (
            {
                "type": "conversation.item.truncate",
                "item_id": "absent",
                "content_index": 0,
                "audio_end_ms": 1,
            },
            "item_not_found",
            "item_id",
        ),
        (
            {
                "type": "conversation.item.truncate",
                "item_id": "absent",
                "content_index": 1,
                "audio_end_ms": 1,
            },
            "invalid_value",
            "content_index",
        ),
        (
            {"type": "session.update", "session": {"type": "translation"}},
            "invalid_value",
            "session.type",
        ),
    ]
    async with connected(server, **TEXT) as client:
        for number, (message, code, param) in enumerate(wrong):
            await client.connection.send({**message, "event_id": f"mine_{number}"})
            error = (await client.until("error")).error
            assert (error.code, error.param, error.event_id) == (code, param, f"mine_{number}")
            assert error.type == "invalid_request_error"
        await client.connection.response.create()
        assert (await client.until("response.done")).response.status == "completed"


async def test_the_betas_client_gets_its_own_names(server: ScriptedServer) -> None:
    known: Any = TypeAdapter(BetaServerEvent)
    kinds: list[str] = []
    async with (
        AsyncOpenAI(api_key=server.key, websocket_base_url=f"{server.ws_url}/v1") as openai,
        openai.beta.realtime.connect(model="gpt-4o-realtime-preview") as connection,
    ):

        async def until(kind: str) -> Any:
            while True:
                raw = await asyncio.wait_for(connection.recv_bytes(), 5)
                event = known.validate_json(raw)
                assert unknown_fields(event) == []
                kinds.append(event.type)
                if event.type == kind:
                    return event

        await connection.session.update(session={"voice": "alloy", "modalities": ["audio", "text"]})
        updated = await until("session.updated")
        assert (updated.session.voice, updated.session.output_audio_format) == ("alloy", "pcm16")
        await connection.conversation.item.create(
            item={
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "Hello"}],
            }
        )
        await connection.response.create()
        done = await until("response.done")
        assert done.response.output[0].content[0].type == "audio"
        assert done.response.modalities == ["text", "audio"]
    assert "response.audio.delta" in kinds
    assert "response.audio_transcript.delta" in kinds
    assert kinds.count("conversation.item.created") == 2
