"""``response.create``: what a request can set, and every refusal with its field."""

from typing import Any

import pytest

from gateway.channels.wire.client_events import parse_event
from sessions.channel import ClientFault
from sessions.core.config import SessionConfig
from sessions.core.events import RequestReply
from sessions.core.items import PromptLine


def parsed(response: dict[str, Any] | None) -> RequestReply:
    message = {"type": "response.create", "event_id": "mine", "response": response}
    event = parse_event(message, SessionConfig())
    assert isinstance(event, RequestReply)
    return event


def test_an_empty_request_is_the_sessions_reply() -> None:
    assert parsed(None) == RequestReply(event_id="mine")
    assert parsed({}) == RequestReply(event_id="mine")
    assert parsed({"conversation": "auto", "input": []}) == RequestReply(event_id="mine", prompt=())


def test_a_reply_of_its_own() -> None:
    message = {
        "type": "message",
        "role": "system",
        "content": [{"type": "input_text", "text": "Sum up."}],
    }
    response = {
        "conversation": "none",
        "input": [{"type": "item_reference", "id": "i"}, message],
        "metadata": {"b": "2", "a": "1"},
        "audio": {"output": {"voice": {"id": "cedar"}, "format": {"type": "audio/pcm"}}},
    }
    assert parsed(response) == RequestReply(
        event_id="mine",
        voice="cedar",
        prompt=(PromptLine(item_id="i"), PromptLine("system", "Sum up.")),
        metadata=(("a", "1"), ("b", "2")),
        out_of_band=True,
    )


@pytest.mark.parametrize(
    ("response", "code", "param"),
    [
        ({"surprise": 1}, "unknown_parameter", "response.surprise"),
        ({"conversation": "some"}, "invalid_value", "response.conversation"),
        ({"conversation": 7}, "invalid_type", "response.conversation"),
        ({"input": {}}, "invalid_type", "response.input"),
        ({"input": ["x"]}, "invalid_type", "response.input[0]"),
        ({"input": [{}]}, "missing_required_parameter", "response.input[0].type"),
        ({"input": [{"type": "song"}]}, "unsupported_item", "response.input[0].type"),
        (
            {"input": [{"type": "item_reference"}]},
            "missing_required_parameter",
            "response.input[0].id",
        ),
        (
            {"input": [{"type": "message", "role": "user"}]},
            "missing_required_parameter",
            "response.input[0].content",
        ),
        ({"max_output_tokens": 0}, "invalid_value", "response.max_output_tokens"),
        ({"output_modalities": ["video"]}, "invalid_value", "response.output_modalities"),
        ({"output_audio_format": "g711_ulaw"}, "unsupported_value", "response.output_audio_format"),
        (
            {"audio": {"output": {"format": {"type": "audio/pcma"}}}},
            "unsupported_value",
            "response.audio.output.format",
        ),
        ({"audio": {"input": {}}}, "unknown_parameter", "response.audio.input"),
        ({"metadata": {"a": 1}}, "invalid_type", "response.metadata.a"),
        ({"metadata": {str(n): "" for n in range(17)}}, "invalid_value", "response.metadata"),
        ({"metadata": {"x" * 65: ""}}, "invalid_value", "response.metadata"),
        ({"metadata": {"a": "x" * 513}}, "invalid_value", "response.metadata.a"),
    ],
)
def test_refusals(response: dict[str, Any], code: str, param: str) -> None:
    with pytest.raises(ClientFault) as caught:
        parsed(response)
    fault = caught.value
    assert (fault.code, fault.param, fault.event_id) == (code, param, "mine")
