import asyncio
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from pipelines.engines.base import (
    AnswerFormat,
    ChatDelta,
    ChatMessage,
    ChatToolCall,
    EngineBusy,
    EngineError,
    EngineFailed,
    EngineTimeout,
    ModelUnavailable,
    ToolCallDelta,
    ToolDefinition,
    ToolOffer,
    Transcription,
)
from pipelines.engines.chat.messages import STILL_RUNNING
from pipelines.engines.openai_compatible import (
    UpstreamChat,
    UpstreamClient,
    UpstreamSettings,
    UpstreamSpeaker,
    UpstreamTranscriber,
)
from pipelines.engines.openai_compatible.chat import _Answer
from pipelines.engines.openai_compatible.client import refusal
from tests.support.pipelines.upstream_server import KEY, MODELS, Fault, Upstream

HELLO = (ChatMessage("system", "Be kind."), ChatMessage("user", "Hello"))


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[Upstream]:
    server = Upstream()
    await server.start()
    yield server
    await server.stop()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture
async def client(upstream: Upstream, clock: Clock) -> AsyncIterator[UpstreamClient]:
    settings = UpstreamSettings(upstream.url, KEY, first_byte=0.3, idle=0.3)
    client = UpstreamClient(settings, clock=clock)
    yield client
    await client.close()


async def chat(client: UpstreamClient, model: str = "upstream-chat") -> list[ChatDelta]:
    return [delta async for delta in UpstreamChat("local-name", client, model).stream(HELLO)]


async def speech(client: UpstreamClient, text: str = "Hello.", **options: Any) -> bytes:
    speaker = UpstreamSpeaker("upstream-voice", client)
    return b"".join([piece async for piece in speaker.speak(text, **options)])


async def hear(client: UpstreamClient, pcm: bytes = bytes(32_000)) -> Transcription:
    return await UpstreamTranscriber("upstream-ears", client).transcribe(pcm, "de-AT")


