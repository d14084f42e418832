"""Carriers' messages: documented ones are read, anything else is only a fault."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.telephony.carrier import (
    Heard,
    MarkReturned,
    Pressed,
    Started,
    Stopped,
    StreamEvent,
    StreamFormat,
    UnsupportedFormat,
    WireFault,
)
from gateway.channels.telephony.exotel import Exotel
from gateway.channels.telephony.media_stream import MediaStream
from gateway.channels.telephony.telnyx import Telnyx
from gateway.channels.telephony.twilio import Twilio
from media import g711

STREAM = "MZXXXX"
ULAW = StreamFormat("pcmu", 8_000)
FRAME = bytes(range(160))
PAYLOAD = base64.b64encode(FRAME).decode()
Message = dict[str, Any]

TWILIO_START: Message = {
    "event": "start",
    "sequenceNumber": "1",
    "start": {
        "accountSid": "ACXXXX",
        "streamSid": STREAM,
        "callSid": "CAXXXX",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"FirstName": "Jane", "age": 7},
    },
    "streamSid": STREAM,
}
TELNYX_START: Message = {
    "event": "start",
    "sequence_number": "1",
    "start": {
        "user_id": "3E6F995F",
        "call_control_id": "v2:T02llQxIyaRkhfRKxgAP8nY511EhFLizdvdUKJiSw8d6A9BborherQ",
        "custom_parameters": [{"name": "FirstName", "value": "Jane"}, "x", {"name": 1}],
        "media_format": {"encoding": "PCMU", "sample_rate": 8000, "channels": 1},
    },
    "stream_id": STREAM,
}
EXOTEL_START: Message = {
    "event": "start",
    "sequence_number": 1,
    "stream_sid": STREAM,
    "start": {
        "stream_sid": STREAM,
        "call_sid": "c1",
        "account_sid": "a1",
        "custom_parameters": {"FirstName": "Jane"},
        "media_format": {"encoding": "base64", "sample_rate": "8000"},
    },
}


def started(carrier: type[MediaStream] = Twilio, start: Message = TWILIO_START) -> MediaStream:
    parser = carrier()
    parser.parse(json.dumps(start))
    return parser


def media(chunk: Any = None, timestamp: Any = None, payload: Any = PAYLOAD, **more: Any) -> str:
    members = {"track": "inbound", "chunk": chunk, "timestamp": timestamp, "payload": payload}
    return json.dumps({"event": "media", "media": members | more})


def fault_of(parser: MediaStream, message: Any) -> str:
    with pytest.raises(WireFault) as caught:
        parser.parse(message if isinstance(message, str | bytes) else json.dumps(message))
    return caught.value.code


@pytest.mark.parametrize(
    ("carrier", "start", "call_id"),
    [
        (Twilio, TWILIO_START, "CAXXXX"),
        (Telnyx, TELNYX_START, TELNYX_START["start"]["call_control_id"]),
        (Exotel, EXOTEL_START, "c1"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_start_is_read(carrier: type[MediaStream], start: Message, call_id: str) -> None:
    parser = carrier()
    connected = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    assert parser.parse(json.dumps(connected)) == []
    (event,) = parser.parse(json.dumps(start))
    assert isinstance(event, Started)
    assert (event.stream_id, event.call_id) == (STREAM, call_id)
    assert event.parameters == {"FirstName": "Jane"}
    assert parser.stream_id == STREAM


@pytest.mark.parametrize(("chunk", "stamp"), [("2", "5"), (2, 5), (None, None)])
def test_media_is_read_with_numbers_as_strings_numbers_or_missing(chunk: Any, stamp: Any) -> None:
    assert started().parse(media(chunk, stamp)) == [Heard(g711.decode_ulaw(FRAME))]


def test_a_gap_is_filled_with_silence() -> None:
    parser = started()
    parser.parse(media("1", "0"))
    (heard,) = parser.parse(media("2", "60"))
    assert heard == Heard(bytes(640) + g711.decode_ulaw(FRAME))


def test_the_outgoing_track_and_empty_frames_are_ignored() -> None:
    assert started().parse(media(track="outbound")) == []
    assert started().parse(media(payload="")) == []


def test_key_mark_and_stop() -> None:
    parser = started()
    dtmf = {"event": "dtmf", "streamSid": STREAM, "dtmf": {"track": "inbound_track", "digit": "a"}}
    assert parser.parse(json.dumps(dtmf)) == [Pressed("A")]
    mark = {"event": "mark", "streamSid": STREAM, "sequenceNumber": "4", "mark": {"name": "m"}}
    assert parser.parse(json.dumps(mark)) == [MarkReturned("m")]
    stop = {"event": "stop", "sequenceNumber": "5", "stop": {"callSid": "CAXXXX"}}
    assert parser.parse(json.dumps(stop)) == [Stopped()]
    assert fault_of(parser, stop) == "after_stop"


def test_telnyx_is_put_in_order_and_may_speak_a_law() -> None:
    start = json.loads(json.dumps(TELNYX_START))
    start["start"]["media_format"]["encoding"] = "PCMA"
    parser = started(Telnyx, start)
    frames = {n: base64.b64encode(bytes([n] * 160)).decode() for n in range(4)}
    came: list[StreamEvent] = []
    for number in (0, 2, 3, 1):
        came += parser.parse(media(str(number), str(number * 20), frames[number]))
    heard = b"".join(event.pcm for event in came if isinstance(event, Heard))
    assert heard == b"".join(g711.decode_alaw(bytes([n] * 160)) for n in range(4))
    error = {"event": "error", "stream_id": STREAM, "payload": {"code": 100003}}
    assert parser.parse(json.dumps(error)) == []


def test_exotel_speaks_pcm() -> None:
    parser = started(Exotel, EXOTEL_START)
    assert parser.parse(media(1, "0", base64.b64encode(b"\1\2" * 800).decode())) == [
        Heard(b"\1\2" * 800)
    ]
    assert fault_of(parser, media(2, "100", base64.b64encode(b"\1\2\3").decode())) == "odd_samples"


@pytest.mark.parametrize("rate", [16_000, "24000"])
def test_exotel_may_speak_wideband(rate: Any) -> None:
    start = json.loads(json.dumps(EXOTEL_START))
    start["start"]["media_format"] = {"encoding": "audio/x-raw", "sample_rate": rate}
    parser = started(Exotel, start)
    assert parser.input_rate == int(rate)
    frame = b"\1\2" * (parser.input_rate // 10)
    payload = base64.b64encode(frame).decode()
    assert parser.parse(media(1, "0", payload)) == [Heard(frame)]
    (heard,) = parser.parse(media(3, "200", payload))
    assert heard == Heard(bytes(len(frame)) + frame)


def test_messages_to_twilio_name_the_stream() -> None:
    stream = started()
    payload = base64.b64encode(b"\xff" * 160).decode()
    assert json.loads(stream.media(bytes(320))) == {
        "event": "media",
        "streamSid": STREAM,
        "media": {"payload": payload},
    }
    assert json.loads(stream.mark("m")) == {
        "event": "mark",
        "streamSid": STREAM,
        "mark": {"name": "m"},
    }
    assert json.loads(stream.clear()) == {"event": "clear", "streamSid": STREAM}


def test_messages_to_telnyx_do_not() -> None:
    stream = started(Telnyx, TELNYX_START)
    assert json.loads(stream.clear()) == {"event": "clear"}
    assert json.loads(stream.mark("m")) == {"event": "mark", "mark": {"name": "m"}}


BAD: list[tuple[Any, str]] = [
    ("", "invalid_json"),
    ("{", "invalid_json"),
    (b"\xff\xfe", "binary"),
    (b"{}", "binary"),
    ("[" * 100_000, "invalid_json"),
    ("[]", "no_object"),
    ("{}", "unknown_event"),
    ({"event": 7}, "unknown_event"),
    ({"event": "dance"}, "unknown_event"),
    ({"event": "media"}, "missing_media"),
    ({"event": "media", "media": []}, "missing_media"),
    ({"event": "media", "media": {}}, "missing_payload"),
    (media(payload=7), "missing_payload"),
    (media(payload="a"), "invalid_base64"),
    (media(payload="ab=c"), "invalid_base64"),
    (media(payload="/v8\n"), "invalid_base64"),
    (media(payload="é"), "invalid_base64"),
    (media(timestamp="soon"), "invalid_timestamp"),
    (media(timestamp=-1), "invalid_timestamp"),
    (media(timestamp=True), "invalid_timestamp"),
    (media(timestamp="9" * 16), "invalid_timestamp"),
    (media(chunk=1.5), "invalid_chunk"),
    ({"event": "mark"}, "missing_mark"),
    ({"event": "mark", "mark": {"name": 1}}, "invalid_mark"),
    ({"event": "mark", "mark": {"name": "x" * 65}}, "invalid_mark"),
    ({"event": "dtmf"}, "missing_dtmf"),
    ({"event": "dtmf", "dtmf": {"digit": "12"}}, "invalid_digit"),
    ({"event": "dtmf", "dtmf": {"digit": ""}}, "invalid_digit"),
    ({"event": "media", "streamSid": "MZother", "media": {}}, "foreign_stream"),
    ({"event": "connected"}, "out_of_order"),
    (TWILIO_START, "out_of_order"),
]


@pytest.mark.parametrize(("message", "code"), BAD)
def test_a_malformed_message_is_a_fault_and_changes_nothing(message: Any, code: str) -> None:
    parser = started()
    assert fault_of(parser, message) == code
    assert parser.parse(media("1", "0")) == [Heard(g711.decode_ulaw(FRAME))]


@pytest.mark.parametrize("event", ["media", "mark", "dtmf", "stop"])
def test_nothing_comes_before_start(event: str) -> None:
    assert fault_of(Twilio(), {"event": event, event: {}}) == "before_start"


@pytest.mark.parametrize(
    ("start", "code"),
    [
        (None, "missing_start"),
        ({}, "invalid_stream_id"),
        ({"streamSid": 7}, "invalid_stream_id"),
        ({"streamSid": "x" * 129}, "invalid_stream_id"),
        ({"streamSid": "a\nb"}, "invalid_stream_id"),
        ({"streamSid": "\ud800"}, "invalid_stream_id"),
        ({"streamSid": "M", "mediaFormat": 1}, "invalid_media_format"),
    ],
)
def test_a_start_that_says_too_little_is_a_fault(start: Any, code: str) -> None:
    parser = Twilio()
    assert fault_of(parser, {"event": "start", "start": start}) in (code, "invalid_json")
    assert parser.parse(json.dumps(TWILIO_START))


def test_a_start_may_be_short() -> None:
    bare = {"event": "start", "start": {"streamSid": "M", "callSid": 7, "customParameters": "x"}}
    assert Twilio().parse(json.dumps(bare)) == [Started("M", "", "", ULAW)]
    bare["start"] = {"streamSid": "M", "mediaFormat": {}}
    assert Twilio().parse(json.dumps(bare)) == [Started("M", "", "", ULAW)]


@pytest.mark.parametrize("form", [{"sampleRate": 16000}, {"encoding": "opus"}, {"encoding": 1}])
def test_an_unsupported_format_ends_the_call(form: Message) -> None:
    message = {"event": "start", "start": {"streamSid": "M", "mediaFormat": form}}
    with pytest.raises(UnsupportedFormat):
        Twilio().parse(json.dumps(message))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)
NAMES = st.sampled_from(["connected", "start", "media", "dtmf", "mark", "stop", "error"])
MEMBERS = st.dictionaries(
    st.sampled_from(
        ["payload", "chunk", "timestamp", "track", "name", "digit", "streamSid", "stream_id",
         "mediaFormat", "media_format", "customParameters", "custom_parameters"]
    ),
    JSON | st.just(PAYLOAD) | st.integers(0, 50).map(str),
)  # fmt: skip
MESSAGES = st.one_of(
    st.text(max_size=50),
    st.binary(max_size=50),
    JSON.map(json.dumps),
    st.builds(
        lambda name, body, stream: json.dumps(
            {"event": name, name: body, "streamSid": stream, "stream_id": stream}
        ),
        NAMES,
        MEMBERS | JSON,
        st.just(STREAM) | JSON,
    ),
)


MEDIA = st.fixed_dictionaries(
    {},
    optional={
        "payload": st.sampled_from([PAYLOAD, "", "%%", "AA=", 7, None]),
        "track": st.sampled_from(["inbound", "outbound", None, 3]),
        "timestamp": st.sampled_from(["0", "20", 40, "400", "x", None, 1.5]),
        "chunk": st.sampled_from(["1", 2, "3", "4", 9, [], None]),
        "more": st.just({"nested": [1, "two"]}),
    },
)


@given(
    st.sampled_from([Twilio, Telnyx, Exotel]),
    st.lists(
        st.fixed_dictionaries(
            {"event": st.sampled_from(["media", "media", "media", "mark", 7])},
            optional={
                "media": MEDIA,
                "streamSid": st.sampled_from([STREAM, "other", 1]),
                "stream_id": st.sampled_from([STREAM, "other"]),
                "mark": st.just({"name": "x"}),
            },
        ),
        max_size=12,
    ),
)
def test_the_quick_way_gives_the_audio_that_parsing_gives(
    carrier: type[MediaStream], messages: list[Message]
) -> None:
    starts = {"twilio": TWILIO_START, "telnyx": TELNYX_START, "exotel": EXOTEL_START}
    quick, slow = (started(carrier, starts[carrier.name]) for _ in range(2))

    def parsed(parser: MediaStream, text: str) -> list[StreamEvent] | str:
        try:
            return parser.parse(text)
        except WireFault as fault:
            return fault.code

    for message in messages:
        text = json.dumps(message)
        audio, expected = quick.audio(text.encode()), parsed(slow, text)
        if audio is None:
            assert parsed(quick, text) == expected
        else:
            assert expected == ([Heard(audio)] if audio else [])


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 5_000, b'{"event": "media"}'])
def test_the_quick_way_leaves_what_is_malformed_to_parsing(text: bytes) -> None:
    assert started(Twilio, TWILIO_START).audio(text) is None
    assert Twilio().audio(json.dumps({"event": "media"}).encode()) is None


@given(st.sampled_from([Twilio, Telnyx, Exotel]), st.booleans(), st.lists(MESSAGES, max_size=12))
def test_any_message_is_events_or_a_fault(
    carrier: type[MediaStream], begun: bool, messages: list[str | bytes]
) -> None:
    starts = {"twilio": TWILIO_START, "telnyx": TELNYX_START, "exotel": EXOTEL_START}
    parser = started(carrier, starts[carrier.name]) if begun else carrier()
    for message in messages:
        try:
            events = parser.parse(message)
        except WireFault:
            continue
        for event in events:
            assert parser.stream_id is not None
            if isinstance(event, Heard):
                assert len(event.pcm) % 2 == 0
