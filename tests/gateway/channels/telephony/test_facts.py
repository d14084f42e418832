"""Parameters: the key stays private; facts reach the agent as data and observers in blab.call."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime import InputAudioBufferDtmfEventReceivedEvent

from gateway.channels.telephony.carrier import Started, StreamFormat
from gateway.channels.telephony.facts import (
    MAX_FACTS,
    MAX_VALUE_CHARS,
    TelephonyWireFormat,
    facts_of,
    instructions_with,
    key_of,
    keys_answer,
)
from sessions.channel import ClientFault
from sessions.core.config import Extension, SessionConfig
from sessions.core.events import ClearInput
from sessions.core.notices import KeyReceived, SessionChanged, SessionOpened

STARTED = Started(
    "MZ1",
    "CA1",
    "AC1",
    StreamFormat("pcmu", 8_000),
    {"order": "A-17", "blab_key": "ek_secret"},
)


def test_the_key_is_not_a_fact() -> None:
    sent = {"blab_key": "ek_secret", "BLAB_other": "x", "order": "A-17", "from": "+15551234567"}
    assert key_of(sent) == "ek_secret"
    assert facts_of(sent) == {"order": "A-17", "from": "+15551234567"}
    assert key_of({}) is None
    assert keys_answer({"blab_keys": "answer"})
    assert not keys_answer({"blab_keys": "no"})
    assert key_of({"blab_key": ""}) is None


def test_malformed_parameters_are_not_facts() -> None:
    sent = {"a b": "x", "1st": "x", "": "x", "line": "one\ntwo", "empty": "", "long": "x" * 501}
    assert facts_of(sent) == {}


def test_facts_stand_behind_the_agents_own_instructions() -> None:
    text = instructions_with("Sell tea.", {"order": "A-17", "name": "Ann"})
    assert text.startswith("Sell tea.\n\nAbout this call")
    assert text.endswith("\n- order: A-17\n- name: Ann")
    assert instructions_with("Sell tea.", {}) == "Sell tea."
    assert instructions_with("", {"a": "b"}).startswith("About this call")


@given(st.dictionaries(st.text(max_size=70), st.text(max_size=600), max_size=50))
def test_facts_are_bounded_and_of_one_line(sent: dict[str, str]) -> None:
    facts = facts_of(sent)
    assert len(facts) <= MAX_FACTS
    for name, value in facts.items():
        assert sent[name] == value
        assert len(value) <= MAX_VALUE_CHARS
        assert value.isprintable()
        assert not name.lower().startswith("blab_")


def wire_format() -> TelephonyWireFormat:
    return TelephonyWireFormat("call_1", "twilio", STARTED)


def test_a_clients_messages_are_openais() -> None:
    clear = {"type": "input_audio_buffer.clear"}
    assert wire_format().parse(clear, SessionConfig()) == ClearInput()
    with pytest.raises(ClientFault):
        wire_format().parse({"event": "clear"}, SessionConfig())


def test_a_key_is_reported_as_openai_does() -> None:
    (event,) = wire_format().render(KeyReceived("#", 1_700_000_000))
    typed = InputAudioBufferDtmfEventReceivedEvent.model_validate(event)
    assert (typed.event, typed.received_at) == ("#", 1_700_000_000)


def test_the_carriers_facts_go_once_to_observers_who_request_them() -> None:
    spoken = wire_format()
    asking = replace(SessionConfig(), extensions=frozenset({Extension.CALL}))
    opened = spoken.render(SessionOpened(SessionConfig()))
    assert [event["type"] for event in opened] == ["session.created"]
    changed = spoken.render(SessionChanged(asking))
    assert changed[-1] == {
        "type": "blab.call",
        "event_id": changed[-1]["event_id"],
        "carrier": "twilio",
        "stream_id": "MZ1",
        "carrier_call_id": "CA1",
        "account_id": "AC1",
        "parameters": {"order": "A-17"},
    }
    again = spoken.render(SessionChanged(asking))
    assert [event["type"] for event in again] == ["session.updated"]
    ids = [event["event_id"] for event in (*opened, *changed, *again)]
    assert len(set(ids)) == len(ids)