class TestChat:
    async def test_text_then_finish_reason_and_counts(
        self, client: UpstreamClient, upstream: Upstream
    ) -> None:
        assert await chat(client) == [
            ChatDelta("Hello"),
            ChatDelta(" there"),
            ChatDelta("."),
            ChatDelta("", "stop", 11, 3),
        ]
        (request,) = upstream.requests
        assert request["model"] == "upstream-chat"
        assert request["stream_options"] == {"include_usage": True}
        assert [m["role"] for m in request["messages"]] == ["system", "user"]

    async def test_thoughts_that_the_upstream_separates_stay_apart(
        self, client: UpstreamClient, upstream: Upstream
    ) -> None:
        upstream.thoughts = ["Hm", "."]
        deltas = await chat(client)
        assert deltas[:2] == [ChatDelta(thought="Hm"), ChatDelta(thought=".")]
        assert "".join(delta.text for delta in deltas) == "Hello there."

    async def test_tool_uses_are_assembled_by_index(
        self, client: UpstreamClient, upstream: Upstream
    ) -> None:
        upstream.calls = [
            {"index": 0, "id": "a", "function": {"name": "find", "arguments": ""}},
            {"index": 1, "id": "b", "function": {"name": "buy", "arguments": "{}"}},
            {"index": 0, "function": {"arguments": '{"x": 1}'}},
        ]
        offer = ToolOffer((ToolDefinition("find"), ToolDefinition("buy")), "required")
        model = UpstreamChat("local-name", client, "upstream-chat")
        pieces = [
            piece async for delta in model.stream(HELLO, offer=offer) for piece in delta.calls
        ]
        assert pieces == [
            ToolCallDelta(0, "a", "find"),
            ToolCallDelta(1, "b", "buy", "{}"),
            ToolCallDelta(0, arguments='{"x": 1}'),
        ]
        asked = upstream.requests[-1]
        assert [tool["function"]["name"] for tool in asked["tools"]] == ["find", "buy"]
        assert asked["tool_choice"] == "required"

    async def test_tool_uses_in_the_text_are_never_text(
        self, client: UpstreamClient, upstream: Upstream
    ) -> None:
        upstream.reply = ("Sure. ", '{{"name": "fi', 'nd", "arguments": {}}', "}")
        offer = ToolOffer((ToolDefinition("find"),))
        model = UpstreamChat("local-name", client, "upstream-chat")
        deltas = [delta async for delta in model.stream(HELLO, offer=offer)]
        assert "".join(delta.text for delta in deltas) == "Sure. "
        assert [(call.name, call.arguments) for d in deltas for call in d.calls] == [("find", "{}")]
        assert deltas[-1] == ChatDelta("", "tool_calls", 11, 4)

    async def test_formats_and_options_of_tools_are_passed_on(
        self, client: UpstreamClient, upstream: Upstream
    ) -> None:
        schema = '{"type": "object"}'
        offer = ToolOffer((ToolDefinition("find", strict=True),), parallel=False)
        model = UpstreamChat("local-name", client, "upstream-chat")
        wanted = AnswerFormat(schema, "event", True, "An event.")
        _ = [d async for d in model.stream(HELLO, offer=offer, answer_format=wanted)]
        _ = [d async for d in model.stream(HELLO, answer_format=AnswerFormat())]
        first, second = upstream.requests[-2:]
        assert first["tools"][0]["function"]["strict"] is True
        assert first["parallel_tool_calls"] is False
        assert first["response_format"] == {
            "type": "json_schema",
            "json_schema": {
                "name": "event",
                "schema": {"type": "object"},
                "strict": True,
                "description": "An event.",
            },
        }
        assert second["response_format"] == {"type": "json_object"}
        assert "tools" not in second

    async def test_a_tool_use_without_an_output_is_still_running(
        self, client: UpstreamClient, upstream: Upstream
    ) -> None:
        made = ChatMessage(
            "assistant", "", (ChatToolCall("a", "find", "{}"), ChatToolCall("b", "find", "{}"))
        )
        messages = [
            *HELLO,
            made,
            ChatMessage("tool", "found", call_id="a"),
            ChatMessage("user", "Well?"),
        ]
        model = UpstreamChat("local-name", client, "upstream-chat")
        _ = [delta async for delta in model.stream(messages)]
        sent = upstream.requests[-1]["messages"]
        assert [message.get("tool_call_id") for message in sent[3:]] == ["a", "b", None]
        assert sent[4]["content"] == STILL_RUNNING

    async def test_closing_closes_the_connection(
        self, client: UpstreamClient, upstream: Upstream
    ) -> None:
        upstream.fault = Fault.STALLS
        answer = UpstreamChat("upstream-chat", client).stream(HELLO)
        assert await anext(answer) == ChatDelta("Hello")
        await answer.aclose()
        await asyncio.wait_for(upstream.disconnected.wait(), 5)

    async def test_an_error_in_the_stream_hides_the_key(
        self, client: UpstreamClient, upstream: Upstream
    ) -> None:
        upstream.fault = Fault.ERROR_IN_STREAM
        with pytest.raises(EngineFailed, match=r"answered 500: lost \[key\]"):
            await chat(client)

    async def test_prefill_is_a_hint_that_sends_nothing(
        self, client: UpstreamClient, upstream: Upstream
    ) -> None:
        await UpstreamChat("upstream-chat", client).prefill(HELLO)
        assert upstream.requests == []


class TestSpeech:
    async def test_audio_comes_in_whole_samples(
        self, client: UpstreamClient, upstream: Upstream
    ) -> None:
        speaker = UpstreamSpeaker("upstream-voice", client)
        pieces = [piece async for piece in speaker.speak("Hello.", speed=9)]
        assert all(len(piece) % 2 == 0 for piece in pieces)
        assert b"".join(pieces) == upstream.audio
        (request,) = upstream.requests
        assert request == {
            "model": "upstream-voice",
            "input": "Hello.",
            "voice": "alloy",
            "response_format": "pcm",
            "speed": 4.0,
        }

    async def test_long_text_is_sent_in_parts(
        self, client: UpstreamClient, upstream: Upstream
    ) -> None:
        text = "word " * 1000 + "x" * 5000
        await speech(client, text, voice="nova")
        sent = [request["input"] for request in upstream.requests]
        assert "".join(sent).replace(" ", "") == text.replace(" ", "")
        assert max(map(len, sent)) <= 4096
        assert {request["voice"] for request in upstream.requests} == {"nova"}

    async def test_no_text_is_no_request(self, client: UpstreamClient, upstream: Upstream) -> None:
        assert await speech(client, "  ") == b""
        assert upstream.requests == []

    async def test_closing_closes_the_connection(
        self, client: UpstreamClient, upstream: Upstream
    ) -> None:
        upstream.fault = Fault.STALLS
        audio = UpstreamSpeaker("upstream-voice", client).speak("Hello.")
        await anext(audio)
        await audio.aclose()
        await asyncio.wait_for(upstream.disconnected.wait(), 5)


