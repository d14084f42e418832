"""A telephone's vocabulary: OpenAI's, and what the carrier told for those who ask."""

from dataclasses import replace

import pytest
from openai.types.realtime import InputAudioBufferDtmfEventReceivedEvent

from gateway.channels.telephony.codecs import StreamFormat
from gateway.channels.telephony.events import Started
from gateway.channels.telephony.vocabulary import EVENT, EXTENSION, TelephonyVocabulary
from sessions.channel import ClientFault
from sessions.core.config import SessionConfig
from sessions.core.events import ClearInput, KeyPressed
from sessions.core.notices import KeyReceived, SessionChanged, SessionOpened

STARTED = Started(
    "MZ1",
    "CA1",
    "AC1",
    StreamFormat("pcmu", 8_000),
    {"order": "A-17", "blab_key": "ek_secret"},
)


def vocabulary() -> TelephonyVocabulary:
    return TelephonyVocabulary("call_1", "twilio", STARTED)


def test_ready_made_events_and_clients_messages() -> None:
    pressed = KeyPressed("1", 7)
    assert vocabulary().parse({EVENT: pressed}, SessionConfig()) is pressed
    clear = {"type": "input_audio_buffer.clear"}
    assert vocabulary().parse(clear, SessionConfig()) == ClearInput()
    with pytest.raises(ClientFault):
        vocabulary().parse({"event": pressed}, SessionConfig())


def test_a_key_is_told_as_openai_tells_it() -> None:
    (event,) = vocabulary().render(KeyReceived("#", 1_700_000_000))
    typed = InputAudioBufferDtmfEventReceivedEvent.model_validate(event)
    assert (typed.event, typed.received_at) == ("#", 1_700_000_000)


def test_what_the_carrier_told_is_for_those_who_ask_and_told_once() -> None:
    told = vocabulary()
    asking = replace(SessionConfig(), extensions=frozenset({EXTENSION}))
    opened = told.render(SessionOpened(SessionConfig()))
    assert [event["type"] for event in opened] == ["session.created"]
    changed = told.render(SessionChanged(asking))
    assert changed[-1] == {
        "type": "blab.call",
        "event_id": changed[-1]["event_id"],
        "carrier": "twilio",
        "stream_id": "MZ1",
        "carrier_call_id": "CA1",
        "account_id": "AC1",
        "parameters": {"order": "A-17"},
    }
    again = told.render(SessionChanged(asking))
    assert [event["type"] for event in again] == ["session.updated"]
    ids = [event["event_id"] for event in (*opened, *changed, *again)]
    assert len(set(ids)) == len(ids)
