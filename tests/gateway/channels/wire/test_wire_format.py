"""What the beta's clients receive: its names and flat shapes, checked by its own models."""

from typing import Any

import pytest
from openai.types.beta.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from gateway.channels.wire.wire_format import RealtimeWireFormat, beta_event
from sessions.core.config import Extension, SessionConfig, SessionKind, TurnDetection, TurnMode
from sessions.core.items import Item
from sessions.core.notices import Fault, ItemAdded, Notice, SessionOpened
from tests.support.gateway.protocol_validator import unknown_fields
from tests.support.gateway.test_protocol_validator import NOTICES


def told(*notices: Notice) -> list[dict[str, Any]]:
    wire_format = RealtimeWireFormat("call_1", beta=True)
    return [event for notice in notices for event in wire_format.render(notice)]


def test_every_event_is_one_of_the_betas() -> None:
    known: Any = TypeAdapter(RealtimeServerEvent)
    opened = SessionOpened(SessionConfig(model="gpt-realtime"))
    for event in told(opened, *NOTICES[1:], Fault("unknown_event", "No.", "type", "mine")):
        assert unknown_fields(known.validate_python(event)) == [], event["type"]


def test_names_and_shapes() -> None:
    events = {event["type"]: event for event in told(*NOTICES)}
    assert "response.output_text.delta" not in events
    assert events["response.text.delta"]["delta"] == "we do."
    assert "conversation.item.done" not in events
    assert events["conversation.item.created"]["item"]["role"] == "assistant"
    (part,) = events["response.done"]["response"]["output"][0]["content"]
    assert part == {"type": "text", "text": "Yes, we do."}


def test_a_captions_session_has_no_voice() -> None:
    (event,) = told(SessionOpened(SessionConfig(kind=SessionKind.TRANSCRIPTION)))
    assert event["session"]["input_audio_format"] == "pcm16"
    assert "voice" not in event["session"]


def test_blabs_own_fields_stay_as_they_are() -> None:
    config = SessionConfig(
        turn_detection=TurnDetection(TurnMode.NONE), extensions=frozenset({Extension.LATENCY})
    )
    (event,) = told(SessionOpened(config))
    assert event["session"]["turn_detection"] is None
    assert event["session"]["blab"]["events"] == ["latency"]


@pytest.mark.parametrize("kind", ["response.output_item.added", "input_audio_buffer.cleared"])
def test_other_names_stay(kind: str) -> None:
    event = beta_event({"type": kind})
    assert event == {"type": kind}


def test_a_callers_item_keeps_its_parts() -> None:
    (event,) = told(ItemAdded(Item("item_9", "user", "Hello"), None))
    assert event["item"]["content"] == [{"type": "input_text", "text": "Hello"}]