class TestTranscription:
    async def test_a_wav_goes_out_and_text_comes_back(
        self, client: UpstreamClient, upstream: Upstream
    ) -> None:
        heard = await hear(client)
        assert heard == Transcription("1.0 seconds of speech.", (), "de-AT")
        assert upstream.requests == [{"model": "upstream-ears", "language": "de"}]

    async def test_no_audio_is_no_request(self, client: UpstreamClient, upstream: Upstream) -> None:
        assert (await hear(client, b"")).text == ""
        assert upstream.requests == []


CALLS = pytest.mark.parametrize("call", [chat, speech, hear, UpstreamClient.models])


class TestFailures:
    @CALLS
    async def test_silence_is_a_timeout(
        self, client: UpstreamClient, upstream: Upstream, call: Any
    ) -> None:
        upstream.fault = Fault.SILENT
        with pytest.raises(EngineTimeout, match="did not answer in time"):
            await call(client)

    @pytest.mark.parametrize("call", [chat, speech])
    async def test_a_stall_is_a_timeout(
        self, client: UpstreamClient, upstream: Upstream, call: Any
    ) -> None:
        upstream.fault = Fault.STALLS
        with pytest.raises(EngineTimeout):
            await call(client)

    @pytest.mark.parametrize("call", [chat, speech])
    async def test_a_broken_connection_is_a_failure(
        self, client: UpstreamClient, upstream: Upstream, call: Any
    ) -> None:
        upstream.fault = Fault.BREAKS_OFF
        with pytest.raises(EngineFailed, match="was lost"):
            await call(client)

    @pytest.mark.parametrize("call", [chat, speech, hear])
    async def test_garbage_is_a_failure(
        self, client: UpstreamClient, upstream: Upstream, call: Any
    ) -> None:
        upstream.fault = Fault.GARBAGE
        with pytest.raises(EngineFailed, match="upstream"):
            await call(client)

    @CALLS
    async def test_a_wrong_key_is_named_but_never_shown(
        self, upstream: Upstream, call: Any
    ) -> None:
        client = UpstreamClient(UpstreamSettings(upstream.url, "sk-wrong-key-123456"))
        with pytest.raises(EngineFailed, match="refused the key") as caught:
            await call(client)
        await client.close()
        assert "wrong-key" not in str(caught.value)

    @pytest.mark.parametrize(
        ("refusal", "kind", "message"),
        [
            (
                (404, {"error": {"message": "no", "code": "model_not_found"}}),
                ModelUnavailable,
                "'m'",
            ),
            ((404, {"detail": "Not Found"}), EngineFailed, "no such route"),
            ((404, {"message": "The model m does not exist"}), ModelUnavailable, "does not exist"),
            ((429, {"error": {"message": "slow down"}}), EngineBusy, "slow down"),
            ((429, {"error": {"code": "insufficient_quota"}}), EngineFailed, "429"),
            ((302, {"error": "elsewhere"}), EngineFailed, "302: elsewhere"),
            ((502, "<html>Bad gateway</html>"), EngineFailed, "502: no reason given"),
            ((500, {"error": {"message": f"key {KEY}\nBearer abc"}}), EngineFailed, r"key \[key\]"),
            ((500, {"error": {"message": "x" * 9999}}), EngineFailed, "x{300}$"),
        ],
    )
    async def test_refusals_are_distinguished(
        self,
        client: UpstreamClient,
        upstream: Upstream,
        refusal: Any,
        kind: type[EngineError],
        message: str,
    ) -> None:
        upstream.fault, upstream.refusal = Fault.REFUSES, refusal
        with pytest.raises(EngineError, match=message) as caught:
            await chat(client, "m")
        assert type(caught.value) is kind
        assert KEY not in str(caught.value)

    async def test_an_unreachable_upstream_is_named(self) -> None:
        client = UpstreamClient(UpstreamSettings("http://127.0.0.1:9"))
        with pytest.raises(EngineFailed, match="cannot be reached"):
            await chat(client)
        await client.close()
        with pytest.raises(EngineFailed, match="shut down"):
            await chat(client)


