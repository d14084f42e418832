"""Asterisk's ``chan_websocket``: events and commands in both spellings, and the codecs."""

import json
from typing import Any

import pytest

from gateway.channels.telephony.asterisk import Asterisk
from gateway.channels.telephony.carrier import (
    Heard,
    MarkReturned,
    Pressed,
    Started,
    UnsupportedFormat,
    WireFault,
)
from media import g711

START: dict[str, Any] = {
    "event": "MEDIA_START",
    "connection_id": "e226e283-c90a-4ea9-9e37-389000b9ef47",
    "channel": "WebSocket/connectionid",
    "channel_id": "pbx1-123456789.999",
    "format": "ulaw",
    "optimal_frame_size": 160,
    "ptime": 20,
    "channel_variables": {"order": "A-1734", "MEDIA_WEBSOCKET_OPTIMAL_FRAME_SIZE": "160"},
}
PLAIN = (
    "MEDIA_START connection_id:e226e283-c90a-4ea9-9e37-389000b9ef47 channel:WebSocket/connectionid"
    " channel_id:pbx1-123456789.999 format:ulaw optimal_frame_size:160 ptime:20"
)
"""Both are the documentation's examples, with variables."""


def begun(**members: Any) -> Asterisk:
    carrier = Asterisk()
    carrier.parse(json.dumps(START | members))
    return carrier


def test_a_start_in_json_names_the_call_and_brings_the_variables() -> None:
    (started,) = Asterisk().parse(json.dumps(START))
    assert isinstance(started, Started)
    assert started.stream_id == START["connection_id"]
    assert started.call_id == "pbx1-123456789.999"
    assert started.parameters == {"order": "A-1734"}


def test_a_plain_text_start_gets_plain_text_commands() -> None:
    carrier = Asterisk()
    (started,) = carrier.parse(PLAIN)
    assert isinstance(started, Started)
    assert started.call_id == "pbx1-123456789.999"
    assert carrier.mark("blab-1") == "MARK_MEDIA blab-1"
    assert carrier.clear() == "FLUSH_MEDIA"
    assert carrier.hang_up("ended") == "HANGUP"
    assert carrier.parse("MEDIA_MARK_PROCESSED blab-1") == [MarkReturned("blab-1")]
    assert carrier.parse("DTMF_END channel_id:pbx1-1 digit:5") == [Pressed("5")]


def test_commands_and_events_in_json() -> None:
    carrier = begun()
    assert json.loads(carrier.mark("blab-7")) == {
        "command": "MARK_MEDIA",
        "correlation_id": "blab-7",
    }
    assert json.loads(carrier.clear()) == {"command": "FLUSH_MEDIA"}
    returned = '{"event": "MEDIA_MARK_PROCESSED", "channel_id": "c", "correlation_id": "blab-7"}'
    assert carrier.parse(returned) == [MarkReturned("blab-7")]
    assert carrier.parse('{"event": "DTMF_END", "digit": "#"}') == [Pressed("#")]
    assert carrier.parse('{"event": "MEDIA_XOFF", "channel_id": "c"}') == []


@pytest.mark.parametrize(
    ("name", "rate", "frame_bytes"),
    [
        ("ulaw", 8_000, 160),
        ("alaw", 8_000, 160),
        ("slin", 8_000, 320),
        ("slin16", 16_000, 640),
        ("slin24", 24_000, 960),
        ("slin48", 48_000, 1920),
        ("g722", 16_000, 160),
    ],
)
def test_a_frame_has_the_size_that_asterisk_wants(name: str, rate: int, frame_bytes: int) -> None:
    carrier = begun(format=name, optimal_frame_size=frame_bytes)
    assert carrier.output_rate == rate
    assert len(carrier.media(bytes(rate // 50 * 2))) == frame_bytes


def test_audio_is_heard_as_it_was_spoken() -> None:
    assert begun().parse(b"\xff\x00\x80") == [Heard(g711.decode_ulaw(b"\xff\x00\x80"))]
    assert begun(format="slin16").parse(b"\1\2\3\4") == [Heard(b"\1\2\3\4")]


@pytest.mark.parametrize("members", [{"format": "opus"}, {"format": 7}, {"ptime": 33}])
def test_a_start_with_an_unframeable_format_ends_the_call(members: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedFormat):
        begun(**members)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("", "unknown_event"),
        ("{", "invalid_json"),
        ("NOTHING", "unknown_event"),
        (json.dumps(START), "out_of_order"),
        ('{"event": "DTMF_END", "digit": "55"}', "invalid_digit"),
        ('{"event": "MEDIA_MARK_PROCESSED"}', "invalid_mark"),
        ('{"event": ["MEDIA_XON"]}', "unknown_event"),
    ],
)
def test_faults_are_named_and_change_nothing(message: str, code: str) -> None:
    carrier = begun()
    with pytest.raises(WireFault) as fault:
        carrier.parse(message)
    assert fault.value.code == code
    assert carrier.parse(b"\xff") == [Heard(b"\0\0")]


@pytest.mark.parametrize("message", [b"\xff", '{"event": "MEDIA_XON"}', "DTMF_END digit:5"])
def test_nothing_comes_before_the_start(message: str | bytes) -> None:
    with pytest.raises(WireFault, match="before_start"):
        Asterisk().parse(message)