class TestDiscovery:
    async def test_models_are_cached(
        self, client: UpstreamClient, upstream: Upstream, clock: Clock
    ) -> None:
        assert await asyncio.gather(client.models(), client.models()) == [MODELS, MODELS]
        assert len(upstream.requests) == 1
        clock.now = 61
        assert await client.models() == MODELS
        assert len(upstream.requests) == 2

    async def test_a_stale_list_is_used_for_a_while(
        self, client: UpstreamClient, upstream: Upstream, clock: Clock
    ) -> None:
        await client.models()
        upstream.fault, clock.now = Fault.REFUSES, 100
        assert await client.models() == MODELS
        clock.now = 4000
        with pytest.raises(EngineFailed, match="out of order"):
            await client.models()

    async def test_a_list_of_another_shape_is_refused(
        self, client: UpstreamClient, upstream: Upstream
    ) -> None:
        upstream.fault = Fault.GARBAGE
        with pytest.raises(EngineFailed, match="JSON object"):
            await client.models()


class TestSettings:
    @pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://host/v1", "http://"])
    async def test_a_wrong_url_names_the_accepted_form(self, url: str) -> None:
        with pytest.raises(ValueError, match="must look like https://host/v1"):
            UpstreamClient(UpstreamSettings(url))

    async def test_a_url_without_a_path_means_v1(self, upstream: Upstream) -> None:
        settings = UpstreamSettings(upstream.url.removesuffix("/v1"), KEY)
        client = UpstreamClient(settings)
        assert await client.models() == MODELS
        await client.close()

    def test_the_key_is_never_printed(self) -> None:
        settings = dataclasses.replace(UpstreamSettings("http://host/v1", KEY))
        assert KEY not in repr(settings)
        assert KEY not in f"{settings}"


def _content(*pieces: str) -> list[str]:
    """Events of a stream, each with a piece as JSON writes it."""
    return ['{"choices": [{"delta": {"content": "' + piece + '"}}]}' for piece in pieces]


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        (("a\\ud83d", "\\ude00b"), "a\N{GRINNING FACE}b"),
        (("\\ud83d\\ude00",), "\N{GRINNING FACE}"),
        (("a\\ud83d", "b"), "a\ufffdb"),
        (("\\ude00a", "\\ud83d"), "\ufffda"),
    ],
)
def test_half_a_character_waits_for_the_other_half(pieces: tuple[str, ...], said: str) -> None:
    deltas = _Answer(KEY, "model").read(_content(*pieces))
    assert "".join(delta.text for delta in deltas) == said


def test_an_upstreams_text_can_be_encoded_again() -> None:
    call = '{"index": 0, "id": "\\udfff", "function": {"name": "\\ud800", "arguments": "\\udc00"}}'
    event = '{"choices": [{"delta": {"reasoning": "\\ud800", "tool_calls": [' + call + "]}}]}"
    (delta,) = _Answer(KEY, "model").read([event])
    (piece,) = delta.calls
    for text in (delta.thought, piece.call_id, piece.name, piece.arguments):
        assert text == "\ufffd"
    with pytest.raises(EngineFailed):
        _Answer(KEY, "model").read(["[" * 100_000])


@pytest.mark.parametrize("body", [b'{"error": {"message": "\\ud800"}}', b"[" * 100_000, b'"\xff"'])
def test_an_error_message_that_is_not_text_is_dropped(body: bytes) -> None:
    str(refusal(500, body, model="model", key=KEY)).encode()
